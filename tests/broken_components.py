"""Components that break exactly one demand each, and good ones that break none."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from rilbench import MeanMetric, Metric, Reward, Stage, Step, Strategy
from rilbench.contracts import Component
from rilbench.model.adapters import LoraPair

BREAKERS: list[tuple[type[Component], str]] = []  # a component and the name of the check it fails


def breaks(check: str) -> Callable[[type[Any]], type[Any]]:
    def remember(component: type[Any]) -> type[Any]:
        BREAKERS.append((component, check))
        return component

    return remember


def value(images: Tensor) -> Tensor:
    return images.pow(2).mean((1, 2, 3))


def wish(prompts: Sequence[str], images: Tensor) -> Tensor:
    return torch.tensor([1.0 + sum(map(ord, p)) % 7 for p in prompts], dtype=images.dtype)


class GoodReward(Reward):
    """Mean square times a number of the prompt."""

    precision = "fp64"

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return wish(prompts, images) * value(images)


class GoodModel(GoodReward):
    """In single precision with a frozen layer, prompts remembered, and a bound method as an attribute."""

    precision = "fp32"

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.layer = layer().eval().requires_grad_(False)
        self.known: dict[str, Tensor] = {}
        self.measure = self.score

    def score(self, images: Tensor) -> Tensor:
        return self.layer(images.float().mean((2, 3))).tanh()[:, 0]

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        for prompt in prompts:
            self.known.setdefault(prompt, wish([prompt], images.float()))
        return torch.cat([self.known[p] for p in prompts]) * self.measure(images)


def layer() -> nn.Linear:
    made = nn.Linear(3, 1)
    with torch.no_grad():
        made.weight.copy_(torch.tensor([[0.5, -0.2, 0.1]]))
        made.bias.fill_(0.1)
    return made


# what every component owes


@breaks("is_documented")
class Undocumented(GoodReward):
    pass


@breaks("api_version_is_supported")
class FromTheFuture(GoodReward):
    """Written for a later rilbench."""

    api_version = 99


@dataclass
class Thawed:
    strength: float = 1.0


@breaks("settings_are_a_frozen_dataclass")
class ThawedSettings(GoodReward):
    """Settings that can change."""

    Settings = Thawed


@dataclass(frozen=True)
class Needy:
    strength: float


@breaks("settings_can_be_built")
class NeedySettings(GoodReward):
    """A setting without default, and none is given."""

    Settings = Needy


@dataclass(frozen=True)
class Open(dict[str, Any]):
    strength: float = 1.0


@breaks("settings_refuse_unknown_keys")
class OpenSettings(GoodReward):
    """Settings that are a dictionary too."""

    Settings = Open


@dataclass(frozen=True)
class Untyped:
    strength: Any = 1.0


@breaks("settings_refuse_wrong_types")
class UntypedSettings(GoodReward):
    """A setting of any type."""

    Settings = Untyped


@dataclass(frozen=True)
class Rude:
    mode: str = "mean"

    def __post_init__(self) -> None:
        {"mean": 1, "sum": 2}[self.mode]


@breaks("settings_refuse_wrong_types")
class RudeSettings(GoodReward):
    """A wrong value is a KeyError."""

    Settings = Rude


@breaks("can_be_made")
class NoDevice(GoodReward):
    """The constructor takes no device."""

    def __init__(self, settings: Any) -> None:
        super().__init__(settings)


@breaks("can_be_made")
class Quitter(GoodReward):
    """Ends the process."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        raise SystemExit(3)


# scores


@breaks("declarations_are_valid")
class OneMetric(GoodReward):
    """A string where a tuple belongs."""

    metrics = "png_kb"  # type: ignore[assignment]


@breaks("there_is_one_score_an_image")
class ScoreByChannel(GoodReward):
    """Three scores an image."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images.mean((2, 3))


@breaks("a_batch_of_one_works")
class Squeezed(GoodReward):
    """One squeeze too many."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts).squeeze()


@breaks("scores_are_on_the_device")
class Elsewhere(GoodReward):
    """Scores on another device."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts).to("meta")


@breaks("scores_are_finite")
class LogOfNegative(GoodReward):
    """NaN everywhere."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return (super().__call__(images, prompts) - 100).log()


@breaks("scores_are_finite_at_the_edges")
class LogOfBlack(GoodReward):
    """Minus infinity for black images."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts).log()


@breaks("scores_are_deterministic")
class Noisy(GoodReward):
    """Noise from a generator of its own."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.noise = torch.Generator().manual_seed(0)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts) + torch.randn(len(images), generator=self.noise)


@breaks("instances_agree")
class RandomWeights(GoodReward):
    """Weights that nobody loaded."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.weight = float(1 + torch.rand(()))

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return self.weight * super().__call__(images, prompts)


@breaks("images_are_left_alone")
class InPlace(GoodReward):
    """Normalises the caller's images when no gradient forbids it."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        if not images.requires_grad:
            images.sub_(0.5)
        return scores


@breaks("scores_do_not_depend_on_the_batch")
class Relative(GoodReward):
    """Half the mean of the batch is taken away."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        return scores - 0.5 * scores.mean()


@breaks("prompts_change_the_scores")
class Deaf(GoodReward):
    """Does not say that it ignores prompts."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return value(images)


@breaks("prompts_do_not_change_the_scores")
class Eavesdropper(GoodReward):
    """Says that it ignores prompts, and does not."""

    uses_prompts = False


@breaks("half_precision_images_work")
class SinglePrecision(GoodModel):
    """A float32 layer is given the images as they are."""

    def score(self, images: Tensor) -> Tensor:
        return self.layer(images.mean((2, 3))).tanh()[:, 0]


@breaks("global_state_is_left_alone")
class DrawsGlobally(GoodReward):
    """Draws a global random number and drops it."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        torch.rand(())
        return super().__call__(images, prompts)


# gradients


@breaks("there_is_a_gradient")
class Detached(GoodReward):
    """Cut off from the images."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images.detach(), prompts)


@breaks("the_gradient_is_finite")
class RootOfZero(GoodReward):
    """A finite score with a gradient of NaN."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts) + (images - images.detach()).mean((1, 2, 3)).sqrt()


@breaks("the_gradient_is_finite_at_the_edges")
class RootOfBlack(GoodReward):
    """The root of a mean, which is steep at zero."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images, prompts).sqrt()


@breaks("the_gradient_is_not_zero")
class Rounded(GoodReward):
    """Whole numbers are flat."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return (1000 * super().__call__(images, prompts)).round()


@breaks("gradients_do_not_mix_images")
class Leaking(GoodReward):
    """The mean of the batch is in the gradient and not in the score."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        return scores + scores.mean() - scores.mean().detach()


@breaks("the_gradient_is_correct")
class TwiceTheGradient(GoodReward):
    """The right direction, twice as steep."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        return 2 * scores - scores.detach()


@breaks("the_gradient_is_correct")
class TwiceTheGradientOfAModel(GoodModel):
    """The same in single precision."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        return 2 * scores - scores.detach()


@breaks("the_gradient_is_correct")
class WithoutBlue(GoodModel):
    """The gradient of one channel is missing."""

    def score(self, images: Tensor) -> Tensor:
        return super().score(torch.cat([images[:, :2], images[:, 2:].detach()], 1))


@breaks("the_gradient_is_correct")
class ClaimsDouble(GoodReward):
    """Declares fp64 and rounds to single precision."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return super().__call__(images.float(), prompts)


# what is held


@breaks("parameters_are_frozen")
class Loose(GoodModel):
    """A layer that can be trained by mistake."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.layer.requires_grad_(True)


class Holder:
    def __init__(self, module: nn.Module) -> None:
        self.parts = {"module": [module]}


@breaks("modules_are_in_eval_mode")
class InTraining(GoodModel):
    """A new layer is in train mode, here two objects deep."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.holder = Holder(self.layer.train())
        del self.layer

    def score(self, images: Tensor) -> Tensor:
        return self.holder.parts["module"][0](images.float().mean((2, 3))).tanh()[:, 0]


@breaks("no_graph_is_kept")
class KeepsTheLast(GoodReward):
    """Keeps the last scores, and with them the graph."""

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        self.last = super().__call__(images, prompts)
        return self.last


@breaks("memory_does_not_grow")
class KeepsAll(GoodReward):
    """Keeps every score as a tensor."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.history: list[Any] = []

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        self.history.append(self.kept(scores))
        return scores

    def kept(self, scores: Tensor) -> Any:
        return scores.detach()


@breaks("memory_does_not_grow")
class KeepsNumbers(KeepsAll):
    """Keeps every score as a number."""

    def kept(self, scores: Tensor) -> Any:
        return scores.tolist()


@breaks("memory_does_not_grow")
class KeepsOneRow(GoodReward):
    """Keeps every score in one tensor."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.history = torch.zeros(0)

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = super().__call__(images, prompts)
        self.history = torch.cat([self.history, scores.detach()])
        return scores


# metrics


class GoodMetric(MeanMetric):
    """Mean square times a number of the prompt."""

    higher_is_better = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return wish(prompts, images) * value(images)


class GoodComparison(GoodMetric):
    """Likeness to the base."""

    needs_base = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        assert base_images is not None
        return (images - base_images).abs().mean((1, 2, 3))


class GoodSet(Metric):
    """Deviation over the whole set."""

    higher_is_better = True

    def reset(self) -> None:
        self.means: list[Tensor] = []

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor | None:
        self.means.append(value(images))
        return None

    def compute(self) -> float:
        return float(torch.cat(self.means).std()) if self.means else float("nan")


@breaks("the_direction_is_declared")
class NoDirection(GoodSet):
    """A direction that is no bool."""

    higher_is_better = "yes"  # type: ignore[assignment]


@breaks("the_unit_is_a_string")
class NoUnit(GoodMetric):
    """A unit that is no string."""

    unit = None  # type: ignore[assignment]


@breaks("images_can_be_added")
class HiddenNeed(GoodMetric):
    """Uses base images without asking for them."""

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return value(images - base_images)  # type: ignore[operator]


@breaks("the_value_is_a_float")
class GivesATensor(GoodMetric):
    """A tensor instead of a number."""

    def compute(self) -> float:
        return torch.tensor(super().compute())  # type: ignore[return-value]


@breaks("the_value_is_finite")
class NeverEnough(GoodMetric):
    """NaN whatever there is."""

    def compute(self) -> float:
        return float("nan")


@breaks("nothing_measured_is_nan")
class ZeroForNothing(GoodMetric):
    """A number without a measurement."""

    def compute(self) -> float:
        return super().compute() if self._count else 0.0


@breaks("computing_twice_gives_the_same")
class Emptied(GoodMetric):
    """Computing forgets half."""

    def compute(self) -> float:
        result = super().compute()
        self._sum /= 2
        return result


@breaks("instances_agree")
class RandomMetric(GoodMetric):
    """Weights that nobody loaded."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.weight = float(1 + torch.rand(()))

    def compute(self) -> float:
        return self.weight * super().compute()


@breaks("reset_forgets")
class Unforgetting(GoodMetric):
    """Forgets only at first."""

    def reset(self) -> None:
        if not hasattr(self, "_sum"):
            super().reset()


@breaks("batches_add_up")
class MeanOfMeans(GoodMetric):
    """The mean over batches, whatever their sizes."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        scores = self.score(images, prompts)
        self._sum, self._count = self._sum + float(scores.mean()), self._count + 1
        return scores


@breaks("the_order_does_not_matter")
class LaterCountsMore(GoodMetric):
    """Each image counts more than the one before."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        scores = self.score(images, prompts)
        for score in scores.tolist():
            self._count += 1
            self._sum += self._count * score
        return scores


@breaks("update_gives_scores_or_none")
class UpdateByChannel(GoodMetric):
    """Three scores an image."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        super().update(images, prompts)
        return images.mean((2, 3))


@breaks("update_gives_scores_or_none")
class UpdateWithGradient(GoodMetric):
    """Scores with a graph."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        with torch.enable_grad():
            return super().update(images, prompts) * torch.ones((), requires_grad=True)


@breaks("base_images_matter")
class UselessNeed(GoodMetric):
    """Asks for base images and leaves them."""

    needs_base = True


@breaks("images_are_left_alone")
class MetricInPlace(GoodMetric):
    """Normalises the caller's images."""

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        scores = super().update(images, prompts)
        images.sub_(0.5)
        return scores


@breaks("global_state_is_left_alone")
class MetricDrawsGlobally(GoodMetric):
    """Draws a global random number and drops it."""

    def compute(self) -> float:
        random.random()
        return super().compute()


# plans


class Planner(Strategy):
    """Leaves the training to another."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        return [Stage(rewards={name: 1.0}, by="baseline") for name in rewards]


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


# training


class GoodStrategy(Strategy):
    """The plain gradient of the reward, with a momentum that is saved."""

    def begin(self, stage: Stage, pair: LoraPair) -> None:
        self.teacher = pair.copy()

    def loss(self, step: Step) -> Tensor:
        pull = sum((f - t).pow(2).sum() for f, t in zip(step.pair.factors, self.teacher.factors, strict=True))
        return -step.reward(step.decode(step.denoise())) + 0.1 * pull

    def after_update(self, step: Step) -> None:
        self.teacher.lerp_(step.pair, 0.5)

    def state(self) -> dict[str, Tensor]:
        return self.teacher.state()

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.teacher = LoraPair.from_state(state)


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


GOOD: list[type[Component]] = [
    GoodReward,
    GoodModel,
    GoodMetric,
    GoodComparison,
    GoodSet,
    Planner,
    GoodStrategy,
]
