"""In which settings a method is not the plain strategy of its name."""

from __future__ import annotations

from collections.abc import Mapping

from rilbench.compare.mixed import FREE, NEUTRAL
from rilbench.config import ANY
from rilbench.report.html.runs import Run
from rilbench.report.html.study import Study

NOT_OF_A_METHOD = (*NEUTRAL, "strategy", "evaluate.metrics", "evaluate.perturb")


def variant(study: Study, label: str) -> str:
    """`Differs from rid in: alpha 0.9 (not 0.99).`; without plain runs to compare with, the settings that it has.

    Empty for the plain strategy, and when no settings are recorded.
    """
    run = study.of(label)[0]
    strategy = run.result.strategy
    own = _settings(run)
    if label == strategy or not own:
        return ""
    if strategy not in study.strategies:
        mine = [f"{_short(k, strategy)} {v}" for k, v in own.items() if k.startswith(f"strategies.{strategy}.")]
        return f"Here with {', '.join(mine)}." if mine else ""
    differing = _differing(own, _settings(study.of(strategy)[0]))
    told = [f"{_short(key, strategy)} {text}" for key, text in differing.items()]
    return (
        f"Differs from {strategy} in: {'; '.join(told)}." if told else f"No recorded setting differs from {strategy}."
    )


def _settings(run: Run) -> dict[str, str]:
    """Those that a method can be made of: not the settings of strategies that have no part in it."""
    strategy = run.result.strategy
    involved = {ANY, strategy, run.settings.get(f"strategies.{strategy}.by", "")}

    def matters(key: str) -> bool:
        room, _, rest = key.partition(".")
        foreign = room in ("strategies", "recipes") and rest.partition(".")[0] not in involved
        return key not in NOT_OF_A_METHOD and room not in FREE and not foreign

    return {key: value for key, value in run.settings.items() if matters(key)}


def _differing(own: Mapping[str, str], plain: Mapping[str, str]) -> dict[str, str]:
    changed = {k: f"{v} (not {plain[k]})" if k in plain else v for k, v in own.items() if plain.get(k) != v}
    return changed | {key: f"not set (else {value})" for key, value in plain.items() if key not in own}


def _short(key: str, strategy: str) -> str:
    return key.removeprefix(f"strategies.{strategy}.")
