"""A store of finished runs made of random numbers: result.json, config.yaml and scores of single images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import yaml  # type: ignore[import-untyped]
from safetensors.numpy import save_file

from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench.store.files import write_json

A, H, C = "aesthetic", "hps", "compressibility"
FORWARDS, BACKWARDS = (A, H, C), (C, H, A)
PROMPTS, IMAGES = 12, 3
METRICS = (
    MetricInfo(name=A, higher_is_better=True, target_of=(A,)),
    MetricInfo(name=H, higher_is_better=True, target_of=(H,)),
    MetricInfo(name=C, higher_is_better=True, target_of=(C,)),
    MetricInfo(name="png_kb", higher_is_better=False, unit="kB", target_of=(C,)),
    MetricInfo(name="fid", higher_is_better=False),
    MetricInfo(name="oracle", higher_is_better=True, unit="%"),
)
CENTRE = {A: 5.0, H: 0.3, C: -0.01, "png_kb": 400.0, "fid": 70.0, "oracle": 90.0}
SCORED = tuple(name for name in CENTRE if name != "fid")
BETTER = {info.name: 1 if info.higher_is_better else -1 for info in METRICS}
TARGETS = {info.name: set(info.target_of) for info in METRICS}
SETTINGS = {"model": {"steps": 10}, "train": {"lr": 0.001}, "evaluate": {"seed": 0}}


def save(
    store: Path,
    strategy: str,
    rewards: Sequence[str] = FORWARDS,
    seed: int = 0,
    *,
    shift: float = 0.0,
    stages: Sequence[str] | None = None,
    status: str = "finished",
    settings: Mapping[str, Any] | None = None,
    without: Sequence[str] = (),
    suffix: str = "",
    merge: bool = False,
) -> Path:
    """Write a run and return its folder.

    shift: of all values after the base, relative to their size. stages: identities of the stages after the base.
    without: metrics that are not measured. merge: end with a row that trained nothing.
    """
    name = f"{strategy}-{'-'.join(rewards)}-seed{seed}{suffix}"
    numbers = np.random.default_rng(list(name.encode()))
    rows = [_row(store, "base", (), np.random.default_rng(0), 0.0, without)]
    for i, reward in enumerate(rewards):
        identity = stages[i] if stages else f"{name}-{i}"
        rows.append(_row(store, identity, (reward,), numbers, shift, without))
    if merge:
        rows.append(_row(store, f"{name}-merge", (), numbers, shift, without))
    infos = tuple(info for info in METRICS if info.name not in without)
    run = RunResult(
        name=name,
        strategy=strategy,
        rewards=tuple(rewards),
        seed=seed,
        matrix=ResultMatrix(tuple(rows), infos),
        status=status,
        command="rilbench run",
    )
    write_json(store / name / "result.json", run.to_json())
    own = {"strategy": strategy, "rewards": list(rewards), "seed": seed, "store": str(store)}
    (store / name / "config.yaml").write_text(yaml.safe_dump(SETTINGS | own | dict(settings or {})))
    return store / name


def _row(
    store: Path,
    identity: str,
    rewards: tuple[str, ...],
    numbers: np.random.Generator,
    shift: float,
    without: Sequence[str],
) -> Row:
    folder = f"stages/{identity}/evaluations/e"
    scores = {
        name: CENTRE[name] + abs(CENTRE[name]) * (shift + 0.1 * numbers.standard_normal((PROMPTS, IMAGES)))
        for name in SCORED
    }
    values = {name: float(score.mean()) for name, score in scores.items()}
    values["fid"] = CENTRE["fid"] * (1 + shift + 0.1 * float(numbers.standard_normal()))
    for name in without:
        del values[name], scores[name]
    (store / folder).mkdir(parents=True, exist_ok=True)
    save_file(scores, store / folder / "scores.safetensors")
    label = rewards[0] if rewards else "base"
    sds = {name: float(score.mean(1).std(ddof=1)) for name, score in scores.items()}
    return Row(label=label, rewards=rewards, stage_id=identity, evaluation=folder, values=values, sds=sds)
