"""What makes two runs comparable: the settings in which runs that are averaged, or put under one name, must agree."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeVar

from rilbench.contracts.result import RunResult
from rilbench.engine.config import ANY

T = TypeVar("T")

FREE = ("label", "rewards", "seed", "store", "requires", "tracking", "check_memory")  # a run's own, no matter which
NEUTRAL = (  # what changes no number beyond rounding
    "model.device",
    "model.gradient_checkpointing",
    "model.vae_slicing",
    "train.micro_batch",
    "train.log_gradients_every",
    "train.checkpoint_every",
    "evaluate.batch_size",
    "evaluate.pictures",
    "evaluate.bootstrap",
    "evaluate.metrics",  # these two add columns
    "evaluate.perturb",
)


def strategies_of(run: RunResult) -> list[str]:
    """The strategies that planned and trained a run, as far as its result says."""
    return [key.removeprefix("strategy/") for key in run.plugins if key.startswith("strategy/")]


def telling(settings: Mapping[str, T], strategies: Iterable[str] = ()) -> dict[str, T]:
    """The settings, by dotted key, whose values tell runs of one name apart: two runs that agree in all of them may be
    averaged. Those of strategies that have no part in the run are none.

    strategies: those that have one (`strategies_of`), besides those that the settings name: `by` has a default.
    """
    strategy = str(settings.get("strategy", ""))
    involved = {*strategies, ANY, strategy, str(settings.get(f"strategy_settings.{strategy}.by", ""))}

    def tells(key: str, value: T) -> bool:
        section, _, rest = key.partition(".")
        others = strategy and section in ("strategy_settings", "recipes") and rest.partition(".")[0] not in involved
        return str(value) != "{}" and key not in NEUTRAL and section not in FREE and not others

    return {key: value for key, value in settings.items() if tells(key, value)}
