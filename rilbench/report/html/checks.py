"""Checks against reward hacking: rewards nobody trained, diversity, and scores of disturbed pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rilbench.compare.statistics import Spread
from rilbench.report.html.runs import Run
from rilbench.report.html.study import Study, change, relative, value
from rilbench.report.html.tables import Table, table
from rilbench.report.html.words import percent_spread, plus_minus
from rilbench.report.tables import number

DIVERSITY = "diversity"
HELD_OUT = ("hps", "sharpness", "colorfulness", "clip")  # suggestions


@dataclass(frozen=True)
class Check:
    """A question, what the answer means, and the answer; without one, the setting that would give it."""

    title: str
    meaning: str
    answer: Table | None
    setting: str = ""


def checks(study: Study) -> list[Check]:
    return [_held_out(study), _diversity(study), _disturbed(study)]


def _held_out(study: Study) -> Check:
    names = [m.name for m in study.metrics if any(_is_held_out(run, m.name) for run in study.runs)]
    return Check(
        "Rewards that no stage trained",
        "Change from the base model, absolute and relative, of rewards that a run measured but never trained. A "
        "trained reward that rises while the held-out ones fall was probably satisfied by a trick.",
        _table(study, "held-out rewards", names, [[_change(study, s, n) for n in names] for s in study.strategies]),
        _setting(study, next(n for n in (*HELD_OUT, "REWARD") if n not in study.rewards)),
    )


def _is_held_out(run: Run, name: str) -> bool:
    trained = run.matrix.trained_rewards()
    return f"reward/{name}" in run.result.plugins and name not in trained and not math.isnan(value(run, name))


def _change(study: Study, strategy: str, name: str) -> str:
    runs = [run for run in study.models(strategy) if _is_held_out(run, name)]
    if not runs:
        return "-"
    shares = Spread.of([relative(run, name, change(run, name)) for run in runs])
    absolute = Spread.of([change(run, name) for run in runs])
    sign = "+" if absolute.mean > 0 else ""
    return f"{sign}{plus_minus(absolute, study.base(name))} ({percent_spread(shares)})"


def _diversity(study: Study) -> Check:
    names = [m.name for m in study.metrics if m.name == DIVERSITY]
    after = [[_before_and_after(study, s, n) for n in names] for s in study.strategies]
    return Check(
        "Diversity of the pictures of one prompt",
        "Base model → after the last stage. A fall means that the pictures of a prompt become alike.",
        _table(study, "diversity", names, after),
        _setting(study, DIVERSITY),
    )


def _before_and_after(study: Study, strategy: str, name: str) -> str:
    base = study.base(name)
    return f"{number(base)} → {plus_minus(study.spread(strategy, lambda run: value(run, name)), base)}"


def _disturbed(study: Study) -> Check:
    cells = [[_remains(study.models(s), name) for name in study.disturbed] for s in study.strategies]
    return Check(
        "Gain that is left after a disturbance",
        "The share of a trained reward's gain over the base model that remains when the pictures are compressed, "
        "blurred or shifted before they are scored; all models of a strategy together. Much below 100 %: the gain "
        "sits in details that a person would not see.",
        _table(study, "share of the gain", study.disturbed, cells),
        "evaluate.perturb=[jpeg,blur,shift]",
    )


def _remains(runs: Sequence[Run], disturbed: str) -> str:
    plain = disturbed.partition("@")[0]
    both = [(change(run, plain), change(run, disturbed)) for run in runs if plain in run.matrix.trained_rewards()]
    known = [(a, b) for a, b in both if not math.isnan(a + b)]
    gain = sum(a for a, _ in known)
    return f"{100 * sum(b for _, b in known) / gain:.0f} %" if gain > 0 else "no gain" if known else "-"


def _table(study: Study, caption: str, names: Sequence[str], cells: Sequence[Sequence[str]]) -> Table | None:
    rows = [[s, *row] for s, row in zip(study.strategies, cells, strict=True)]
    return table(caption, ["strategy", *names], rows) if names else None


def _setting(study: Study, addition: str) -> str:
    """The setting of `rilbench run` that measures more than the runs did."""
    measured = study.runs[0].settings.get("evaluate.metrics", "").replace(" ", "")
    return f"evaluate.metrics=[{','.join(filter(None, [measured, addition]))}]"
