"""The prompts that a stage improved and worsened most, for the page and as data."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rilbench.analysis.prompts import PromptChange, extremes, picture_of, prompt_changes
from rilbench.contracts.result import RunResult
from rilbench.store.tables import number
from rilbench_report.pictures import Album
from rilbench_report.study import Study

SHOWN = 4  # of the worst and of the best prompts
BUDGET = 2_000_000  # characters of the page's tables


def records(study: Study) -> list[dict[str, Any]]:
    """A record for each of the worst and best prompts of every run, stage and metric; numbers are not rounded."""
    return [
        {"run": run.name, "strategy": run.label, "stage": stage, "trained": run.matrix.rows[stage].label}
        | {"metric": metric, "is": kind}
        | asdict(row)
        for run in study.runs
        for stage, found in _stages(run)
        for metric, rows in found.items()
        for kind, some in zip(("worst", "best"), extremes(rows, SHOWN), strict=True)
        for row in some
    ]


def tables(study: Study, album: Album) -> dict[str, Any]:
    """The same for the page, of as many runs as fit: `texts`, and `runs` that refer to them and to the images of the
    album by index."""
    texts: dict[str, int] = {}
    runs: list[dict[str, Any]] = []
    size = 0
    for run in study.runs:
        stages = [_stage(run, stage, found, texts, album) for stage, found in _stages(run) if found]
        if not stages or size > BUDGET:
            continue
        size += len(str(stages))
        runs.append({"name": f"{run.label}: {run.order}, seed {run.seed}", "stages": stages})
    return {"texts": [*texts], "runs": runs}


def _stages(run: RunResult) -> Iterator[tuple[int, dict[str, list[PromptChange]]]]:
    for stage in range(1, len(run.matrix.rows)):
        yield stage, {name: rows for name, rows in prompt_changes(run, stage).items() if "@" not in name}


def _stage(
    run: RunResult, stage: int, found: dict[str, list[PromptChange]], texts: dict[str, int], album: Album
) -> dict[str, Any]:
    def drawn(rows: Sequence[PromptChange]) -> list[list[Any]]:
        return [
            [
                texts.setdefault(row.prompt, len(texts)),
                number(row.base),
                number(row.value, row.base),
                _signed(row),
                *(album.index(picture_of(run, row.number, at)) for at in (0, stage)),
            ]
            for row in rows
        ]

    metrics = {name: [drawn(rows) for rows in extremes(rows, SHOWN)] for name, rows in found.items()}
    return {"name": run.matrix.labels[stage], "metrics": metrics}


def _signed(row: PromptChange) -> str:
    """The change in the metric's own direction: that of the numbers beside it."""
    text = number(row.value - row.base, row.base)
    return text if text.startswith("-") else f"+{text}"
