"""In which settings a method is not the plain strategy of its name."""

from __future__ import annotations

from collections.abc import Mapping

from rilbench.analysis.comparable import strategies_of, telling
from rilbench_report.runs import Run
from rilbench_report.study import Study


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
        mine = [f"{_short(k, strategy)} {v}" for k, v in own.items() if k.startswith(f"strategy_settings.{strategy}.")]
        return f"Here with {', '.join(mine)}." if mine else ""
    differing = _differing(own, _settings(study.of(strategy)[0]))
    told = [f"{_short(key, strategy)} {text}" for key, text in differing.items()]
    return (
        f"Differs from {strategy} in: {'; '.join(told)}." if told else f"No recorded setting differs from {strategy}."
    )


def _settings(run: Run) -> dict[str, str]:
    """Those that a method can be made of."""
    own = telling({"strategy": run.result.strategy} | run.settings, strategies_of(run.result))
    return {key: value for key, value in own.items() if key != "strategy"}


def _differing(own: Mapping[str, str], plain: Mapping[str, str]) -> dict[str, str]:
    changed = {k: f"{v} (not {plain[k]})" if k in plain else v for k, v in own.items() if plain.get(k) != v}
    return changed | {key: f"not set (else {value})" for key, value in plain.items() if key not in own}


def _short(key: str, strategy: str) -> str:
    return key.removeprefix(f"strategy_settings.{strategy}.")
