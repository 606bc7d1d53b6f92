"""The record of a study in the repository: all that its tables are computed from, without images and weights.

    python benchmarks/record.py docs/data/study_shapes runs/study-shapes [STORE...]

Writes FOLDER/seedN.jsonl.gz, a file for each seed with all of its finished runs; files of other seeds stay as they are.
Equal runs make equal bytes. Each line is one object; its `kind` says which fields it has:

* environment: id; versions, CPU, instructions, BLAS, threads and commit
* settings: id; values: the settings of a method by dotted key, without those of strategies that take no part
* metric: name, higher_is_better, unit, target_of
* stage: id; seconds, updates, and of a trained stage strategy, settings: those of the strategy, train: those of the
  training, gradients: for each update the norm of the gradient before clipping and, where measured, of the loss terms'
* evaluation: id; seconds, values, scores: the mean over the images of each prompt, intervals of metrics without scores
* run: name, label, strategy, rewards, seed, plugins, metrics; ids of settings and environment; rows of the matrix:
  label, rewards, ids of stage and evaluation

A stage or evaluation that several runs share is one line. Scores and gradients have six significant digits, the others
seven.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import math
import sys
from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rilbench.analysis.methods import telling
from rilbench.analysis.scores import prompt_means
from rilbench.analysis.sources import load_environment, load_runs, load_settings
from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench.store import stage_record
from rilbench.store.layout import RunFiles, Store

Line = dict[str, Any]
Scores = Mapping[str, NDArray[np.float64]]  # metric -> (P,)
KINDS = ("environment", "settings", "metric", "stage", "evaluation", "run")  # a line names lines of earlier kinds only
NUMBERS, SCORES = 7, 6  # significant digits


@dataclass(frozen=True, kw_only=True)
class Record:
    """What a record holds. Settings are by run, stages by identity, scores by evaluation."""

    runs: list[RunResult]
    settings: Mapping[str, Mapping[str, Any]]
    environments: Mapping[str, Mapping[str, Any]]
    stages: Mapping[str, Mapping[str, Any]]
    scores: Mapping[str, Scores]


def write(folder: Path, sources: Sequence[str]) -> list[Path]:
    """Record the finished runs of stores and study folders, and return the files written."""
    seeds: dict[int, dict[tuple[str, str], Line]] = defaultdict(dict)
    for run in load_runs(sources, lambda address: []):
        own = seeds[run.seed]
        own |= {(line["kind"], line.get("id") or line["name"]): line for line in _lines(run, own)}
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(folder / f"seed{seed}.jsonl.gz", list(lines.values())) for seed, lines in sorted(seeds.items())]


def read(folder: Path) -> Record:
    """Read all files of a record."""
    found: dict[str, dict[str, Line]] = {kind: {} for kind in KINDS}
    for file in sorted(folder.glob("seed*.jsonl.gz")):
        for text in gzip.decompress(file.read_bytes()).decode().splitlines():
            line = json.loads(text)
            found[line["kind"]][line.get("id") or line["name"]] = line
    return Record(
        runs=[_run(line, found) for line in found["run"].values()],
        settings={name: found["settings"][line["settings"]]["values"] for name, line in found["run"].items()},
        environments={name: found["environment"][line["environment"]] for name, line in found["run"].items()},
        stages=found["stage"],
        scores={
            key: {name: np.asarray(each, float) for name, each in line["scores"].items()}
            for key, line in found["evaluation"].items()
        },
    )


def _write(file: Path, lines: list[Line]) -> Path:
    lines.sort(key=lambda line: (KINDS.index(line["kind"]), line.get("id") or line["name"]))
    text = "".join(json.dumps(line, sort_keys=True, separators=(",", ":"), allow_nan=False) + "\n" for line in lines)
    file.write_bytes(gzip.compress(text.encode(), mtime=0))
    return file


def _lines(run: RunResult, known: Collection[tuple[str, str]]) -> Iterable[Line]:
    """Those of a run; stages and evaluations that are known are not read again."""
    assert run.folder is not None  # `load_runs` finds no others without a plugin
    store = RunFiles(run.folder).store
    environment = _named("environment", load_environment(run))
    portable = {key: _portable(value) for key, value in load_settings(run).items()}
    settings = _named("settings", {"values": telling(portable)})
    yield environment
    yield settings
    yield from ({"kind": "metric", **asdict(info)} for info in run.matrix.metrics)
    for i, row in enumerate(run.matrix.rows):
        if ("stage", row.stage_id) not in known:
            yield _stage(store, row)
        if ("evaluation", row.evaluation) not in known:
            yield _evaluation(row, prompt_means(run, i))
    about: Line = {key: getattr(run, key) for key in ("name", "label", "strategy", "rewards", "seed", "plugins")}
    rows = [[row.label, row.rewards, row.stage_id, row.evaluation] for row in run.matrix.rows]
    names = [info.name for info in run.matrix.metrics]
    ids = {"settings": settings["id"], "environment": environment["id"]}
    yield {"kind": "run", **about, **ids, "metrics": names, "rows": rows}


def _named(kind: str, values: Mapping[str, Any]) -> Line:
    """A line whose identity is a hash of what it says."""
    content = json.dumps(values, sort_keys=True).encode()
    return {"kind": kind, "id": hashlib.sha256(content).hexdigest()[:12], **values}


def _portable(value: Any) -> Any:
    """A setting without the folders of this machine."""
    return PurePosixPath(value).name if isinstance(value, str) and value.startswith("/") else value


def _stage(store: Store, row: Row) -> Line:
    line: Line = {"kind": "stage", "id": row.stage_id, "seconds": _rounded(row.train_seconds)}
    files = store.stage(row.stage_id)
    if not files.record.exists():  # the base model
        return line | {"updates": 0}
    known = stage_record.read(files.folder)
    log, document = known["log"], known["document"]
    names = sorted({name for entry in log for name in entry if name.startswith("gradient")})
    gradients = {name: [_rounded(entry.get(name, math.nan), SCORES) for entry in log] for name in names}
    own = document.get("strategy", {})
    how = {"train": document["train"], "strategy": own.get("name", ""), "settings": own.get("settings", {})}
    return line | {"updates": len(log), "gradients": gradients} | how


def _evaluation(row: Row, scores: Scores) -> Line:
    return {
        "kind": "evaluation",
        "id": row.evaluation,
        "seconds": _rounded(row.evaluate_seconds),
        "values": {name: _rounded(value) for name, value in row.values.items()},
        "intervals": {n: [*map(_rounded, ends)] for n, ends in row.intervals.items() if n not in scores},
        "scores": {name: [_rounded(v, SCORES) for v in each] for name, each in scores.items() if "@" not in name},
    }


def _rounded(value: float, digits: int = NUMBERS) -> float | None:
    return float(f"{value:.{digits}g}") if math.isfinite(value) else None


def _run(line: Line, found: Mapping[str, Mapping[str, Line]]) -> RunResult:
    infos = [found["metric"][name] for name in line["metrics"]]
    metrics = tuple(
        MetricInfo(**{k: v for k, v in info.items() if k != "kind"} | {"target_of": tuple(info["target_of"])})
        for info in infos
    )
    rows = tuple(_row(*row, found=found) for row in line["rows"])
    about = {key: line[key] for key in ("name", "label", "strategy", "seed", "plugins")}
    return RunResult(**about, rewards=tuple(line["rewards"]), matrix=ResultMatrix(rows, metrics), status="finished")


def _row(
    label: str, rewards: list[str], stage: str, evaluation: str, *, found: Mapping[str, Mapping[str, Line]]
) -> Row:
    measured = found["evaluation"][evaluation]
    scores = {name: np.asarray(each, float) for name, each in measured["scores"].items()}
    return Row(
        label=label,
        rewards=tuple(rewards),
        stage_id=stage,
        evaluation=evaluation,
        values={name: math.nan if v is None else v for name, v in measured["values"].items()},
        intervals={name: (low, high) for name, (low, high) in measured["intervals"].items()},
        sds={name: float(each.std(ddof=1)) for name, each in scores.items() if len(each) > 1},
        train_seconds=found["stage"][stage]["seconds"],
        evaluate_seconds=measured["seconds"],
    )


if __name__ == "__main__":
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    for written in write(Path(sys.argv[1]), sys.argv[2:]):
        print(f"{written} ({written.stat().st_size / 1000:.0f} kB)")
