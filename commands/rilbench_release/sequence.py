"""The stages of an exported model, with which `rilbench run --after EXPORT` continues their sequence."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from rilbench.engine.config import to_yaml
from rilbench.engine.copies import copy_stage
from rilbench.engine.saved import SavedRun
from rilbench.store.files import write_json, write_text
from rilbench.store.layout import RunFiles, Store
from rilbench.store.results import write_plan


def write_sequence(run: SavedRun, stage: int, folder: Path) -> None:
    """Write a store with the run up to a stage: its settings, its result, and the stages with their evaluations.

    `run.config` has no secrets. The base model's evaluation is left out if its images belong to it, which are large.
    """
    result = run.up_to(stage)
    source, target = Store(run.folder.parent), Store(folder / RunFiles.SEQUENCE)
    files = target.run(result.name)
    finished = replace(result, status="finished", command="", rewards=run.sequence(stage))
    for row in result.matrix.rows:
        evaluation = source.evaluation(row.evaluation)
        small = [] if evaluation.images.exists() else [evaluation.folder.name]
        copy_stage(source.stage(row.stage_id), target.stage(row.stage_id), *small)
    write_text(files.settings, to_yaml(run.settings), sealed=True)
    write_plan(files.folder, [row.evaluation for row in result.matrix.rows], [run.chain(n) for n in range(stage + 1)])
    write_json(files.result, finished.to_json())
