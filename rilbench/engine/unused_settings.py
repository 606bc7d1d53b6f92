"""Settings given on the command line that nothing reads: a mistake that would otherwise pass in silence.

A file may hold settings for rewards and strategies that a run does not use; what is typed for one command may not.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.settings import flat
from rilbench.contracts.strategy import Stage
from rilbench.engine.config import ANY, RunConfig
from rilbench.engine.parts import Parts
from rilbench.files.hub import is_hub_id

Trained = Sequence[tuple[Sequence[str], Sequence[str]]]  # strategies and rewards of every stage that is trained


def _trained(config: RunConfig, stages: Iterable[Stage]) -> Trained:
    """As `RunConfig.train_for` takes them."""
    return [((s.by or config.strategy, config.strategy), list(s.rewards)) for s in stages if s.rewards]


def require_none(faults: Mapping[str, str]) -> None:
    """ConfigError that names the settings without effect."""
    if faults:
        listed = "; ".join(f"{key} has no effect: {why}" for key, why in faults.items())
        raise ConfigError(f"{listed}. Correct it or leave it out.")


def find(given: Mapping[str, Any], parts: Parts, stages: Iterable[Stage]) -> dict[str, str]:
    """Keys of nested values (`layers.values_of`) to why they change nothing in a run of these components and stages."""
    keys = [key for key, value in flat(given).items() if value != {}]
    trained = _trained(parts.config, stages)
    reasons = {key: _reason(key.split("."), parts.config, parts, trained) for key in keys}
    return {key: why for key, why in reasons.items() if why}


def _reason(key: Sequence[str], config: RunConfig, parts: Parts, stages: Trained) -> str | None:
    match key:
        case ["train", name]:
            return _overridden(name, config, stages)
        case ["recipes", by, on, name]:
            return _unused_recipe(f"{by}.{on}", name, config, stages)
        case ["reward_settings" | "metric_settings", name, *_]:
            kind = key[0].removesuffix("_settings")
            used = [n for n in parts.metric_names() if parts.metric_kind(n) == kind]
            return None if name in used else f"the {kind} {name!r} is not in this run"
        case ["strategy_settings", name, *_]:
            used = list(dict.fromkeys([config.strategy, *(by for bys, _ in stages for by in bys)]))
            return None if name in used else f"this run's strategy is {' and '.join(used)}"
        case ["model", "revision"] if config.model.revision is not None and not is_hub_id(config.model.path):
            return f"model.path is {config.model.path!r}, which is not a Hub id"
    return None


def _winners(name: str, config: RunConfig, stages: Trained) -> Iterator[str | None]:
    """The recipe that sets `name` for each stage; None where `train` does."""
    for strategies, rewards in stages:
        setting: list[str | None] = [recipe for recipe, part in config.recipes_for(strategies, rewards) if name in part]
        yield [None, *setting][-1]


def _overridden(name: str, config: RunConfig, stages: Trained) -> str | None:
    winners = list(_winners(name, config, stages))
    if None in winners or not winners:
        return None
    recipes = ", ".join(f"recipes.{winner}.{name}" for winner in dict.fromkeys(winners))
    return f"every stage takes it from {recipes}"


def _unused_recipe(recipe: str, name: str, config: RunConfig, stages: Trained) -> str | None:
    if recipe in _winners(name, config, stages):
        return None
    matching = {found for by, on in stages for found, _ in config.recipes_for(by, on)}
    if recipe in matching:
        return "a more specific recipe sets it for every stage"
    by, _, on = recipe.partition(".")
    return f"no stage is trained by {by if by != ANY else 'a strategy'} on {on if on != ANY else 'a reward'}"
