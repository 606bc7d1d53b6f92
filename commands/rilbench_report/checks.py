"""Checks against reward hacking: rewards nobody trained, diversity, and scores of disturbed pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rilbench.analysis.statistics import Spread
from rilbench.store.tables import number
from rilbench_report.measures import change, mean, relative, value
from rilbench_report.ratio import ratio
from rilbench_report.runs import Run
from rilbench_report.study import Study
from rilbench_report.tables import Table, table
from rilbench_report.words import SPACE, listed, percent_spread, plus_minus

DIVERSITY = "diversity"
ABOUT_ITSELF = {("compressibility", "jpeg"), ("incompressibility", "jpeg")}
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
    return f"{plus_minus(absolute, study.base(name), signed=True)} ({percent_spread(shares)})"


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
    base = mean([value(run, name, 0) for run in study.of(strategy)])
    return f"{number(base)} → {plus_minus(study.spread(strategy, lambda run: value(run, name)), base)}"


def _disturbed(study: Study) -> Check:
    names = [name for name in study.disturbed if tuple(name.split("@")) not in ABOUT_ITSELF]
    cells = [[_remains(study.models(s), name) for name in names] for s in study.strategies]
    left_out = sorted(set(study.disturbed) - set(names))
    without = f" Without {listed(left_out)}: what JPEG takes away is what that reward measures." if left_out else ""
    return Check(
        "Gain that is left after a disturbance",
        "The share of a trained reward's gain over the base model that remains when the pictures are compressed, "
        "blurred or shifted before they are scored: mean gain of the disturbed pictures over that of the plain ones, "
        "and its 95 % interval (Fieller) over models. Much below 100 %: the gain sits in details that a person would "
        "not see. Above 100 %: the disturbance costs the base model's pictures more than those of the tuned model. "
        "“-”: the plain pictures have no gain that is sure, its own interval holds 0." + without,
        _table(study, "share of the gain", names, cells),
        "evaluate.perturb=[jpeg,blur,shift]",
    )


def _remains(runs: Sequence[Run], disturbed: str) -> str:
    plain = disturbed.partition("@")[0]
    both = [(change(run, plain), change(run, disturbed)) for run in runs if plain in run.matrix.trained_rewards()]
    share = ratio([(gain, left) for gain, left in both if not math.isnan(gain + left)])
    if share is None:
        return "-"
    interval = "" if math.isnan(share.low) else f" [{100 * share.low:.0f},{SPACE}{100 * share.high:.0f}]"
    return f"{100 * share.value:.0f}{SPACE}%{interval}"


def _table(study: Study, caption: str, names: Sequence[str], cells: Sequence[Sequence[str]]) -> Table | None:
    rows = [[f"{s}{study.mark(s)}", *row] for s, row in zip(study.strategies, cells, strict=True)]
    return table(caption, ["strategy", *names], rows) if names else None


def _setting(study: Study, addition: str) -> str:
    """The setting of `rilbench run` that measures more than the runs did."""
    measured = study.runs[0].settings.get("evaluate.metrics", "").replace(" ", "")
    return f"evaluate.metrics=[{','.join(filter(None, [measured, addition]))}]"
