"""Settings given on the command line that have no effect: a mistake that would otherwise go unnoticed.

A file may contain settings for rewards and strategies that a run does not use; a command line may not.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.settings import flat
from rilbench.contracts.strategy import Stage
from rilbench.engine.config import RunConfig
from rilbench.engine.layers import COMPONENTS, values_of
from rilbench.engine.parts import Parts
from rilbench.files.hub import is_hub_id

Trained = Sequence[tuple[Sequence[str], Sequence[str]]]  # strategies and rewards of every stage that is trained


def require_none(faults: Mapping[str, str]) -> None:
    """ConfigError that names the settings without effect."""
    if faults:
        listed = "; ".join(f"{key} has no effect: {why}" for key, why in faults.items())
        raise ConfigError(f"{listed}. Correct it or leave it out.")


def require_read(given: Sequence[str], known: Sequence[str], command: str) -> None:
    """ConfigError for `key=value` settings other than `known`, the settings or sections that a command reads."""
    keys = [key for key in flat(values_of(given)) if not any(f"{key}.".startswith(f"{k}.") for k in known)]
    require_none({key: f"`rilbench {command}` reads only {', '.join(known)}" for key in keys})


def find(given: Mapping[str, Any], parts: Parts, stages: Iterable[Stage]) -> dict[str, str]:
    """Keys of nested values (`layers.values_of`) to why they have no effect in a run of these components and stages."""
    trained = [((s.by or parts.config.strategy, parts.config.strategy), list(s.rewards)) for s in stages if s.rewards]
    keys = [key for key, value in flat(given).items() if value != {}]
    reasons = {key: _reason(key, parts, trained) for key in keys}
    return {key: why for key, why in reasons.items() if why}


def _reason(key: str, parts: Parts, trained: Trained) -> str | None:
    config = parts.config
    match key.split("."):
        case [*_, name] if (
            name.startswith("validate_")
            and name != "validate_every"
            and key.startswith(("train.", "recipes."))
            and not any(config.train_for(*each).validate_every for each in trained)
        ):
            return "train.validate_every is 0"
        case [*_, "eps"] if (
            trained
            and key.startswith(("train.", "recipes."))
            and all(config.train_for(*each).optimiser == "sgd" for each in trained)
        ):
            return "train.optimiser is sgd, which has none"
        case ["trackers"] if config.trackers and not config.tracking:
            return "tracking is false"
        case ["train", _] if not trained:
            return None
        case ["train", name] | ["recipes", _, _, name]:
            sources = _sources(name, config, trained)
            why = f"every stage takes it from {', '.join(sources)}" if sources else "no stage is trained"
            return None if key in sources else why
        case [section, name, *_] if section in COMPONENTS.values():
            strategies = {config.strategy, *(by for bys, _ in trained for by in bys)}
            used = [f"{COMPONENTS[p.plugin.kind]}.{p.plugin.name}" for p in parts.used(sorted(strategies))]
            return None if f"{section}.{name}" in used else f"{name!r} is not in this run, which uses {', '.join(used)}"
        case ["model", "revision"] if config.model.revision is not None and not is_hub_id(config.model.path):
            return f"model.path is {config.model.path!r}, which is not a Hub id"
    return None


def _sources(name: str, config: RunConfig, trained: Trained) -> list[str]:
    """The dotted keys from which the stages take a setting of `train`."""
    found: dict[str, None] = {}
    for strategies, rewards in trained:
        *_, last = (source for source, part in config.train_layers(strategies, rewards) if name in part)
        found[f"{last}.{name}"] = None
    return list(found)
