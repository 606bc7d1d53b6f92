"""The findings of a recorded study, and the tables behind them, as Markdown.

    python benchmarks/findings.py docs/data/study_shapes                            # prints them
    python benchmarks/findings.py docs/data/study_shapes --page REPRODUCIBILITY.md  # replaces them in a page
    python benchmarks/findings.py docs/data/study_shapes --record runs/study-shapes --page REPRODUCIBILITY.md

A page has the findings between the comments `findings study_shapes` and `end of findings study_shapes`, their tables
between `tables study_shapes` and its end. The last command updates the record first (benchmarks/record.py). Runs may be
missing: what they would show is missing too, and the first line says how many.

Quantities are those of `rilbench compare` (docs/results.md). Tests differ in two ways: Holm's correction of p is over
the rows of one finding, and of metrics with scores of prompts only the test over seeds x prompts is shown.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Annotated

import pandas as pd
import record
import typer
from findings_fronts import explained, matched
from findings_markdown import Table, number
from findings_study import Effect, Study
from findings_tables import families, matched_gains, measures, tables

from rilbench.analysis import methods
from rilbench.analysis.power import ALPHA
from rilbench.analysis.statistics import holm
from rilbench.contracts.errors import ConfigError, UsageError

HOLDS, OPPOSITE, OPEN, UNTESTED = "holds", "the opposite holds", "not shown", "not tested"
NO_GAIN, BEYOND = "no gain", "not reached"
ORDER = (OPPOSITE, OPEN, UNTESTED, NO_GAIN, BEYOND, HOLDS)
DRIFTS = ("drift", "attributes", "oracle", "fid", "kid")  # how far a model is from the base model
FINDINGS = {  # of two methods
    "baseline": {
        "learned": "RID learns more than the baseline",
        "left": "RID has more left at the end than the baseline",
        "forgotten": "RID forgets less of a reward than the baseline",
        "drift": "RID drifts less than the baseline",
    },
    "baseline-plain": {
        "learned": "RID learns more than the paper's baseline",
        "left": "RID has more left at the end than the paper's baseline",
        "forgotten": "RID forgets less of a reward than the paper's baseline",
        "drift": "RID drifts less than the paper's baseline",
    },
    "decay": {
        "left": "the baseline has more left at the end with weight decay",
        "forgotten": "the baseline forgets less of a reward with weight decay",
        "drift": "the baseline drifts less with weight decay",
    },
    "teacher": {
        "learned": "RID learns more with its teacher",
        "left": "RID has more left at the end with its teacher",
        "forgotten": "RID forgets less of a reward with its teacher",
        "drift": "RID drifts less with its teacher",
    },
}
HEAD = ["finding", "verdict", "compared", "measure", "difference", "95 % interval", "unit"]
HEAD += ["seeds", "prompts", "p (Holm)", "seeds needed"]


@dataclass(frozen=True)
class Claim:
    """A difference, and whether the finding says that it is positive. absent: the verdict where there is none."""

    finding: str
    compared: str
    measure: str
    effect: Effect
    positive: bool
    absent: str = BEYOND

    def verdict(self, p: float) -> str:
        if math.isnan(p):
            return self.absent if math.isnan(self.effect.mean) else UNTESTED
        if p >= ALPHA:
            return OPEN
        return HOLDS if (self.effect.mean > 0) == self.positive else OPPOSITE

    def row(self, p: float, unit: str) -> list[str]:
        effect, needed = self.effect, self.effect.needed
        known = not math.isnan(effect.low)
        like = max(map(abs, (effect.low, effect.high))) if known else None
        interval = f"{number(effect.low, like)} to {number(effect.high, like)}" if known else "-"
        return [
            *(self.finding, self.verdict(p), self.compared, self.measure),
            *(number(effect.mean, like), interval, unit, str(effect.seeds)),
            *(str(effect.prompts) if effect.prompts else "-", "< 1e-4" if p < 1e-4 else number(p)),
            "-" if math.isnan(needed) else f"{needed:.0f}",
        ]


def claims(study: Study) -> Iterator[Claim]:
    """Those that have runs, and those of a gain that a front does not reach."""
    found = (*growth(study), *against(study), *sequence(study))
    yield from (claim for claim in found if claim.effect.seeds)
    yield from at_equal_gain(study)


def growth(study: Study) -> Iterator[Claim]:
    known = [name for name in ("structure", *DRIFTS) if name in study.general and study.stages > 1]
    names = {"baseline": "the baseline", "baseline-plain": "the paper's baseline"}
    for label, metric in product([label for label in names if label in study.labels], known):
        effect = study.effect(label, study.growth(metric))
        text = f"{names[label]} forgets more with every stage"
        yield Claim(text, label, f"{metric}, {study.stages} minus 1", effect, True)


def against(study: Study) -> Iterator[Claim]:
    """RID against the baseline, the paper's baseline and RID without a teacher; the baseline without decay."""
    pairs = [("rid", "baseline", "baseline"), ("rid", "baseline-plain", "baseline-plain")]
    for one, other, texts in [*pairs, ("baseline", "baseline-plain", "decay"), ("rid", "rid-lam0", "teacher")]:
        if {one, other} <= {*study.labels, *study.others}:
            yield from _compared(study, one, other, FINDINGS[texts])


def _compared(study: Study, one: str, other: str, texts: dict[str, str]) -> Iterator[Claim]:
    for name, of in measures(study).items():
        kind = next((word for word in texts if word in name), "drift" if name in DRIFTS else "")
        if kind:
            positive = kind in ("learned", "left") or (kind == "drift" and study.rises(name))
            yield Claim(texts[kind], f"{one} minus {other}", name, study.minus(one, other, of), positive)


def at_equal_gain(study: Study) -> Iterator[Claim]:
    names = {"baseline-plain": "the paper's baseline", "joint": "joint training"}
    for family in families(study):
        for name, gain in matched_gains(study).items():
            found = matched(study, "rid", family, gain, study.drift)
            if found.effect.seeds:
                text = f"at an equal gain RID drifts less than {names.get(family, f'the {family}')}"
                absent = BEYOND if found.gain > 0 else NO_GAIN
                yield Claim(text, f"rid minus front of {family}", f"drift at {name}", found.effect, False, absent)


def sequence(study: Study) -> Iterator[Claim]:
    """Whether a sequence loses more than its single stages explain."""
    text = "a reward loses more than exchange rates explain"
    for label in (label for label in ("rid", "baseline") if label in study.labels):
        for reward in study.rewards:
            yield Claim(text, label, f"{reward}, rest", explained(study, label, reward).rest, False)


def in_short(every: Table) -> Table:
    """How often each finding holds; what does so least comes first."""
    counts: dict[str, Counter[str]] = {}
    for finding, verdict, *_ in every.rows:
        counts.setdefault(finding, Counter())[verdict] += 1
    ordered = sorted(counts, key=lambda finding: counts[finding][HOLDS] / counts[finding].total())
    rows = [[finding, *(str(counts[finding][verdict]) for verdict in ORDER)] for finding in ordered]
    note = "In how many rows of the next table. What holds least comes first."
    return Table("In short", note, ["finding", *ORDER], rows)


def all_findings(study: Study) -> Table:
    """What does not hold first."""
    every = list(claims(study))
    rows = []
    for finding in dict.fromkeys(claim.finding for claim in every):
        own = [claim for claim in every if claim.finding == finding]
        corrected = holm(pd.Series([claim.effect.p for claim in own], dtype=float))
        rows += [claim.row(p, study.unit(claim.measure)) for claim, p in zip(own, corrected, strict=True)]
    note = (
        "What does not hold comes first. Not shown: p is 0.05 or more. p is corrected by Holm over the rows of a "
        "finding; intervals are not. Where prompts are given, seeds and prompts are both drawn at random; otherwise "
        "seeds alone. Seeds needed: to find a difference of this size in 80 % of studies, by a test that is not "
        "corrected. No gain: RID itself gains nothing. Not reached: the front has RID's gain nowhere."
    )
    return Table("Findings", note, HEAD, sorted(rows, key=lambda row: ORDER.index(row[1])))


def missing(study: Study) -> str:
    """How many runs there are, of how many."""
    own = [run for run in study.runs if run.label in study.labels]
    cases = {(run.rewards, run.seed) for run in own}
    every = len(cases) * len(study.labels)
    seeds = ", ".join(map(str, sorted({run.seed for run in own})))
    text = f"Seeds: {seeds}. Orders: {len({run.rewards for run in own})}. Methods: {len(study.labels)}."
    if some := sorted({info.name for run in own for info in run.matrix.shown} - set(study.metrics)):
        text += f" Left out, because not every run has them: {', '.join(some)}."
    if len(own) == every:
        return f"Runs: {len(own)}. {text}"
    return (
        f"**The record is not complete: {len(own)} of {every} runs.** {text} The table of methods has what is missing."
    )


def blocks(study: Study) -> dict[str, str]:
    """The findings, and the tables behind them."""
    every = all_findings(study)
    findings = f"{missing(study)}\n\n{in_short(every)}\n{every}"
    return {"findings": findings, "tables": "\n".join(map(str, tables(study)))}


def replaced(text: str, name: str, block: str) -> str:
    """A page with another block between its comments `NAME` and `end of NAME`; without them, it comes at the end."""
    start, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    before, _, rest = text.partition(start)
    after = rest.partition(end)[2].strip("\n")
    return f"{before.rstrip()}\n\n{start}\n{block}\n{end}\n" + (f"\n{after}\n" if after else "")


def main(
    folder: Annotated[Path, typer.Argument(help="Folder of the record")],
    record_of: Annotated[list[str] | None, typer.Option("--record", help="Store or study to record first")] = None,
    into: Annotated[Path | None, typer.Option("--page", help="Page to write into; default: print")] = None,
) -> None:
    """Print the findings of a recorded study and their tables, or replace them in a page."""
    if record_of:
        try:
            record.write(folder, record_of)
        except (ConfigError, UsageError) as error:
            raise typer.BadParameter(str(error)) from None
    source = record.read(folder)
    if not source.runs:
        raise typer.BadParameter(f"{folder} has no record; --record STORE makes one")
    study = Study(source)
    methods.check(study.runs, source.settings, lambda text: typer.echo(f"warning: {text}", err=True))
    for kind, block in blocks(study).items():
        if into is None:
            typer.echo(block)
        else:
            into.write_text(replaced(into.read_text(), f"{kind} {folder.name}", block))


if __name__ == "__main__":
    typer.run(main)
