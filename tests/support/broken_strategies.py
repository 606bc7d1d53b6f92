"""Strategies that break one demand each."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from good_components import GoodStrategy, Planner, breaks
from torch import Tensor

from rilbench import Stage, Step, Strategy
from rilbench.contracts.pair import LoraPair


@breaks("a_plan_is_a_list_of_stages")
class PlansNames(Planner):
    """A list of names."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        return list(rewards)  # type: ignore[arg-type]


@breaks("every_reward_is_planned")
class FirstOnly(Planner):
    """Plans the first reward."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        return super().plan(rewards)[:1]


@breaks("stages_are_well_formed")
class MergesTheFuture(Planner):
    """Merges a stage that does not exist."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        return [*super().plan(rewards), Stage(merge={len(rewards): 1.0})]


@breaks("stages_are_well_formed")
class NoTrainer(Strategy):
    """Trains none itself and names nobody."""


@breaks("stages_are_well_formed")
class Weightless(Planner):
    """A weight that is no number."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        return [Stage(rewards={name: float("nan")}, by="baseline") for name in rewards]


@breaks("planning_twice_gives_the_same")
class Moody(Planner):
    """Counts its plans."""

    plans = 0

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        self.plans += 1
        return [Stage(rewards={name: float(self.plans)}, by="baseline") for name in rewards]


@breaks("the_loss_is_a_finite_scalar")
class LossInARow(GoodStrategy):
    """A loss of one element."""

    def loss(self, step: Step) -> Tensor:
        return super().loss(step).reshape(1)


@breaks("the_loss_is_a_finite_scalar")
class LossOfNaN(GoodStrategy):
    """NaN from the start."""

    def loss(self, step: Step) -> Tensor:
        return super().loss(step) * float("nan")


@breaks("the_loss_reaches_the_pair")
class FlatLoss(GoodStrategy):
    """The reward is computed without gradient."""

    def loss(self, step: Step) -> Tensor:
        with torch.no_grad():
            reward = step.reward(step.decode(step.denoise()))
        return -reward + 0 * step.pair.factors[0].sum()


@breaks("training_is_deterministic")
class Dice(GoodStrategy):
    """Rolls dice that no seed holds."""

    def loss(self, step: Step) -> Tensor:
        return super().loss(step) + random.SystemRandom().random() * step.pair.factors[0].sum()


@breaks("earlier_stages_are_untouched")
class Meddler(GoodStrategy):
    """Changes the frozen weights."""

    def after_update(self, step: Any) -> None:
        super().after_update(step)
        next(iter(step.group.frozen.values())).add_(1e-3)


class Counting(GoodStrategy):
    """A pull that grows with the updates."""

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        super().begin(stage, pair)
        self.updates = 0

    def loss(self, step: Step) -> Tensor:
        return super().loss(step) + self.updates * step.pair.factors[0].sum()

    def after_update(self, step: Step) -> None:
        super().after_update(step)
        self.updates += 1


@breaks("the_state_holds_tensors_only")
class CountInState(Counting):
    """The count is saved as a number."""

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), "updates": self.updates}  # type: ignore[dict-item]

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.updates = state["updates"]
        super().load_state({key: value for key, value in state.items() if key != "updates"})


@breaks("a_stopped_stage_ends_the_same")
class CountForgotten(Counting):
    """The count is not saved."""


@breaks("a_step_costs_the_same_at_every_stage")
class RemembersAll(GoodStrategy):
    """Compares with every pair there ever was."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.pairs: list[LoraPair] = []

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        super().begin(stage, pair)
        self.pairs.append(pair.copy())

    def loss(self, step: Step) -> Tensor:
        with torch.no_grad():
            old = [step.denoise(pair) for pair in self.pairs]
        return super().loss(step) + sum((step.denoise() - z).pow(2).mean() for z in old)


@breaks("global_state_is_left_alone")
class StepDrawsGlobally(GoodStrategy):
    """Draws a global random number and drops it."""

    def loss(self, step: Step) -> Tensor:
        torch.rand(())
        return super().loss(step)


@breaks("parts_of_a_batch_add_up")
class CountsParts(GoodStrategy):
    """Counts its updates in the loss, which runs once a part."""

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        super().begin(stage, pair)
        self.count = torch.zeros(())

    def loss(self, step: Step) -> Tensor:
        self.count = self.count + 1
        return super().loss(step) * self.count

    def state(self) -> dict[str, Tensor]:
        return {**super().state(), "count": self.count}

    def load_state(self, state: Mapping[str, Any]) -> None:
        self.count = state["count"]
        super().load_state({key: value for key, value in state.items() if key != "count"})


@breaks("parts_of_a_batch_add_up")
class SumsTheBatch(GoodStrategy):
    """A loss that is a sum over images, not a mean."""

    def loss(self, step: Step) -> Tensor:
        return super().loss(step) * len(step.prompts)


@breaks("its_own_plan_costs_the_same_at_every_stage")
class Replays(GoodStrategy):
    """Trains on all rewards so far, at every stage."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        return [Stage(rewards=dict.fromkeys(rewards[: i + 1], 1.0)) for i in range(len(rewards))]


@breaks("its_own_plan_costs_the_same_at_every_stage")
class Hoards(GoodStrategy):
    """Hands every pair there ever was to the next stage."""

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        super().begin(stage, pair)
        self.pairs = torch.zeros(0)

    def load_carry(self, carry: Mapping[str, Tensor]) -> None:
        self.pairs = carry["pairs"]

    def carry(self) -> dict[str, Tensor]:
        return {"pairs": torch.cat([self.pairs, *(f.flatten() for f in self.teacher.factors)])}
