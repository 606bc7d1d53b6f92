"""The figures of a page of findings, computed again from the record: numpy and scipy alone, no code of rilbench."""

from __future__ import annotations

import gzip
import json
import math
import re
from collections import defaultdict
from collections.abc import Callable, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from scipy import stats

Run = dict[str, Any]
Of = Callable[[Run], Any]  # of a run: an array of prompts, or one number
Expected = list[Any]  # of a row: texts, numbers, and pairs of mean and half the interval
NAN = math.nan
FAMILIES = {
    "baseline": ["baseline-low", "baseline", "baseline-high"],
    "baseline-plain": ["baseline-plain"],
    "joint": ["joint-low", "joint", "joint-high"],
    "soup": ["soup", "soup-x2"],
}
MAIN = ["rid", *(label for points in FAMILIES.values() for label in points)]
UNITS = ("SD", "single gain")


class Recomputed:
    """The record in a folder."""

    def __init__(self, folder: Path) -> None:
        self.lines: dict[str, dict[str, Any]] = defaultdict(dict)
        for file in folder.glob("*.jsonl.gz"):
            for text in gzip.decompress(file.read_bytes()).decode().splitlines():
                line = json.loads(text)
                self.lines[line["kind"]][line["id"] if "id" in line else line["name"]] = line
        ends: dict[Any, Run] = {}  # what two studies share counts once; runs of other base models come last
        for run in sorted(self.lines["run"].values(), key=lambda run: (run["label"] not in MAIN, len(run["metrics"]))):
            ends[run["label"], tuple(run["rewards"]), run["seed"], run["rows"][-1][2]] = run
        self.runs = list(ends.values())
        self.rewards = {reward for run in self.runs for row in run["rows"] for reward in row[1]}

    def labelled(self, label: str) -> list[Run]:
        return [run for run in self.runs if run["label"] == label]

    def sign(self, metric: str) -> int:
        return 1 if self.lines["metric"][metric]["higher_is_better"] else -1

    def at(self, run: Run, metric: str, stage: int) -> Any:
        return self._scores(run["rows"][stage][3], metric)

    @cache  # noqa: B019
    def _scores(self, evaluation: str, metric: str) -> Any:
        measured = self.lines["evaluation"][evaluation]
        return np.array(measured["scores"].get(metric, measured["values"].get(metric)), dtype=float)

    def mean(self, run: Run, metric: str, stage: int) -> float:
        return float(self.lines["evaluation"][run["rows"][stage][3]]["values"][metric])

    # what is measured of a run

    def gain(self, run: Run, reward: str, stage: int) -> Any:
        return self.sign(reward) * (self.at(run, reward, stage) - self.at(run, reward, 0))

    def own_stage(self, run: Run, reward: str) -> int:
        """The last one that trained a reward; 0, the base model, of another metric."""
        return max((i for i, row in enumerate(run["rows"]) if reward in row[1]), default=0)

    def forgotten(self, run: Run, metric: str, stage: int) -> float:
        """Eq. 3, NaN where nothing can be forgotten: before a target was trained, and by the stage that trains it."""
        targets = set(self.lines["metric"][metric]["target_of"])
        stage %= len(run["rows"])
        before = {reward for row in run["rows"][:stage] for reward in row[1]}
        trained = set(run["rows"][stage][1])
        if stage == 0 or (targets and not targets & before) or (trained and trained <= targets):
            return NAN
        values = [self.sign(metric) * self.mean(run, metric, i) for i in range(stage + 1)]
        return max(values) - values[-1]

    @cache  # noqa: B019
    def size(self, unit: str, reward: str) -> float:
        if unit == "SD":
            return float(np.std(self.at(self.runs[0], reward, 0), ddof=1))
        seeds: dict[int, set[float]] = defaultdict(set)
        for run in self.labelled("baseline"):
            if run["rows"][1][1] == [reward]:
                seeds[run["seed"]].add(self.sign(reward) * (self.mean(run, reward, 1) - self.mean(run, reward, 0)))
        size = float(np.mean([np.mean(list(gains)) for gains in seeds.values()])) if seeds else NAN
        return size if size > 0 else NAN

    def measure(self, name: str) -> Of:
        """By its name in the tables."""
        if name == "drift":
            return lambda run: 1 - self.at(run, "structure", -1)
        if name.endswith(" forgotten"):
            return lambda run: self.forgotten(run, name.removesuffix(" forgotten"), -1)
        if match := re.fullmatch(r"(\w+) (learned|left)", name):
            reward, which = match.groups()
            return lambda run: self.gain(run, reward, -1 if which == "left" else self.own_stage(run, reward))
        if match := re.fullmatch(r"(learned|left), (SD|single gain)", name):
            which, unit = match.groups()
            sizes = {reward: self.size(unit, reward) for reward in self.rewards}
            one = {reward: self.measure(f"{reward} {which}") for reward in self.rewards}
            return lambda run: sum(one[r](run) / sizes[r] for r in self.rewards) / len(self.rewards)
        return lambda run: self.at(run, name, -1)

    # over seeds

    def model(self, run: Run, stage: int = -1) -> Any:
        """The same for equal models: a stage's identity names all before it; a merge does not depend on their order."""
        rows = run["rows"]
        return rows[stage][2] if rows[stage][1] else frozenset(row[2] for row in rows[1:] if row[1])

    def cases(self, label: str) -> set[Any]:
        return {(tuple(run["rewards"]), run["seed"]) for run in self.labelled(label)}

    def seeds(self, label: str, of: Of, stage: int = -1, cases: set[Any] | None = None) -> dict[int, Any]:
        runs = [run for run in self.labelled(label) if cases is None or (tuple(run["rewards"]), run["seed"]) in cases]
        models = {(run["seed"], self.model(run, stage)): of(run) for run in runs}
        return mean_by_seed(models)

    def spread(self, label: str, of: Of, stage: int = -1) -> tuple[float, float]:
        return student([float(np.mean(value)) for value in self.seeds(label, of, stage).values()])

    def minus(self, one: str, other: str, of: Of) -> dict[int, Any]:
        others = {(tuple(run["rewards"]), run["seed"]): run for run in self.labelled(other)}
        pairs = [(run, others.get((tuple(run["rewards"]), run["seed"]))) for run in self.labelled(one)]
        both = [(a, b) for a, b in pairs if b is not None]
        return mean_by_seed({(a["seed"], self.model(a), self.model(b)): of(a) - of(b) for a, b in both})

    def matched(self, family: str, gain: Of, of: Of) -> dict[str, float]:
        """RID minus a front at RID's gain, of means over seeds, with its jackknife; as `tested`, and how many reach."""
        names = [name for name in FAMILIES[family] if self.labelled(name)]
        drift = self.measure("drift")
        cases = set.intersection(*(self.cases(name) for name in [*names, "rid"]))
        curves = {n: [self.seeds(n, each, cases=cases) for each in (gain, drift, of)] for n in [*names, "rid"]}
        seeds = sorted(set.intersection(*(set(values) for curve in curves.values() for values in curve)))
        base = float(np.mean(of({**self.runs[0], "rows": self.runs[0]["rows"][:1]})))

        def estimate(some: Sequence[int]) -> float:
            place = {n: [np.mean([np.mean(v[seed]) for seed in some]) for v in curve] for n, curve in curves.items()}
            target, _, value = place["rid"]
            if target <= 0:
                return NAN
            front = [(0.0, 0.0, base), *(place[name] for name in names)]
            there = [(d, v) for g, d, v in front if g >= target]
            for (g0, d0, v0), (g1, d1, v1) in pairwise(front):
                if g0 != g1 and 0 <= (share := (target - g0) / (g1 - g0)) <= 1:
                    there.append((d0 + share * (d1 - d0), v0 + share * (v1 - v0)))
            return value - min(there)[1] if there else NAN

        n, whole = len(seeds), estimate(seeds) if seeds else NAN
        parts = [estimate([other for other in seeds if other != seed]) for seed in seeds] if n > 1 else []
        reached = sum(not math.isnan(part) for part in parts)
        error = math.sqrt((n - 1) / n * sum((part - np.mean(parts)) ** 2 for part in parts)) if parts else NAN
        half = error * stats.t.ppf(0.975, n - 1) if n > 1 else NAN
        p = 2 * stats.t.sf(abs(whole) / error, n - 1) if error == error else NAN
        known = {"half": half, "p": p, "sd": error * math.sqrt(n)}
        if math.isnan(whole):
            known = dict.fromkeys(known, NAN)
        own = float(np.mean([np.mean(curves["rid"][0][seed]) for seed in seeds])) if seeds else NAN
        return {"mean": whole, **known, "seeds": n, "prompts": 0, "reached": reached, "gain": own}

    def rate(self, label: str, reward: str, metric: str) -> dict[int, Any]:
        """The change by one stage from the base."""
        return {
            run["seed"]: self.sign(metric) * (self.at(run, metric, 1) - self.at(run, metric, 0))
            for run in self.labelled(label)
            if run["rows"][1][1] == [reward]
        }

    def later(self, label: str, reward: str) -> tuple[dict[int, float], dict[int, float]]:
        """By seed, the change of a metric after its own stage or the base, and the sum of the rates of those stages."""
        rates = {other: self.rate(label, other, reward) for other in self.rewards}
        real, sums = {}, {}
        for run in self.labelled(label):
            own = self.own_stage(run, reward)
            after = [name for row in run["rows"][own + 1 :] for name in row[1]]
            if after and all(run["seed"] in rates[name] for name in after):
                key = (run["seed"], self.model(run))
                real[key] = float(np.mean(self.gain(run, reward, -1) - self.gain(run, reward, own)))
                sums[key] = sum(float(np.mean(rates[name][run["seed"]])) for name in after)
        return mean_by_seed(real), mean_by_seed(sums)

    def ratio(self, label: str, reward: str) -> tuple[list[float], set[int], set[float]]:
        """Of gradient norms by seed, with the updates and time constants of the stages."""
        found: dict[int, dict[str, float]] = defaultdict(dict)
        updates, constants = set(), set()
        for run in self.labelled(label):
            for row in run["rows"]:
                stage = self.lines["stage"][row[2]]
                if row[1] == [reward] and "gradient/distillation" in stage["gradients"]:
                    known = stage["gradients"]
                    both = zip(known["gradient/distillation"][1:], known["gradient/reward"][1:], strict=True)
                    found[run["seed"]][row[2]] = float(np.median([d / r for d, r in both if d is not None and r]))
                    updates.add(stage["updates"])
                    own = stage["settings"]
                    constants.add(own.get("time_constants") or -stage["updates"] * math.log(own["alpha"]))
        return [float(np.mean(list(own.values()))) for own in found.values()], updates, constants


def mean_by_seed(values: dict[Any, Any]) -> dict[int, Any]:
    """Of keys that begin with a seed; NaN left out."""
    seeds: dict[int, list[Any]] = defaultdict(list)
    for key, value in values.items():
        if not np.isnan(value).any():
            seeds[key[0]].append(value)
    return {seed: np.mean(own, axis=0) for seed, own in seeds.items()}


def student(values: Sequence[float]) -> tuple[float, float]:
    """Mean and half of the 95 % interval."""
    n = len(values)
    if n < 2 or np.ptp(values) <= 1e-9 * np.abs(values).max():
        return (float(np.mean(values)) if n else NAN), NAN
    return float(np.mean(values)), float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / np.sqrt(n))


def tested(seeds: dict[int, Any]) -> dict[str, float]:
    """Mean, half of the interval, p, seeds, prompts and sd of seeds: over seeds, and over prompts if there are any."""
    arrays = list(seeds.values())
    means = [float(np.mean(each)) for each in arrays]
    mean, half = student(means)
    found = {"mean": mean, "half": half, "p": NAN, "seeds": len(arrays), "prompts": np.size(arrays[0]) if arrays else 0}
    found["sd"] = NAN if math.isnan(half) else float(np.std(means, ddof=1))
    if not arrays or np.ndim(arrays[0]) == 0:
        found["prompts"] = 0
        return found | {"p": stats.ttest_1samp(means, 0).pvalue if not math.isnan(half) else NAN}
    if len(arrays) < 2:
        return found | {"half": NAN}
    table = np.array(arrays)
    s, p = table.shape
    by_seed = [row.mean() for row in table]
    by_prompt = [column.mean() for column in table.T]
    rest = sum((table[i, j] - by_seed[i] - by_prompt[j] + mean) ** 2 for i in range(s) for j in range(p))
    a, b, c = p * np.var(by_seed, ddof=1), s * np.var(by_prompt, ddof=1), rest / ((s - 1) * (p - 1))
    if min(np.ptp(by_seed), np.ptp(by_prompt)) <= 1e-9 * np.abs(table).max():
        return found | {"half": NAN}
    total = max(a + b - c, a, b)
    freedom = total**2 / (a**2 / (s - 1) + b**2 / (p - 1) + c**2 / ((s - 1) * (p - 1)))
    ways = [(freedom, math.sqrt(total / (s * p))), (s - 1, math.sqrt(a / (s * p)))]
    halves = [stats.t.ppf(0.975, df) * error for df, error in ways]
    ps = [2 * stats.t.sf(abs(mean) / error, df) for df, error in ways]
    return found | {"half": max(halves), "p": max(ps)}


def needed(mean: float, sd: float) -> float:
    """The least number of seeds with which a two-sided t test finds the difference in 80 % of studies."""
    if math.isnan(sd):
        return NAN
    low, high = 1, 1001  # 1 is too few
    while high - low > 1:
        n = (low + high) // 2
        power = stats.nct.sf(stats.t.ppf(0.975, n - 1), n - 1, abs(mean) / sd * math.sqrt(n))
        low, high = (low, n) if power >= 0.8 else (n, high)
    return high if high <= 1000 else NAN  # more are not checked


def holm(p: Sequence[float]) -> list[float]:
    known = sorted((value, i) for i, value in enumerate(p) if not math.isnan(value))
    found, largest = [NAN] * len(p), 0.0
    for rank, (value, i) in enumerate(known):
        largest = max(largest, min(1.0, value * (len(known) - rank)))
        found[i] = largest
    return found
