"""A record of a study made of random numbers, written without the code that writes records."""

from __future__ import annotations

import gzip
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

A, H, C = "aesthetic", "hps", "compressibility"
ORDERS = ((A, H, C), (A, C, H), (H, A, C), (C, H, A))
PROMPTS, UPDATES = 8, 12
CENTRE = {A: 5.4, H: 0.49, C: -3.6e-4, "png_kb": 1.27, "structure": 1.0, "attributes": 90.0, "fid": 15.0}
SPREAD = {A: 0.9, H: 0.06, C: 2e-4, "png_kb": 0.2, "structure": 0.0, "attributes": 4.0, "fid": 0.0}
STEP = {A: 0.8, H: 0.05, C: 1e-4, "png_kb": -0.05, "structure": -0.1, "attributes": -5.0, "fid": 9.0}
LOWER = ("png_kb", "fid")
SCORED = tuple(name for name in CENTRE if name != "fid")
SPEED = {"rid": 0.9, "baseline-low": 0.6, "baseline": 1.0, "baseline-high": 1.5, "baseline-plain": 1.6}
SPEED |= {"joint": 0.7, "soup": 0.4, "soup-x2": 0.8, "rid-alpha0.9": 1.2, "rid-lam0": 1.5}
ABLATIONS = ("rid-alpha0.9", "rid-lam0")
MERGES, TEACHERS = ("soup", "soup-x2"), ("rid", "rid-alpha0.9")
Line = dict[str, Any]


def write(
    folder: Path,
    seeds: Sequence[int] = (0, 1, 2),
    without: Sequence[tuple[str, int, int]] = (),
    labels: Sequence[str] = tuple(SPEED),
) -> None:
    """A study of `SPEED`'s methods. without: method, number of the order and seed of runs that are missing."""
    folder.mkdir(parents=True)
    for seed in seeds:
        lines: dict[tuple[str, str], Line] = {}
        for label in labels:
            for number, order in enumerate(ORDERS[:1] if label in ABLATIONS else ORDERS):
                if (label, number, seed) not in without:
                    made = _run(label, order, seed)
                    lines |= {(line["kind"], line.get("id", line.get("name"))): line for line in made}
        text = "".join(json.dumps(line) + "\n" for line in lines.values())
        (folder / f"seed{seed}.jsonl.gz").write_bytes(gzip.compress(text.encode(), mtime=0))


def _run(label: str, order: Sequence[str], seed: int) -> list[Line]:
    strategy = "wise_ft" if label == "soup-x2" else label.partition("-")[0]
    settings = {"strategy": strategy, "train.lr": SPEED[label], "evaluate.images_per_prompt": 4}
    lines: list[Line] = [
        {"kind": "environment", "id": "e", "cpu": "a processor", "threads": 1, "packages.torch": "2.0"},
        {"kind": "settings", "id": f"s-{label}", "values": settings},
        *({"kind": "metric", **_info(name)} for name in CENTRE),
    ]
    rows = [["base", [], "base", "stages/base/evaluations/e"]]
    lines += _stage("base", np.random.default_rng(7), {}, trained=False, label=label)
    shifts = dict.fromkeys(CENTRE, 0.0)
    chains = [("joint", list(order))] if label == "joint" else [(reward, [reward]) for reward in order]
    names: list[str] = []
    for reward, rewards in chains:
        names.append(reward)
        # stages of a merge do not build on each other; a joint stage is the same in every order
        chain = "joint" if label == "joint" else reward if label in MERGES else ".".join(names)
        identity = f"{label}-{seed}-{chain}"
        numbers = np.random.default_rng(list(identity.encode()))
        before = dict.fromkeys(CENTRE, 0.0) if label in MERGES else shifts
        shifts = {name: before[name] + _effect(name, rewards, label, numbers) for name in CENTRE}
        lines += _stage(identity, numbers, shifts, trained=True, label=label)
        rows.append([reward, rewards, identity, f"stages/{identity}/evaluations/e"])
    if label in MERGES:
        identity = f"{label}-{seed}-merge"
        numbers = np.random.default_rng(list(identity.encode()))
        shifts = {name: _effect(name, list(order), label, numbers) for name in CENTRE}
        lines += _stage(identity, numbers, shifts, trained=False, label=label)
        rows.append(["merge", [], identity, f"stages/{identity}/evaluations/e"])
    about = {"name": f"{label}-{'-'.join(order)}-{seed}", "label": label, "strategy": strategy, "rewards": list(order)}
    known = {"seed": seed, "plugins": {}, "metrics": list(CENTRE), "settings": f"s-{label}", "environment": "e"}
    return [*lines, {"kind": "run", **about, **known, "rows": rows}]


def _info(name: str) -> Line:
    targets = [name] if name in (A, H, C) else [C] if name == "png_kb" else []
    unit = "%" if name == "attributes" else ""
    return {"name": name, "higher_is_better": name not in LOWER, "unit": unit, "target_of": targets}


def _effect(name: str, rewards: Sequence[str], label: str, numbers: np.random.Generator) -> float:
    """What one stage does: its own reward rises, the others fall a little, all drift."""
    own = 1.0 if name in rewards else -0.4 if name in (A, H, C) else 1.0
    return float(SPEED[label] * own * STEP[name] * (1 + 0.3 * numbers.standard_normal()))


def _stage(
    identity: str, numbers: np.random.Generator, shifts: dict[str, float], *, trained: bool, label: str
) -> list[Line]:
    of_prompts = np.random.default_rng(7).standard_normal((len(CENTRE), PROMPTS))
    scores = {}
    for i, name in enumerate(CENTRE):
        shift = shifts.get(name, 0.0)
        noise = SPREAD[name] * of_prompts[i] + 0.2 * abs(shift) * numbers.standard_normal(PROMPTS)
        scores[name] = [float(f"{v:.6g}") for v in CENTRE[name] + shift + noise]
    values = {name: float(f"{np.mean(own):.7g}") for name, own in scores.items()}
    stage: Line = {"kind": "stage", "id": identity, "seconds": 3.0 * SPEED[label], "updates": UPDATES if trained else 0}
    if trained:
        sizes = numbers.uniform(0.5, 2.0, UPDATES)
        reward = [float(v) if i % 3 == 0 else None for i, v in enumerate(sizes)]
        ratio = [0.0 if i == 0 else 0.1 * i for i in range(UPDATES)]
        distillation = [None if v is None else v * r for v, r in zip(reward, ratio, strict=True)]
        terms = {"gradient/reward": reward, "gradient/distillation": distillation} if label in TEACHERS else {}
        alpha = {"alpha": 0.9 if label == "rid-alpha0.9" else 0.99} if label in TEACHERS else {}
        stage |= {"gradients": {"gradient": sizes.tolist(), **terms}, "train": {}, "strategy": "", "settings": alpha}
    evaluation = {"kind": "evaluation", "id": f"stages/{identity}/evaluations/e", "seconds": 1.0, "values": values}
    own = {name: each for name, each in scores.items() if name in SCORED}
    return [stage, evaluation | {"intervals": {}, "scores": own}]
