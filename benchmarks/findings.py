"""The tables of REPRODUCIBILITY.md, from the runs of configs/study_shapes.yaml and configs/study_ablations.yaml.

    python benchmarks/findings.py runs                  # a store, a study's folder, or a folder of benchmarks/record.py

Quantities, intervals and tests are those of `rilbench compare` (docs/compare.md).
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterable, Sequence
from functools import cached_property
from pathlib import Path

import pandas as pd
import record

from rilbench.analysis.comparison import Row
from rilbench.analysis.quantities import Quantity
from rilbench.analysis.sources import load_runs
from rilbench.analysis.statistics import Spread, differences, holm, means, paired_p, spreads
from rilbench.analysis.table import long_table, quantity_table
from rilbench.contracts.result import RunResult

GENERAL = ("clip_score", "fid", "structure", "oracle")
REWARDS = ("aesthetic", "hps", "compressibility")
METRICS = (*REWARDS, "png_kb", "jpeg_kb", *GENERAL, "diversity")
HELD_OUT = ("sharpness", "colorfulness")
DISTURBANCES = ("jpeg", "blur", "shift")
SCALED = ("baseline", "baseline-x0.75", "baseline-x0.5", "baseline-x0.25")
FAMILIES = {
    "baseline, scaled": SCALED,
    "baseline, half the learning rate": ("baseline-half",),
    "baseline, stopped early": ("baseline-early",),
    "baseline, any of these": (*SCALED, "baseline-half", "baseline-early"),
    "RID without teacher": ("rid-lam0",),
    "joint": ("joint",),
    "soup": ("soup",),
}
PERCENT = 100
NONE = Spread.of([])
Asked = tuple[Quantity, str]  # and the metric


class Runs:
    """The finished runs, and long tables of their quantities."""

    def __init__(self, results: Iterable[RunResult]) -> None:
        self.runs = [run for run in results if run.status == "finished"]
        self.names = list(dict.fromkeys(run.label for run in self.runs))

    @classmethod
    def load(cls, source: Path) -> Runs:
        """Load the runs of a store, a study's folder, or a record."""
        recorded = record.read(source).runs
        return cls(recorded or load_runs([str(source)], lambda address: []))

    @cached_property
    def quantities(self) -> pd.DataFrame:
        """Of the metrics of the tables; averages in per cent."""
        table = quantity_table(self.runs, [q for q in Quantity if q not in (Quantity.FORWARD, Quantity.PLASTICITY)])
        average = table["quantity"].astype(str).str.startswith("average")
        return table.assign(value=table["value"].where(~average, PERCENT * table["value"]))

    def of(self, labels: Sequence[str]) -> Runs:
        return Runs(run for run in self.runs if run.label in labels)

    def labels(self, wanted: Sequence[str]) -> list[str]:
        return [label for label in wanted if label in self.names]

    def means(self, label: str, quantity: Quantity, metrics: Sequence[str] = ("average",)) -> list[str]:
        """Means over the models of a label, each with its interval."""
        return [spread(self._means.get((label, quantity, metric), NONE)) for metric in metrics]

    def base(self, label: str) -> list[str]:
        """The base model's values in the first run of a label."""
        matrix = next(run for run in self.runs if run.label == label).matrix
        return [number(matrix.values(metric)[0]) for metric in METRICS]

    def seeds(self, label: str) -> int:
        return len({run.seed for run in self.runs if run.label == label})

    def tests(self, one: str, against: str, asked: Sequence[Asked]) -> list[Row]:
        """The paired tests of one label against another, corrected together."""
        table = self.quantities[self.quantities["label"].isin([one, against])]
        table = table[[key in set(asked) for key in zip(table["quantity"], table["metric"], strict=True)]]
        found = by(differences(table, against), "quantity", "metric")
        return [found[key] for key in asked]

    def values(self, quantity: Quantity, metric: str = "average") -> dict[tuple[str, str, int], float]:
        """Values by label, order and seed."""
        own = self.quantities[(self.quantities["quantity"] == quantity) & (self.quantities["metric"] == metric)]
        return dict(zip(zip(own["label"], own["order"], own["seed"], strict=True), own["value"], strict=True))

    @cached_property
    def _means(self) -> dict[tuple[str, ...], Row]:
        return by(means(self.quantities), "label", "quantity", "metric")


def by(found: pd.DataFrame, *keys: str) -> dict[tuple[str, ...], Row]:
    """The rows of a table, indexed by some of their columns."""
    return {tuple(row[key] for key in keys): row for row in found.to_dict("records")}


def number(value: float) -> str:
    if math.isnan(value):
        return "-"
    size = abs(value)
    decimals = 1 if size >= 10 else 2 if size >= 1 else 3 if size >= 0.01 else 6
    return f"{value:.{decimals}f}" if value else "0"


def chance(p: float) -> str:
    return "< 1e-6" if p < 1e-6 else number(p)


def spread(found: Spread | Row) -> str:
    one = found if isinstance(found, Spread) else Spread.read(found)
    return number(one.mean) + ("" if math.isnan(one.half) else f" ±{number(one.half)}")


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    print(f"| {' | '.join(head)} |\n|{'---|' * len(head)}")
    for row in rows:
        print(f"| {' | '.join(row)} |")
    print()


def final_values(runs: Runs, labels: Sequence[str]) -> None:
    print("### Final values\n")
    rows: list[list[str]] = []
    for label in labels:
        untouched = runs.base(label)
        if untouched not in [row[2:-1] for row in rows if row[0].startswith("base")]:
            rows.append(["base" if not rows else f"base of {label}", "", *untouched, "0"])
        cells = [*runs.means(label, Quantity.FINAL, METRICS), *runs.means(label, Quantity.AVERAGE)]
        rows.append([label, str(runs.seeds(label)), *cells])
    table(["method", "seeds", *METRICS, "average gain %"], rows)


def forgetting(runs: Runs, labels: Sequence[str]) -> None:
    print("### Forgetting (Eq. 3)\n")
    table(["method", *METRICS], [[label, *runs.means(label, Quantity.FORGETTING, METRICS)] for label in labels])


def by_stage(runs: Runs, labels: Sequence[str]) -> None:
    print("### Forgetting of the general metrics, stage by stage\n")
    long = long_table(runs.of(labels).runs)
    long = long[long["metric"].isin(GENERAL)].drop_duplicates(["label", "model", "stage", "metric"])
    wide = long.pivot(index=["label", "metric", "run"], columns="stage", values="forgetting")
    wide["growth"] = wide[3] - wide[1]
    found = {stage: spreads(wide[stage].groupby(level=[0, 1], observed=True)) for stage in (1, 2, 3, "growth")}
    p = holm(paired_p(found["growth"]))
    cells = {key: [*(spread(found[stage].loc[key]) for stage in found), chance(p[key])] for key in p.index}
    rows = [[label, metric, *cells[label, metric]] for label in labels for metric in GENERAL]
    table(["method", "metric", "stage 1", "stage 2", "stage 3", "3 minus 1", "p (Holm)"], rows)


def less_forgetting(runs: Runs, other: str) -> None:
    print(f"### Forgetting, {other} minus rid\n")
    tests = runs.tests(other, "rid", [(Quantity.FORGETTING, metric) for metric in METRICS])
    rows = []
    for metric, test in zip(METRICS, tests, strict=True):
        values = runs.values(Quantity.FORGETTING, metric)
        gaps = [v - values.get(("rid", *case), math.nan) for (label, *case), v in values.items() if label == other]
        less = f"{sum(gap > 0 for gap in gaps)} of {int(test['matched'])}"
        rows.append([metric, str(int(test["n"])), spread(test), less, chance(test["p_holm"])])
    table(["metric", "seeds", "difference", "rid forgets less", "p (Holm)"], rows)


def gains(runs: Runs, labels: Sequence[str]) -> None:
    print("### Learned at its own stage, and left at the end (gain over the base)\n")
    rewards = [(quantity, reward) for quantity in (Quantity.LEARNED, Quantity.LEFT) for reward in REWARDS]
    columns = [*rewards, (Quantity.AVERAGE_LEARNED, "average"), (Quantity.AVERAGE, "average")]
    rows = [[label, *(cell for q, metric in columns for cell in runs.means(label, q, [metric]))] for label in labels]
    for other in (label for label in labels if label != "rid" and "rid" in labels):
        rows.append([f"rid minus {other}", *map(spread, runs.tests("rid", other, columns))])
    head = [f"{reward} {quantity}" for quantity, reward in rewards]
    table(["method", *head, "learned %", "left %"], rows)


def matched(runs: Runs) -> None:
    print("### Matched target: the least-drift point that reaches RID's average gain, by order and seed\n")
    gain = runs.values(Quantity.AVERAGE)
    structure, oracle = (runs.values(Quantity.FINAL, metric) for metric in ("structure", "oracle"))
    rows = []
    for family, members in FAMILIES.items():
        pairs, ahead, cases = [], [], 0
        for rid in (key for key in gain if key[0] == "rid"):
            points = [(label, *rid[1:]) for label in members if (label, *rid[1:]) in gain]
            if len(points) < len(members):
                continue
            cases += 1
            if reaching := [point for point in points if gain[point] >= gain[rid]]:
                best = max(reaching, key=lambda point: structure[point])
                pairs.append(structure[best] - structure[rid])
                ahead.append(oracle[best] - oracle[rid])
        if cases:
            less = f"{sum(d > 0 for d in pairs)} of {len(pairs)}"
            reached = f"{len(pairs)} of {cases}" if pairs else f"not reached (0 of {cases})"
            found = [spread(Spread.of(pairs)), spread(Spread.of(ahead))]
            rows.append([family, reached, *found, less if pairs else "-"])
    table(["method", "reached", "structure minus RID's", "oracle minus RID's", "drifts less than RID"], rows)


def hacking(runs: Runs, labels: Sequence[str]) -> None:
    print("### Against reward hacking: gain left after a disturbance, rewards nobody trained, diversity\n")
    disturbed = [f"{reward}@{how}" for how in DISTURBANCES for reward in REWARDS]
    left = quantity_table(runs.runs, [Quantity.LEFT], names=[*disturbed, *HELD_OUT])
    held = by(means(left), "label", "metric")
    gains = left[left["metric"].isin(disturbed)]
    gains = gains.assign(
        value=PERCENT * gains["value"] / gains["base"].abs(), how=gains["metric"].str.partition("@")[2]
    )
    each = gains.groupby(["label", "model", "run", "how"], observed=True)["value"].mean().reset_index()
    once = each.drop_duplicates(["label", "model", "how"])
    shares = by(spreads(once.groupby(["label", "how"], observed=True)["value"]).reset_index(), "label", "how")
    rows = [
        [
            *(label, *(spread(shares[label, how]) for how in DISTURBANCES)),
            *(*(spread(held[label, m]) for m in HELD_OUT), *runs.means(label, Quantity.FINAL, ["diversity"])),
        ]
        for label in labels
    ]
    table(["method", *(f"{how} %" for how in DISTURBANCES), *(f"{m} change" for m in HELD_OUT), "diversity"], rows)


def report(source: Path) -> None:
    """Print all tables for which there are runs."""
    runs = Runs.load(source)
    labels = runs.labels(["rid", "baseline", "joint", "soup", "rid-lam0", *FAMILIES["baseline, any of these"][1:]])
    ablations = [label for label in runs.names if label not in labels]
    study = runs.of(labels)
    final_values(study, labels)
    forgetting(study, labels)
    by_stage(study, study.labels(["baseline", "rid"]))
    for other in study.labels(["baseline", "rid-lam0", "baseline-half", "baseline-early"]):
        less_forgetting(study, other)
    gains(study, labels)
    matched(study)
    hacking(study, labels)
    if ablations:
        one = Runs(run for run in runs.runs if run.rewards == REWARDS)
        print("## Ablations, one order\n")
        final_values(one, ["rid", "baseline", *ablations])
        forgetting(one, ["rid", "baseline", *ablations])
        gains(one, ["rid", "baseline", *ablations])


if __name__ == "__main__":
    if len(sys.argv) == 2:
        report(Path(sys.argv[1]))
    else:
        sys.exit(__doc__)
