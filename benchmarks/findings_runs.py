"""Tables of a recorded study that say what was run: methods, units, teacher, costs and environments."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
from findings_markdown import Table, number, shown
from findings_study import Study

from rilbench.analysis.statistics import Spread
from rilbench.analysis.table import model_of
from rilbench.analysis.units import REFERENCE, SINGLE
from rilbench.store.tables import escaped


def methods(study: Study) -> Table:
    """Which runs there are, which are missing, and the settings that tell methods apart."""
    cases = {(run.rewards, run.seed) for run in study.runs if run.label in study.labels}
    rows = []
    for label, changed in _settings(study).items():
        runs = study.of(label)
        models = len({(run.seed, model_of(run)) for run in runs})
        missing = len(cases) - len(runs) if label in study.labels else 0
        counts = (len({run.seed for run in runs}), len({run.rewards for run in runs}), len(runs), models, missing)
        rows.append([label, *map(str, counts), escaped(", ".join(changed)) or "-"])
    note = (
        "A seed counts with the orders it has. Models that several runs share count once. Missing: cases of order and "
        "seed that another method of the study has. Settings: those in which methods of one strategy differ."
    )
    return Table("Methods", note, ["method", "seeds", "orders", "runs", "models", "missing", "settings"], rows)


def _settings(study: Study) -> dict[str, list[str]]:
    known = {label: study.record.settings[study.of(label)[0].name] for label in (*study.labels, *study.others)}
    found = {}
    for label, own in known.items():
        alike = [other for other in known.values() if other["strategy"] == own["strategy"]]
        keys = sorted({key for other in alike for key in other if len({str(each.get(key)) for each in alike}) > 1})
        found[label] = [f"{key} {own.get(key, 'unset')}" for key in keys]
    return found


def units(study: Study) -> Table:
    run = study.runs[0]
    rows = [
        [
            name,
            "higher" if study.better(name) > 0 else "lower",
            number(run.matrix.rows[0].values[name]),
            number(_sd(study, name)),
            number(study.size(SINGLE, name)) if name in study.rewards else "-",
        ]
        for name in study.metrics
    ]
    note = (
        f"Of the base model, on {_prompts(study)}. SD: between the means of its prompts. Single gain: the mean gain of "
        f"a first stage of `{REFERENCE}` that trains the reward alone, over seeds."
    )
    return Table("Base values and units", note, ["metric", "better", "base", "SD", "single gain"], rows)


def _prompts(study: Study) -> str:
    images = study.record.settings[study.runs[0].name].get("evaluate.images_per_prompt", "-")
    return f"{study.at(study.runs[0], study.rewards[0], 0).size} prompts with {images} images each"


def _sd(study: Study, metric: str) -> float:
    values = study.at(study.runs[0], metric, 0)
    return float(values.std(ddof=1)) if values.ndim and values.std() > 0 else math.nan


def teacher(study: Study) -> Table:
    rows = []
    for label in ("rid", *study.others):
        for reward in study.rewards:
            ratios = _ratios(study, label, reward)
            if ratios:
                spread = Spread.of(float(np.mean(own)) for own in ratios.values())
                stages = [study.record.stages[key] for key in _stages(study, label, reward)]
                updates = "; ".join(sorted({str(stage["updates"]) for stage in stages}))
                lengths = "; ".join(sorted({number(_time_constants(stage)) for stage in stages}))
                rows.append([label, reward, str(spread.n), updates, lengths, shown(spread)])
    note = (
        "Ratio: the norm of the distillation's gradient over that of the reward's, the median over measured "
        "updates of a stage after its first, where both models are equal. Time constants: the teacher's, in a stage."
    )
    return Table("Teacher", note, ["method", "reward", "seeds", "updates", "time constants", "ratio"], rows)


def _ratios(study: Study, label: str, reward: str) -> dict[int, list[float]]:
    """By seed, of every stage that trained a reward alone."""
    found: dict[int, list[float]] = {}
    for stage, seed in _stages(study, label, reward).items():
        gradients = study.record.stages[stage].get("gradients", {})
        terms = [gradients.get(f"gradient/{term}", [])[1:] for term in ("distillation", "reward")]
        ratios = [d / r for d, r in zip(*terms, strict=True) if d is not None and r]
        if ratios:
            found.setdefault(seed, []).append(float(np.median(ratios)))
    return found


def _stages(study: Study, label: str, reward: str) -> dict[str, int]:
    """The stages that trained a reward alone, and their seeds."""
    own = {row.stage_id: run.seed for run in study.of(label) for row in run.matrix.rows if row.rewards == (reward,)}
    return dict(sorted(own.items()))


def _time_constants(stage: Mapping[str, Any]) -> float:
    own = stage["settings"]
    if own["alpha"] is None:
        return float(own["time_constants"])
    return -stage["updates"] * math.log(own["alpha"]) if own["alpha"] else math.inf


def costs(study: Study) -> Table:
    rows = []
    for label in study.labels:
        seconds = Counter({row.stage_id: row.train_seconds for run in study.of(label) for row in run.matrix.rows})
        trained = {key: study.record.stages[key]["updates"] for key in seconds if study.record.stages[key]["updates"]}
        if trained:
            each = float(np.median([seconds[key] / updates for key, updates in trained.items()]))
            rows.append([label, str(len(trained)), str(sum(trained.values())), number(each)])
    note = "Seconds of an update, the median over stages, on a machine that other work shared."
    return Table("Costs", note, ["method", "stages", "updates", "seconds per update"], rows)


def environments(study: Study) -> Table:
    keys = ("cpu", "instructions", "blas", "threads", "python", "packages.torch", "packages.rilbench", "commit")
    counts = Counter(tuple(str(known.get(key, "-")) for key in keys) for known in study.record.environments.values())
    rows = [[*values, str(runs)] for values, runs in sorted(counts.items())]
    head = [*(key.rpartition(".")[2] for key in keys), "runs"]
    return Table("Environments", "On which the last bits of numbers depend.", head, rows)
