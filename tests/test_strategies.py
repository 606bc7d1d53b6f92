"""Each strategy's loss against the paper written out plainly, and the plans."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy

from rilbench.config import ModelConfig, TrainConfig
from rilbench.contracts import NoSettings, Stage
from rilbench.errors import ConfigError
from rilbench.host.catalog import Catalog
from rilbench.model.adapters import AdapterGroup, LoraPair
from rilbench.model.text_to_image import TextToImage
from rilbench.training.step import TrainingStep, WeightedReward, begin_step, draw_batch
from rilbench_baseline import Baseline
from rilbench_joint import Joint, JointSettings
from rilbench_rid import RID, RIDSettings
from rilbench_soup import Soup, SoupSettings

PROMPTS = ["a red circle", "a blue ring"]


class Bench:
    """A model, a group with one finished pair, and a trainable pair away from zero."""

    def __init__(self, pipeline: Path) -> None:
        self.model = TextToImage.load(ModelConfig(path=str(pipeline), steps=3, spacing="trailing", device="cpu"))
        self.group = AdapterGroup(self.model.unet, targets=("to_q", "to_v"))
        self.group.load_chain([(self.random(1), 1.0)])
        self.pair = self.random(2).trainable()
        self.group.start(self.pair)
        self.config = TrainConfig(batch_size=2, reward_scale=0.5)

    def random(self, seed: int) -> LoraPair:
        g = torch.Generator().manual_seed(seed)
        pair = LoraPair.initialised(self.group.layers, rank=2, init="paper", generator=g)
        for factor in pair.factors:
            factor.copy_(0.3 * torch.randn(factor.shape, generator=g))
        return pair

    def step(self) -> TrainingStep:
        reward = WeightedReward({"red": toy.Redness(NoSettings())}, {"red": 2.0})
        batch = draw_batch(PROMPTS, self.model.latent_shape, seed=0, stage=1, update=0, size=2)
        return begin_step(self.model, self.group, reward, self.config, batch)


@pytest.fixture
def bench(pipeline: Path) -> Bench:
    return Bench(pipeline)


@pytest.mark.parametrize(("space", "lam"), [("pixel", 1e6), ("latent", 1e3)])  # a random decoder is nearly constant
def test_rid_is_algorithm_1(bench: Bench, space: str, lam: float) -> None:
    teacher = bench.random(7)
    rid = RID(RIDSettings(lam=lam, alpha=0.9, space=space))
    rid.begin(Stage(rewards={"red": 2.0}), bench.pair)
    rid.teacher = teacher
    step = bench.step()
    loss = rid.loss(step)

    # Alg. 1: all steps but the last with the student and without gradient, the last with both, from the same z
    model, sched = bench.model, bench.model.scheduler
    batch = draw_batch(PROMPTS, model.latent_shape, seed=0, stage=1, update=0, size=2)
    context = torch.cat([model.encode(["", ""]), model.encode(batch.prompts)])

    def denoise(z: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        free, bound = model.unet(torch.cat([z, z]), t, context).sample.chunk(2)
        return sched.step(free + model.config.guidance * (bound - free), t, z).prev_sample

    z = batch.z_N
    for n in range(3, 0, -1):
        t = sched.timesteps[3 - n]
        if n > 1:
            with torch.no_grad():
                z = denoise(z, t)
        else:
            bench.group.start(teacher)
            with torch.no_grad():
                z_tea = denoise(z, t)
            bench.group.start(bench.pair)
            z_0 = denoise(z, t)

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
    assert torch.allclose(Baseline(NoSettings()).loss(bench.step()), rid.loss(bench.step()))


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


def test_teacher_survives_a_stop(bench: Bench) -> None:
    rid, other = RID(RIDSettings()), RID(RIDSettings())
    rid.begin(Stage(rewards={"red": 1.0}), bench.random(5))
    other.begin(Stage(rewards={"red": 1.0}), bench.pair)
    other.load_state(rid.state())
    assert all(torch.equal(a, b) for a, b in zip(rid.teacher.factors, other.teacher.factors, strict=True))


def test_plans() -> None:
    assert [s.label for s in Baseline(NoSettings()).plan(["a", "b"])] == ["a", "b"]
    assert all(s.start == "previous" for s in RID(RIDSettings()).plan(["a", "b"]))
    (joint,) = Joint(JointSettings()).plan(["aesthetic", "hps", "compressibility", "mine"])
    assert dict(joint.rewards) == {"aesthetic": 0.01, "hps": 2.0, "compressibility": 1.0, "mine": 1.0}  # Eq. 10
    assert joint.by == "baseline"
    *singles, merge = Soup(SoupSettings(coefficients={"b": 0.7})).plan(["a", "b"])
    assert [s.start for s in singles] == ["base", "base"]
    assert dict(merge.merge) == {0: 0.5, 1: 0.7}


@pytest.mark.parametrize("values", [{"alpha": 1.5}, {"space": "fourier"}, {"lam": -1.0}])
def test_rid_refuses_impossible_settings(values: dict[str, object]) -> None:
    with pytest.raises(ConfigError, match=next(iter(values))):
        RIDSettings(**values)  # type: ignore[arg-type]


def test_every_strategy_folder_is_registered() -> None:
    folders = {
        p.name.removeprefix("rilbench_") for p in (Path(__file__).parent.parent / "strategies").glob("rilbench_*")
    }
    assert folders == set(Catalog().names("strategy"))
