"""The tables of REPRODUCIBILITY.md, from the runs of configs/study_shapes.yaml and configs/study_ablations.yaml.

    python benchmarks/findings.py runs                  # a store, a study's folder, or a file that `record` wrote
    python benchmarks/findings.py record FILE runs/study-shapes runs/study-ablations    # results, one JSON line a run

Every interval is Student's 95 % over runs, a run being one order and seed; differences are paired by order and seed.
"""

from __future__ import annotations

import gzip
import json
import math
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean

from rilbench.analysis.groups import model_of
from rilbench.analysis.pairs import independent_pairs, mean_differences
from rilbench.analysis.sources import load_runs
from rilbench.analysis.statistics import Spread, holm, paired_p
from rilbench.contracts.result import RunResult

Key = tuple[tuple[str, ...], int]  # order and seed
GENERAL = ("clip_score", "fid", "structure", "oracle")
REWARDS = ("aesthetic", "hps", "compressibility")
METRICS = (*REWARDS, "png_kb", "jpeg_kb", *GENERAL, "diversity")
HELD_OUT = ("sharpness", "colorfulness")
FAMILIES = {
    "baseline, scaled": ("baseline", "baseline-x0.75", "baseline-x0.5", "baseline-x0.25"),
    "baseline, half the learning rate": ("baseline-half",),
    "baseline, stopped early": ("baseline-early",),
    "baseline, any of these": (
        "baseline",
        "baseline-x0.75",
        "baseline-x0.5",
        "baseline-x0.25",
        "baseline-half",
        "baseline-early",
    ),
    "RID without teacher": ("rid-lam0",),
    "joint": ("joint",),
    "soup": ("soup",),
}


class Runs:
    """The finished runs by label, order and seed."""

    def __init__(self, results: Iterable[RunResult]) -> None:
        self.by_label: dict[str, dict[Key, RunResult]] = {}
        for run in results:
            if run.status == "finished":
                self.by_label.setdefault(run.label, {})[run.rewards, run.seed] = run

    @classmethod
    def load(cls, source: Path) -> Runs:
        """Of a store, a study's folder, or a recorded file."""
        if source.is_dir():
            return cls(load_runs([str(source)], lambda address: []))
        with gzip.open(source, "rt", encoding="utf-8") as lines:
            return cls(RunResult.from_json(json.loads(line)) for line in lines)

    def labels(self, wanted: Sequence[str]) -> list[str]:
        return [label for label in wanted if label in self.by_label]

    def models(self, label: str) -> list[RunResult]:
        """The runs of a label; those that are the same model, as joint's and soup's are in any order, once."""
        return list({model_of(run): run for run in self.by_label[label].values()}.values())

    def values(self, label: str, of: Callable[[RunResult], float]) -> list[float]:
        return [of(run) for run in self.models(label)]

    def differences(self, label: str, other: str, of: Callable[[RunResult], float]) -> list[float]:
        """label minus other, over the orders and seeds that both have; the mean of those that share a model."""
        runs = [run for name in (label, other) for run in self.by_label[name].values()]
        return mean_differences(independent_pairs(runs, label, other), of)


def final(metric: str) -> Callable[[RunResult], float]:
    return lambda run: run.matrix.values(metric)[-1]


def base(metric: str) -> Callable[[RunResult], float]:
    return lambda run: run.matrix.values(metric)[0]


def forgotten(metric: str, stage: int = -1) -> Callable[[RunResult], float]:
    """F of Eq. 3, NaN where the paper's tables mask it."""

    def of(run: RunResult) -> float:
        last = stage % len(run.matrix.rows)
        return math.nan if run.matrix.masked(metric, last) else run.matrix.forgetting(metric, last)

    return of


def learned(reward: str) -> Callable[[RunResult], float]:
    """Gain of a reward from the base to the stage that trained it; NaN of a merge, which trains nothing itself."""

    def of(run: RunResult) -> float:
        merged = not run.matrix.rows[-1].rewards
        return math.nan if merged else run.matrix.learned(reward)

    return of


def kept(reward: str) -> Callable[[RunResult], float]:
    """Gain of a reward from the base to the end."""
    return lambda run: run.matrix.values(reward)[-1] - run.matrix.values(reward)[0]


def average(run: RunResult) -> float:
    """Mean of the rewards' gains at the end, each relative to the base, in percent."""
    return 100 * run.matrix.average()


def relative(of: Callable[[str], Callable[[RunResult], float]]) -> Callable[[RunResult], float]:
    """Mean over the rewards of a gain relative to the base, in percent."""

    def value(run: RunResult) -> float:
        shares = [of(reward)(run) / abs(run.matrix.values(reward)[0]) for reward in REWARDS]
        known = [share for share in shares if not math.isnan(share)]
        return 100 * sum(known) / len(known) if known else math.nan

    return value


def number(value: float) -> str:
    if math.isnan(value):
        return "-"
    size = abs(value)
    decimals = 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.01 else 6
    return f"{value:.{decimals}f}" if value else "0"


def chance(p: float) -> str:
    return "< 1e-6" if p < 1e-6 else number(p)


def spread(values: Sequence[float]) -> str:
    found = Spread.of(values)
    return number(found.mean) + ("" if math.isnan(found.half) else f" ±{number(found.half)}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()


def final_values(runs: Runs, labels: Sequence[str]) -> None:
    print("### Final values\n")
    rows: list[list[str]] = []
    for label in labels:
        untouched = [number(base(m)(next(iter(runs.by_label[label].values())))) for m in METRICS]
        if untouched not in [row[2:-1] for row in rows if row[0].startswith("base")]:
            rows.append(["base" if not rows else f"base of {label}", "", *untouched, "0"])
        values = [spread(runs.values(label, final(m))) for m in METRICS]
        rows.append([label, str(len(runs.models(label))), *values, spread(runs.values(label, average))])
    table(["method", "models", *METRICS, "average gain %"], rows)


def forgetting(runs: Runs, labels: Sequence[str]) -> None:
    print("### Forgetting (Eq. 3)\n")
    rows = [[label, *(spread(runs.values(label, forgotten(m))) for m in METRICS)] for label in labels]
    table(["method", *METRICS], rows)


def by_stage(runs: Runs, labels: Sequence[str]) -> None:
    print("### Forgetting of the general metrics, stage by stage\n")
    rows = []
    for label in labels:
        for metric in GENERAL:
            stages = [runs.values(label, forgotten(metric, stage)) for stage in (1, 2, 3)]
            growth = [last - first for first, last in zip(stages[0], stages[2], strict=True)]
            rows.append([label, metric, *map(spread, stages), spread(growth), chance(paired_p(growth))])
    table(["method", "metric", "stage 1", "stage 2", "stage 3", "3 minus 1", "p"], rows)


def less_forgetting(runs: Runs, other: str) -> None:
    print(f"### Forgetting, {other} minus rid\n")
    found = {m: runs.differences(other, "rid", forgotten(m)) for m in METRICS}
    found = {m: [d for d in differences if not math.isnan(d)] for m, differences in found.items()}
    p = holm({m: paired_p(differences) for m, differences in found.items()})
    rows = [[m, str(len(d)), spread(d), f"{sum(x > 0 for x in d)} of {len(d)}", chance(p[m])] for m, d in found.items()]
    table(["metric", "pairs", "difference", "rid forgets less", "p (Holm)"], rows)


def gains(runs: Runs, labels: Sequence[str]) -> None:
    print("### Learned at its own stage, and left at the end (gain over the base)\n")
    columns = [*(of(reward) for of in (learned, kept) for reward in REWARDS), relative(learned), average]
    rows = [[label, *(spread(runs.values(label, column)) for column in columns)] for label in labels]
    for other in (label for label in labels if label != "rid" and "rid" in labels):
        rows.append([f"rid minus {other}", *(spread(runs.differences("rid", other, column)) for column in columns)])
    head = [f"{r} {when}" for when in ("learned", "left") for r in REWARDS]
    table(["method", *head, "learned %", "left %"], rows)


def matched(runs: Runs) -> None:
    print("### Matched target: the least-drift point that reaches RID's average gain, by order and seed\n")
    rows = []
    for family, members in FAMILIES.items():
        present = runs.labels(members)
        pairs, ahead, keys = [], [], 0
        for key, rid in runs.by_label["rid"].items():
            points = [runs.by_label[label][key] for label in present if key in runs.by_label[label]]
            if len(points) < len(members):
                continue
            keys += 1
            reaching = [run for run in points if average(run) >= average(rid)]
            if reaching:
                best = max(reaching, key=final("structure"))
                pairs.append(final("structure")(best) - final("structure")(rid))
                ahead.append(final("oracle")(best) - final("oracle")(rid))
        if keys:
            less = f"{sum(d > 0 for d in pairs)} of {len(pairs)}"
            reached = f"{len(pairs)} of {keys}" if pairs else f"not reached (0 of {keys})"
            rows.append([family, reached, spread(pairs), spread(ahead), less if pairs else "-"])
    table(["method", "reached", "structure minus RID's", "oracle minus RID's", "drifts less than RID"], rows)


def certainty(runs: Runs, other: str) -> None:
    print(f"### How sure: rid minus {other}, by what is taken as one observation\n")
    measures = {"average gain %": average, "structure": final("structure"), "oracle": final("oracle")}
    rows = []
    for name, of in measures.items():
        pairs = {key: of(run) - of(runs.by_label[other][key]) for key, run in runs.by_label["rid"].items()}
        orders, seeds = ({key[part] for key in pairs} for part in (0, 1))
        by_order = [fmean(d for key, d in pairs.items() if key[0] == order) for order in sorted(orders)]
        by_seed = [fmean(d for key, d in pairs.items() if key[1] == seed) for seed in sorted(seeds)]
        cells = [
            f"{spread(values)}, p {chance(paired_p(values))}" for values in (list(pairs.values()), by_order, by_seed)
        ]
        rows.append([name, *cells])
    table(["measure", "order and seed", "order", "seed"], rows)


def hacking(runs: Runs, labels: Sequence[str]) -> None:
    print("### Against reward hacking: gain left after a disturbance, rewards nobody trained, diversity\n")
    rows = []
    for label in labels:
        shares = [spread(runs.values(label, _after(how))) for how in ("jpeg", "blur", "shift")]
        held = [spread(runs.values(label, lambda run, m=m: final(m)(run) - base(m)(run))) for m in HELD_OUT]
        rows.append([label, *shares, *held, spread(runs.values(label, final("diversity")))])
    table(["method", "jpeg %", "blur %", "shift %", *(f"{m} change" for m in HELD_OUT), "diversity"], rows)


def _after(how: str) -> Callable[[RunResult], float]:
    """The average gain of the disturbed images, in percent."""

    def value(run: RunResult) -> float:
        columns = [(f"{reward}@{how}", run.matrix.values(f"{reward}@{how}")) for reward in REWARDS]
        return 100 * sum((v[-1] - v[0]) / abs(v[0]) for _, v in columns) / len(columns)

    return value


def report(source: Path) -> None:
    """All tables, as far as there are runs."""
    runs = Runs.load(source)
    study = runs.labels(["rid", "baseline", "joint", "soup", "rid-lam0", *FAMILIES["baseline, any of these"][1:]])
    ablations = [label for label in runs.by_label if label not in study]
    final_values(runs, study)
    forgetting(runs, study)
    by_stage(runs, runs.labels(["baseline", "rid"]))
    for other in runs.labels(["baseline", "rid-lam0", "baseline-half", "baseline-early"]):
        less_forgetting(runs, other)
    for other in runs.labels(["baseline", "baseline-half", "baseline-early"]):
        certainty(runs, other)
    gains(runs, study)
    matched(runs)
    hacking(runs, study)
    if ablations:
        one = Runs(run for of in runs.by_label.values() for run in of.values() if run.rewards == REWARDS)
        print("## Ablations, one order\n")
        final_values(one, ["rid", "baseline", *ablations])
        forgetting(one, ["rid", "baseline", *ablations])
        gains(one, ["rid", "baseline", *ablations])


def record(file: Path, sources: Sequence[Path]) -> None:
    """Write the results of stores or study folders, one JSON line each, sorted by name, without their commands."""
    runs = {run.name: run for source in sources for run in load_runs([str(source)], lambda address: [])}
    lines = [json.dumps(replace(runs[name], command="").to_json()) + "\n" for name in sorted(runs)]
    file.write_bytes(gzip.compress("".join(lines).encode(), mtime=0))


if __name__ == "__main__":
    if len(sys.argv) > 3 and sys.argv[1] == "record":
        record(Path(sys.argv[2]), [Path(source) for source in sys.argv[3:]])
    elif len(sys.argv) == 2:
        report(Path(sys.argv[1]))
    else:
        sys.exit(__doc__)
