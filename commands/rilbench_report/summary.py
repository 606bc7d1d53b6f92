"""The sentences on top of the page, generated from the numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence

from rilbench.analysis.quantities import Quantity
from rilbench_report.study import Study
from rilbench_report.tables import spread_of
from rilbench_report.words import chance, counted, listed, percent_from_zero, percent_spread, points


def sentences(study: Study) -> list[str]:
    """Paragraphs: what was compared, how it was measured, who is best, who is not ranked."""
    return list(filter(None, [_compared(study), _measured(study), _best(study), _least(study), *_unranked(study)]))


def _compared(study: Study) -> str:
    runs, orders = counted(len(study.runs), "run"), counted(len(study.orders), "order")
    return (
        f"{counted(len(study.strategies), 'strategy')} ({listed(study.strategies)}) tuned a text-to-image model on one "
        f"reward after another: {runs} over {orders} of rewards ({'; '.join(study.orders)}) "
        f"and {counted(len(study.seeds), 'seed')} ({listed(study.seeds)})."
    )


def _measured(study: Study) -> str:
    """The model and the samples, where the folders of the runs tell."""
    images = sorted({run.settings.get("evaluate.images_per_prompt", "") for run in study.runs} - {""})
    prompts = sorted({len(run.prompts) for run in study.runs} - {0})
    on = f" on {listed(prompts)} prompts with {listed(images)} images each" if images and prompts else ""
    trained = sorted({n for run in study.runs for n in run.trained_samples()}, key=int)
    ends = " to ".join(dict.fromkeys(trained[:1] + trained[-1:]))
    return (
        _model(study)
        + f"After every stage {counted(len(study.metrics), 'metric')} were measured{on}, the same prompts and noise."
        + (f" A stage was trained on {ends} generated images." if ends else "")
    )


def _model(study: Study) -> str:
    models = _all(study, "model.path")
    if not models:
        return ""
    steps, sizes = _all(study, "model.steps"), sorted({run.picture_size for run in study.runs} - {""})
    told = [f"pictures of {listed(sizes)} pixels"] if sizes else []
    told += [f"{listed(steps)} denoising steps"] if steps else []
    return f"Base model: {listed(models)}{''.join(f', {text}' for text in told)}. "


def _all(study: Study, key: str) -> list[str]:
    """The values of a setting, each once."""
    return list(dict.fromkeys(run.settings[key] for run in study.runs if key in run.settings))


def _best(study: Study) -> str:
    """The ranking by the average change."""
    ranked = study.ranked(Quantity.AVERAGE)
    if not ranked:
        return ""
    first, second = ranked[:2]
    return (
        f"Of the {len(ranked)} strategies with the same {len(study.cases(first))} orders and seeds, {first} has "
        f"the best average: at the end its trained rewards have changed by "
        f"{percent_spread(study.spread(first, Quantity.AVERAGE))} of their base values. Next is {second} with "
        f"{percent_spread(study.spread(second, Quantity.AVERAGE))}. {_verdict(study, Quantity.AVERAGE, ranked)}"
    )


def _least(study: Study) -> str:
    """The ranking by forgetting, of sequences only, with what they learned."""
    ranked = study.ranked(Quantity.AVERAGE_FORGOTTEN)
    if not ranked:
        return ""
    forgotten, learned = (
        {s: study.spread(s, quantity) for s in ranked}
        for quantity in (Quantity.AVERAGE_FORGOTTEN, Quantity.AVERAGE_LEARNED)
    )
    first, second = ranked[:2]
    return (
        f"Of the {len(ranked)} of them that train one stage after another, {first} forgets least: the rewards trained "
        f"before the last stage end {percent_from_zero(forgotten[first])} of their base values below their best; each "
        f"reward had gained {percent_spread(learned[first])} when it was trained. Next is {second}: forgotten "
        f"{percent_from_zero(forgotten[second])}, learned {percent_spread(learned[second])}. "
        f"{_verdict(study, Quantity.AVERAGE_FORGOTTEN, ranked)}"
    )


def _verdict(study: Study, quantity: Quantity, ranked: Sequence[str]) -> str:
    """The first of a ranking against the reference, or the second when the reference is the first."""
    one = ranked[0] if ranked[0] != study.reference else ranked[1]
    tests = study.tests(quantity)
    test = tests.get((one, "average"))
    if test is None or math.isnan(test["p"]):
        return ""
    family = f" after Holm's correction over {len(tests)} strategies" if len(tests) > 1 else ""
    return (
        f"Paired by order and seed, {one} minus {study.reference} is {points(spread_of(test))} points (n = "
        f"{test['n']}, {chance(test['p_holm'])}{family}): "
        + ("more than chance explains." if test["significant"] else "this may be chance.")
    )


def _unranked(study: Study) -> list[str]:
    """Who is in no ranking, and why: other orders and seeds, or another base model."""
    cases = study.cases(study.reference)
    short = [f"{s} ({counted(len(study.cases(s)), 'run')})" for s in study.strategies if study.cases(s) != cases]
    told = []
    if short:
        whole = counted(len(cases), "run")
        told.append(
            f"Not ranked, as their orders and seeds are not those of {study.reference} ({whole}): {listed(short)}. "
            "Paired differences use what two strategies share."
        )
    elif len(cases) == 1 and len(study.strategies) > 1:
        told.append("With a single run of each strategy nothing is ranked: a difference may be chance.")
    return told
