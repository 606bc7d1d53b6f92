"""Each strategy's loss against the paper written out plainly, and the plans."""

from __future__ import annotations

import math
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from checkout import ROOT

from rilbench.contracts.components import NoSettings
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.prompt import Prompt
from rilbench.contracts.settings import build
from rilbench.contracts.strategy import Stage
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.host.catalog import Catalog
from rilbench.model.attach import adapter_group
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage
from rilbench.training.checked import CheckedStrategy
from rilbench.training.config import TrainConfig
from rilbench.training.drawing import PromptPool
from rilbench.training.gradient import Gradient
from rilbench.training.step import TrainingStep, WeightedReward
from rilbench.training.update import begin_step, draw_batch
from rilbench_baseline import Baseline, BaselineSettings
from rilbench_joint import Joint, JointSettings
from rilbench_rid import RID, RIDSettings
from rilbench_soup import Soup, SoupSettings
from rilbench_wise_ft import WiseFT, WiseFTSettings

PROMPTS = ["a red circle", "a blue ring"]
POOL = PromptPool([Prompt(text) for text in PROMPTS])


class Bench:
    """A model, a group with one finished pair, and a trainable pair away from zero."""

    def __init__(self, pipeline: Path, **settings: bool) -> None:
        config = ModelConfig(path=str(pipeline), steps=3, spacing="trailing", device="cpu", **settings)
        self.model = TextToImage.load(config)
        self.group = adapter_group(self.model.network, targets=("to_q", "to_v"))
        self.group.load_chain([(self.random(1), 1.0)])
        self.pair = self.random(2).trainable()
        self.group.start(self.pair)
        self.config = TrainConfig(batch_size=2, reward_scale=0.5)

    def random(self, seed: int) -> LoraPair:
        return toy.random_pair(self.group, seed)

    def step(self) -> TrainingStep:
        reward = WeightedReward({"red": toy.Redness(NoSettings())}, {"red": 2.0})
        batch = draw_batch(POOL, self.model.latent_shape, range(2), seed=0, stage=1)
        return begin_step(self.model, self.group, reward, self.config, batch)


@pytest.fixture
def bench(pipeline: Path) -> Bench:
    return Bench(pipeline)


@pytest.mark.slow
def test_a_gradient_through_another_pair(pipeline: Path) -> None:
    """Checkpointing runs blocks again in the backward pass, when the pair in training is active again."""
    gradients = []
    for checkpointing in (False, True):
        bench = Bench(pipeline, gradient_checkpointing=checkpointing)
        other = bench.random(7).trainable()
        step = bench.step()
        wanted = [*other.factors, *bench.pair.factors]
        found = torch.autograd.grad((step.denoise(other) * step.denoise()).mean(), wanted)
        gradients.append(torch.cat([g.flatten() for g in found]))
    assert gradients[0].norm() > 0
    assert (gradients[1] - gradients[0]).norm() < 1e-4 * gradients[0].norm()


@pytest.mark.parametrize("distil", ["last", "full"])
@pytest.mark.parametrize(("space", "lam"), [("pixel", 1e6), ("latent", 1e3)])  # a random decoder is nearly constant
def test_rid_is_algorithm_1(bench: Bench, space: str, lam: float, distil: str) -> None:
    teacher = bench.random(7)
    rid = RID(RIDSettings(lam=lam, alpha=0.9, space=space, distil=distil))
    rid.begin(Stage(rewards={"red": 2.0}), bench.pair)
    rid.teacher = teacher
    step = bench.step()
    loss = rid.loss(step)

    # Alg. 1: all steps but the last with the student and without gradient, the last with both, from the same z;
    # Eq. 7 ("full"): the teacher takes every step itself, from the same z_N
    model, sched = bench.model, bench.model.sampler.scheduler
    batch = draw_batch(POOL, model.latent_shape, range(2), seed=0, stage=1)
    context = torch.cat([model.encode(p)["text"] for p in (["", ""], batch.prompts)])

    def denoise(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        free, bound = model.network(torch.cat([z, z]), t, context).sample.chunk(2)
        return sched.step(free + model.config.guidance * (bound - free), t, z).prev_sample

    first, second, last = sched.timesteps
    with torch.no_grad():
        z = denoise(denoise(batch.z_N, first), second)
        bench.group.start(teacher)
        z_tea = denoise(z if distil == "last" else denoise(denoise(batch.z_N, first), second), last)
    bench.group.start(bench.pair)
    z_0 = denoise(z, last)

    def image(latent: torch.Tensor) -> torch.Tensor:
        return (model.vae.decode(latent / model.vae.config.scaling_factor).sample / 2 + 0.5).clamp(0, 1)

    mse = torch.nn.functional.mse_loss
    distance = mse(image(z_0), image(z_tea)) if space == "pixel" else mse(z_0, z_tea)
    expected = -0.5 * (2.0 * image(z_0)[:, 0].mean((1, 2))).mean() + lam * distance
    assert lam * distance > 1e-3  # or the test says nothing
    assert torch.allclose(loss, expected, rtol=1e-3)
    ours = torch.autograd.grad(loss, bench.pair.factors)
    theirs = torch.autograd.grad(expected, bench.pair.factors)
    error = torch.cat([(a - b).flatten() for a, b in zip(ours, theirs, strict=True)]).norm()
    assert error / torch.cat([b.flatten() for b in theirs]).norm() < 1e-3
    assert set(step.terms) == {"reward", "distillation"}


def test_baseline_is_rid_without_distillation(bench: Bench) -> None:
    rid = RID(RIDSettings(lam=0.0))
    rid.begin(Stage(rewards={"red": 2.0}), bench.pair)
    assert torch.allclose(Baseline(BaselineSettings()).loss(bench.step()), rid.loss(bench.step()))


def test_teacher_is_the_hand_computed_average(bench: Bench) -> None:
    rid = RID(RIDSettings(alpha=0.75))
    rid.begin(Stage(rewards={"red": 1.0}), bench.pair)
    name = next(iter(bench.pair.a))
    with torch.no_grad():
        bench.pair.a[name].fill_(0.0)
    rid.begin(Stage(rewards={"red": 1.0}), bench.pair)
    step = bench.step()
    for value in (4.0, 8.0):
        with torch.no_grad():
            bench.pair.a[name].fill_(value)
        rid.after_update(step)
    # Eq. 6 from 0: 0.75 * 0 + 0.25 * 4 = 1, then 0.75 * 1 + 0.25 * 8 = 2.75
    assert torch.allclose(rid.teacher.a[name], torch.full_like(rid.teacher.a[name], 2.75))
    assert bench.pair.a[name].eq(8.0).all()


@pytest.mark.parametrize("updates", [4, 40])
def test_a_stage_has_the_given_number_of_time_constants(bench: Bench, updates: int) -> None:
    """The teacher of a student that jumps from 0 to 1 ends at 1 - e^-3, however many updates the stage has."""
    rid, tensor = RID(RIDSettings(alpha=None, time_constants=3.0)), bench.pair.factors[0]
    bench.config = TrainConfig(samples=2 * updates, batch_size=2)
    with torch.no_grad():
        rid.begin(Stage(rewards={"red": 1.0}), bench.pair)
        rid.teacher.factors[0].fill_(0.0)
        tensor.fill_(1.0)
    step = bench.step()
    for _ in range(updates):
        rid.after_update(step)
    assert torch.allclose(rid.teacher.factors[0], torch.full_like(tensor, 1 - math.exp(-3)))


@pytest.mark.parametrize("space", ["pixel", "latent"])
def test_the_distance_as_a_sum_is_the_mean_times_the_numbers_of_an_image(bench: Bench, space: Any) -> None:
    distances = []
    for distance in ("mean", "sum"):
        rid, step = RID(RIDSettings(lam=1.0, space=space, distance=distance)), bench.step()
        rid.begin(Stage(rewards={"red": 1.0}), bench.pair)
        rid.teacher = bench.random(7)
        rid.loss(step)
        distances.append(step.terms["distillation"])
    z_0 = step.denoise()
    numbers = (z_0 if space == "latent" else step.decode(z_0))[0].numel()
    assert distances[0] > 0
    assert numbers > 100
    assert torch.allclose(distances[1], numbers * distances[0])  # two images: summed over pixels, not over images


def test_teacher_survives_a_stop(bench: Bench) -> None:
    rid, other = RID(RIDSettings()), RID(RIDSettings())
    rid.begin(Stage(rewards={"red": 1.0}), bench.random(5))
    other.begin(Stage(rewards={"red": 1.0}), bench.pair)
    other.load_state(rid.state())
    assert all(torch.equal(a, b) for a, b in zip(rid.teacher.factors, other.teacher.factors, strict=True))


def test_plans() -> None:
    assert [s.label for s in Baseline(BaselineSettings()).plan(["a", "b"])] == ["a", "b"]
    assert all(s.start == "previous" for s in RID(RIDSettings()).plan(["a", "b"]))
    (joint,) = Joint(JointSettings()).plan(["aesthetic", "hps", "compressibility", "mine"])
    assert dict(joint.rewards) == {"aesthetic": 0.01, "hps": 2.0, "compressibility": 1.0, "mine": 1.0}  # Eq. 10
    assert joint.by == "baseline"
    *singles, merge = Soup(SoupSettings(coefficients={"b": 0.7})).plan(["a", "b"])
    assert [s.start for s in singles] == ["base", "base"]
    assert dict(merge.merge) == {0: 0.5, 1: 0.7}


def test_a_teacher_that_is_never_reset_lags_behind_the_frozen_pairs(bench: Bench) -> None:
    """Two stages written out: the teacher's share of a finished stage goes on towards the student's."""
    rid = RID(RIDSettings(alpha=0.5, reset=False))
    first = bench.random(11)
    rid.begin(Stage(rewards={"red": 1.0}), first)
    name = next(iter(first.a))
    start = first.a[name] @ first.b[name]
    with torch.no_grad():
        first.a[name].add_(1.0)
    rid.after_update(_StepOf(first))
    averaged = rid.teacher.a[name] @ rid.teacher.b[name]
    behind = averaged - first.a[name] @ first.b[name]
    assert not torch.allclose(averaged, start)

    second, later = bench.random(12), RID(RIDSettings(alpha=0.5, reset=False))
    later.begin(Stage(rewards={"red": 1.0}), second)
    later.load_carry(rid.carry())
    for updates in range(3):
        change = later.teacher.a[name] @ later.teacher.b[name]
        assert torch.allclose(change, second.a[name] @ second.b[name] + 0.5**updates * behind, atol=1e-5)
        later.after_update(_StepOf(second))
    resumed = RID(RIDSettings(alpha=0.5, reset=False))
    resumed.begin(Stage(rewards={"red": 1.0}), bench.random(13))
    resumed.load_carry(rid.carry())
    resumed.load_state(later.state())
    assert all(map(torch.equal, resumed.teacher.factors, later.teacher.factors))
    # what it hands on is the whole distance, of both stages
    last = LoraPair.from_state(later.carry())
    assert torch.allclose(last.a[name] @ last.b[name], 0.5**3 * behind, atol=1e-5)
    assert RID(RIDSettings()).carry() == {}


class _StepOf:
    def __init__(self, pair: LoraPair) -> None:
        self.pair = pair


def test_without_a_teacher_nothing_is_denoised_for_one(bench: Bench) -> None:
    rid = RID(RIDSettings(lam=0.0))
    rid.begin(Stage(rewards={"red": 2.0}), bench.pair)
    step = bench.step()
    step.rollout = None  # type: ignore[assignment]
    pairs: list[LoraPair | None] = []
    denoise = step.denoise
    step.denoise = lambda pair=None, z=None: (pairs.append(pair), denoise(pair, z))[1]  # type: ignore[method-assign]
    rid.loss(step)
    assert pairs == [None]
    assert set(step.terms) == {"reward"}


def test_a_single_pair_is_trained_on() -> None:
    for strategy in (RID(RIDSettings(group=False)), Baseline(BaselineSettings(group=False))):
        assert [s.start for s in strategy.plan(["a", "b"])] == ["continue", "continue"]


def test_the_joint_balances_gradients(bench: Bench) -> None:
    """Against the running norms of both gradients written out; a reward a thousand times smaller pulls as hard."""
    joint = Joint(JointSettings(balance="gradients", weights={"red": 2.0}, momentum=0.5))
    (stage,) = joint.plan(["red", "dark"])
    assert (dict(stage.rewards), stage.by) == ({"red": 2.0, "dark": 1.0}, None)
    joint.begin(stage, bench.pair)
    norms: list[list[float]] = []
    rewards = WeightedReward({"red": _Tiny(NoSettings()), "dark": toy.Darkness(NoSettings())}, stage.rewards)
    for _ in range(2):
        step = bench.step()
        step.batch_reward = rewards
        gradient = Gradient(CheckedStrategy(joint), bench.pair.factors, by_term=True)
        gradient.backward(joint.loss(step), step, share=1.0)
        gradient.finish(longest=0.0)
        x_0 = step.decode(step.denoise())
        red, dark = 1e-3 * x_0[:, 0].mean(), -x_0.pow(2).mean()
        gradients = [torch.autograd.grad(r, bench.pair.factors, retain_graph=True) for r in (red, dark)]
        red_row, dark_row = (torch.cat([g.flatten() for g in of]) for of in gradients)
        norms.append([float(red_row.norm()), float(dark_row.norm())])
        share = [1.0] if len(norms) == 1 else [1 / 3, 2 / 3]  # momentum 0.5, corrected for the start at zero
        n_red, n_dark = (sum(s * n[i] for s, n in zip(share, norms, strict=True)) for i in range(2))
        found = torch.cat([factor.grad.flatten() for factor in bench.pair.factors])
        expected = -2 * red_row / n_red - dark_row / n_dark
        assert (found - expected).norm() < 1e-4 * expected.norm()
        measured = gradient.measured()
        assert measured.pop("gradient_median") == pytest.approx(float(found.abs().median()))  # none is 0
        assert measured == pytest.approx({"gradient/red": norms[-1][0], "gradient/dark": norms[-1][1]})
        with torch.no_grad():
            for factor in bench.pair.factors:
                factor.mul_(3.0)  # other images, other norms
    assert norms[0][1] != pytest.approx(norms[1][1], rel=1e-3)
    other = Joint(joint.settings)
    other.begin(stage, bench.pair)
    other.load_state(joint.state())
    assert (other.norms, other.share) == (joint.norms, joint.share)


class _Tiny(toy.Redness):
    def __call__(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        return 1e-3 * super().__call__(images, prompts)


def test_plans_of_soups_and_scaled_sequences() -> None:
    *singles, merge = Soup(SoupSettings()).plan(["a", "b", "a"])
    assert [dict(s.rewards) for s in singles] == [{"a": 1.0}, {"b": 1.0}]
    assert (dict(merge.merge), merge.average) == ({0: 0.5, 1: 0.5}, "changes")
    assert Soup(SoupSettings(average="factors")).plan(["a"])[-1].average == "factors"
    *trained, scaled = WiseFT(WiseFTSettings(scale=0.25)).plan(["a", "b"])
    assert [(s.by, s.start) for s in trained] == [("baseline", "previous")] * 2
    assert dict(scaled.merge) == {1: 0.25}


def test_averaging_factors_is_another_soup(bench: Bench) -> None:
    """Equal shares of three: the average of factors weighs each change by a ninth, and mixes them."""
    pairs = [bench.random(seed) for seed in (1, 2, 3)]
    chain = [(pair, 1 / 3) for pair in pairs]
    changes, factors = LoraPair.concatenated(chain), LoraPair.averaged(chain)
    name = next(iter(pairs[0].a))
    assert torch.allclose(changes.a[name] @ changes.b[name], sum(p.a[name] @ p.b[name] for p in pairs) / 3, atol=1e-5)
    cross = sum(p.a[name] @ q.b[name] for p in pairs for q in pairs) / 9
    assert torch.allclose(factors.a[name] @ factors.b[name], cross, atol=1e-5)


@pytest.mark.parametrize(
    ("settings", "values", "message"),
    [
        (RIDSettings, {"distil": "first"}, "distil"),
        (RIDSettings, {"reset": False, "group": False}, "reset"),
        (JointSettings, {"balance": "magic"}, "balance"),
        (JointSettings, {"momentum": 1.0}, "momentum"),
        (JointSettings, {"balance": "gradients", "by": "rid"}, "by"),
        (SoupSettings, {"average": "both"}, "average"),
        (WiseFTSettings, {"scale": 1.5}, "scale"),
    ],
)
def test_impossible_settings_are_refused(settings: type, values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(settings, values, "")


@pytest.mark.parametrize(
    "values",
    [{"alpha": 1.5}, {"space": "fourier"}, {"lam": -1.0}, {"alpha": None}, {"alpha": 0.9, "time_constants": 3}],
)
def test_rid_refuses_impossible_settings(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        build(RIDSettings, values, "")


def test_every_strategy_folder_is_registered() -> None:
    folders = {p.name.removeprefix("rilbench_") for p in (ROOT / "strategies").glob("rilbench_*")}
    assert folders == set(Catalog().names("strategy"))


class MergeAndGoOn(Baseline):
    """Two stages, their merge, and a third stage on it."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        first, second, third = (Stage(rewards={name: 1.0}) for name in rewards)
        return [first, second, Stage(merge={0: 0.5, 1: 0.5}), third]


def test_a_stage_on_a_merge_goes_on_counting(workplace: Path) -> None:
    """Its index draws prompts, noise and the initial pair: at 1 they would be those of the first stage."""
    own = EntryPoint("go_on", f"{__name__}:MergeAndGoOn", "rilbench.strategies")
    config = toy.config(workplace, "strategy=go_on", "rewards=[red,dark,blue]")
    plan = engine.prepare(config, toy.catalog(own), print)[1]
    assert [planned.index for planned in plan] == [0, 1, 2, 2, 3]
    assert [planned.document.get("index") for planned in plan] == [None, 1, 2, None, 3]


class AverageAndGoOn(Baseline):
    """Two stages from the base, the average of their factors, and a third stage on it."""

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        first, second, third = (Stage(rewards={name: 1.0}, start="base") for name in rewards)
        return [first, second, Stage(merge={0: 0.5, 1: 0.5}, average="factors"), Stage(rewards=third.rewards)]


@pytest.mark.slow
def test_a_stage_on_averaged_factors_is_trained(workplace: Path) -> None:
    """No strategy trained what it stands on, so there is no record to inherit from."""
    own = EntryPoint("average_on", f"{__name__}:AverageAndGoOn", "rilbench.strategies")
    config = toy.config(workplace, "strategy=average_on", "rewards=[red,dark,blue]", "train.samples=2")
    result = engine.run(config, catalog=toy.catalog(own), reporter=Reporter(quiet=True)).result
    assert [row.rewards for row in result.matrix.rows][3:] == [(), ("blue",)]
