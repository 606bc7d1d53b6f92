"""The sentences on top of the page, generated from the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rilbench.compare.statistics import Spread
from rilbench.report.html.study import Measure, Study, average, forgotten
from rilbench.report.html.words import counted, listed, percent_spread


def sentences(study: Study, left_out: Sequence[str]) -> list[str]:
    """Paragraphs: what was compared, how it was measured, who is best, what is missing."""
    return list(filter(None, [_compared(study), _measured(study), *_best(study), _missing(study, left_out)]))


def _compared(study: Study) -> str:
    runs, orders = counted(len(study.runs), "run"), counted(len(study.orders), "order")
    return (
        f"{counted(len(study.strategies), 'strategy')} ({listed(study.strategies)}) tuned a text-to-image model on one "
        f"reward after another: {runs} over {orders} of rewards ({'; '.join(study.orders)}) "
        f"and {counted(len(study.seeds), 'seed')} ({listed(study.seeds)})."
    )


def _measured(study: Study) -> str:
    """Samples, where the folders of the runs tell."""
    images = sorted({run.settings.get("evaluate.images_per_prompt", "") for run in study.runs} - {""})
    prompts = sorted({len(run.prompts) for run in study.runs} - {0})
    on = f" on {listed(prompts)} prompts with {listed(images)} images each" if images and prompts else ""
    trained = sorted({n for run in study.runs for n in run.trained_samples()}, key=int)
    ends = " to ".join(dict.fromkeys(trained[:1] + trained[-1:]))
    return (
        f"After every stage {counted(len(study.metrics), 'metric')} were measured{on}, the same prompts and noise."
        + (f" A stage was trained on {ends} generated images." if ends else "")
    )


def _best(study: Study) -> list[str]:
    gain = _ranked(study, average, -1)
    loss = _ranked(study, forgotten, 1)
    return [
        _won(gain, "has the best average: at the end its trained rewards have changed by {} of their base values"),
        _won(
            loss,
            "forgets least: at the end its trained rewards are {} of their base values below their best",
            signed=False,
        ),
    ]


def _ranked(study: Study, measure: Measure, sign: int) -> list[tuple[str, Spread]]:
    spreads = [(s, study.spread(s, measure)) for s in study.strategies]
    return sorted((p for p in spreads if not math.isnan(p[1].mean)), key=lambda p: sign * p[1].mean)


def _won(ranked: Sequence[tuple[str, Spread]], how: str, *, signed: bool = True) -> str:
    if not ranked:
        return ""
    (name, spread), *others = ranked
    first = f"{name} {how.format(percent_spread(spread, signed=signed))}."
    if not others:
        return first
    second, following = others[0]
    how_sure = _certainty(spread, following)
    return f"{first} Next is {second} with {percent_spread(following, signed=signed)}. {how_sure}"


def _certainty(one: Spread, other: Spread) -> str:
    if math.isnan(one.half) or math.isnan(other.half):
        return "With a single model there is no interval, so the difference may be chance."
    if abs(one.mean - other.mean) < one.half + other.half:
        return "Their 95 % intervals overlap, so the difference may be chance."
    return "Their 95 % intervals do not overlap."


def _missing(study: Study, left_out: Sequence[str]) -> str:
    """What makes averages of strategies harder to compare."""
    told = []
    cases = {s: {(run.order, run.result.seed) for run in study.of(s)} for s in study.strategies}
    every = set().union(*cases.values())
    short = [f"{s} ({len(found)} of {len(every)})" for s, found in cases.items() if found != every]
    if short:
        told.append(f"Not every strategy has every order and seed: {listed(short)}; compare within one order below.")
    return " ".join([*told, *(f"Left out: {line}." for line in left_out)])
