"""Two models that are equal give the same images, bit by bit, so the distance of a student from its teacher is zero."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import tiny_pipelines
import torch
import toy
from torch import Tensor

from rilbench.contracts.components import NoSettings
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.prompt import Prompt
from rilbench.contracts.strategy import Stage
from rilbench.model.attach import adapter_group
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage
from rilbench.training.config import TrainConfig
from rilbench.training.drawing import PromptPool
from rilbench.training.step import WeightedReward
from rilbench.training.update import begin_step, draw_batch
from rilbench_rid import RID, RIDSettings

PROMPTS = ["a red circle", "a blue ring"]
STAGE = Stage(rewards={"red": 1.0})
MODELS: list[dict[str, object]] = [
    {"precision": "bf16"},
    {"precision": "bf16", "guidance_gradient": False},
    {"precision": "bf16", "gradient_checkpointing": True},
    {"precision": "bf16", "vae_slicing": True},
    {"precision": "fp32"},
    {"precision": "fp32", "guidance_gradient": False},
]


def distillation(pipeline: Path, rid: RID, model: Mapping[str, object], *, below: int, carry: bool) -> Tensor:
    """The gradient (P,) of the distillation term at the start of a stage; it must be finite, and the term zero."""
    settings: dict[str, Any] = {"path": str(pipeline), "steps": 3, "spacing": "trailing", "device": "cpu"}
    loaded = TextToImage.load(ModelConfig(**settings | dict(model)))
    group = adapter_group(loaded.network, targets=("to_q", "to_v"))
    group.load_chain([(toy.random_pair(group, seed), 1.0) for seed in range(below)])
    pair = toy.random_pair(group, 9).trainable()
    group.start(pair)
    before = RID(rid.settings)
    before.begin(STAGE, pair.copy())
    rid.begin(STAGE, pair)
    if carry and (left := before.carry()):
        rid.load_carry(left)
    batch = draw_batch(PromptPool([Prompt(text) for text in PROMPTS]), loaded.latent_shape, range(3), seed=0, stage=1)
    reward = WeightedReward({"red": toy.Redness(NoSettings())}, {"red": 1.0})
    step = begin_step(loaded, group, reward, TrainConfig(batch_size=3), batch)
    rid.loss(step)
    assert step.terms["distillation"].item() == 0.0
    found = torch.autograd.grad(step.terms["distillation"], pair.factors, retain_graph=True)
    rewarded = torch.autograd.grad(step.terms["reward"], pair.factors)
    assert any(gradient.any() for gradient in rewarded)
    return torch.cat([gradient.flatten() for gradient in found])


@pytest.mark.slow
@pytest.mark.parametrize("below", [0, 2])  # stage 1, and stage 3
@pytest.mark.parametrize("model", MODELS, ids=lambda m: "-".join(map(str, m.values())))
def test_an_equal_teacher_pulls_at_nothing(pipeline: Path, model: dict[str, object], below: int) -> None:
    rid = RID(RIDSettings(lam=1e4))
    assert not distillation(pipeline, rid, model, below=below, carry=False).any()


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(tiny_pipelines.FAMILIES))
def test_an_equal_teacher_of_every_family(family: str, tmp_path: Path) -> None:
    model = {"precision": "bf16", "resolution": 16, "steps": 4, "guidance": 3.0}
    folder = tiny_pipelines.save(family, tmp_path / family)
    assert not distillation(folder, RID(RIDSettings(lam=1e4)), model, below=1, carry=False).any()


@pytest.mark.slow
@pytest.mark.parametrize("family", ["stable_diffusion_2", "flux"])
def test_a_teacher_that_is_almost_equal_is_no_further_away_in_half_precision(family: str, tmp_path: Path) -> None:
    """The distance is what the two learned, not rounding: that of float32 within a few percent."""
    folder, distances = tiny_pipelines.save(family, tmp_path / family), []
    for precision in ("fp32", "bf16"):
        settings: dict[str, Any] = {"path": str(folder), "resolution": 16, "steps": 4, "device": "cpu"}
        model = TextToImage.load(ModelConfig(**settings, precision=precision))
        group = adapter_group(model.network, targets=("to_q", "to_v"))
        student = toy.random_pair(group, 9)
        teacher = student.copy()
        for factor in teacher.factors:
            factor.mul_(1.001)
        z = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
        images = []
        for pair in (student, teacher):
            group.start(pair)
            images.append(model.decode(model.finish(z, PROMPTS, last_steps=1)))
        distances.append(float((images[0] - images[1]).double().pow(2).mean()))
    assert distances[1] == pytest.approx(distances[0], rel=0.1)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [{"distil": "full"}, {"space": "latent"}, {"group": False}, {"reset": False}, {"distil": "full", "reset": False}],
    ids=lambda s: "-".join(s),
)
def test_every_kind_of_teacher(pipeline: Path, settings: dict[str, object]) -> None:
    """One that is never reset inherits no lag from a stage at whose end it was the student."""
    below = 0 if settings.get("group") is False else 2
    rid = RID(RIDSettings(lam=1e4, **settings))  # type: ignore[arg-type]
    assert not distillation(pipeline, rid, MODELS[0], below=below, carry=True).any()


def test_another_teacher_pulls(pipeline: Path) -> None:
    class Other(RID):
        def begin(self, stage: Stage, pair: LoraPair) -> None:
            moved = pair.copy()
            for factor in moved.factors:
                factor.mul_(1.5)
            super().begin(stage, moved)

    with pytest.raises(AssertionError, match=r"== 0\.0"):
        distillation(pipeline, Other(RIDSettings(lam=1e4)), MODELS[0], below=2, carry=False)


def test_a_lag_that_has_decayed_to_nothing_is_none(pipeline: Path) -> None:
    """With alpha 0 the teacher is the student after each update, whatever lag it began with."""
    group = adapter_group(TextToImage.load(ModelConfig(path=str(pipeline), device="cpu")).network, targets=("to_q",))
    rid, pair = RID(RIDSettings(alpha=0.0, reset=False)), toy.random_pair(group, 3)
    rid.begin(STAGE, pair)
    rid.load_carry(toy.random_pair(group, 4).state())
    assert rid.teacher.a["down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"].shape[1] == 4
    rid.after_update(SimpleNamespace(pair=pair))  # type: ignore[arg-type]
    assert rid.teacher is rid.average
    assert rid.carry() == {}
