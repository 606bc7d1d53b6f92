"""Copies of stages from one store to another."""

from __future__ import annotations

import shutil

from rilbench.store import temporary
from rilbench.store.files import replacing, unwritable
from rilbench.store.layout import EvaluationFiles, StageFiles

FILES = ("record", "carry", "adapter", "weights")  # the weights come last, because they mean that it is trained


def copy_stage(source: StageFiles, target: StageFiles, *evaluations: str) -> None:
    """Copy what the target lacks: the pair, the record, and the evaluations of these identities."""
    for name in FILES:
        old, new = getattr(source, name), getattr(target, name)
        if old.is_file() and not new.exists():
            with replacing(new) as part:
                shutil.copyfile(old, part)
    for evaluation in evaluations:
        _copy_evaluation(source.evaluation(evaluation), target.evaluation(evaluation))


def _copy_evaluation(source: EvaluationFiles, target: EvaluationFiles) -> None:
    if target.folder.exists() or not source.numbers.exists():
        return
    part = temporary.beside(target.folder)
    try:
        part.parent.mkdir(parents=True, exist_ok=True)
        shutil.copytree(source.folder, part)
        part.rename(target.folder)
    except OSError as error:
        raise unwritable(target.folder, error) from None
    finally:
        temporary.remove(part)
