"""What a run needs in memory is counted before it starts, and a run that does not fit is refused with a remedy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import Tensor

from rilbench import engine
from rilbench.config import ModelConfig, RunConfig
from rilbench.contracts import NoSettings
from rilbench.errors import ConfigError
from rilbench.model.adapters import AdapterGroup, LoraPair
from rilbench.model.text_to_image import TextToImage
from rilbench.training import fit
from rilbench.training.memory import Memory, count

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
MEMORY = Memory(weights=10_000, plain=1000, checkpointed=300, rewards={"red": 100, "dark": 200}, largest=50)


def loaded(pipeline: Path, **changes: Any) -> tuple[TextToImage, AdapterGroup]:
    model = TextToImage.load(ModelConfig(path=str(pipeline), steps=3, device="cpu", **changes))
    return model, AdapterGroup(model.network, targets=TARGETS)


def held(model: TextToImage, group: AdapterGroup, images: int) -> int:
    """Bytes that a real forward keeps alive for its backward pass: every storage, the weights' left out."""
    layers = {t.untyped_storage().data_ptr() for part in model.backbone.parts for t in part.parameters()}
    kept: dict[int, Tensor] = {}

    def keep(tensor: Tensor) -> Tensor:
        if tensor.untyped_storage().data_ptr() not in layers:
            kept[tensor.untyped_storage().data_ptr()] = tensor
        return tensor

    pair = LoraPair.initialised(group.layers, rank=1, init="paper", generator=torch.Generator().manual_seed(1))
    group.start(pair.trainable())
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda t: t):
        z = torch.zeros(images, *model.latent_shape)
        image = model.decode(model.finish(z, [""] * images, last_steps=1))
        sizes = sum(t.untyped_storage().nbytes() for t in kept.values())
    assert image.requires_grad
    group.load_chain([])
    return sizes


def test_the_count_is_what_a_forward_keeps(pipeline: Path) -> None:
    model, group = loaded(pipeline)
    found = count(model, group, {}, prompt="a", last_steps=1)
    assert found.plain == pytest.approx(held(model, group, 1), rel=0.03)
    assert found.training(2, [], checkpointing=False) / 1.15 == pytest.approx(held(model, group, 2), rel=0.05)
    weights = sum(t.numel() * t.element_size() for part in model.backbone.parts for t in part.parameters())
    copies = sum(w.numel() * w.element_size() for w in group.base.values())
    assert weights + copies <= found.weights <= weights + 2 * copies + 10_000  # buffers such as positions


def test_rewards_count(pipeline: Path) -> None:
    class Squares(toy.Redness):
        def __call__(self, images: Tensor, prompts: Any) -> Tensor:
            return images.pow(2).mean((1, 2, 3))  # keeps the images, 3 x 16 x 16 floats

    model, group = loaded(pipeline)
    found = count(
        model, group, {"flat": toy.NoGradient(NoSettings()), "squares": Squares(NoSettings())}, prompt="a", last_steps=1
    )
    assert found.rewards["flat"] == 0
    assert found.rewards["squares"] == 3 * 16 * 16 * 4


def test_checkpointing_counts_inputs_and_the_largest_block(pipeline: Path) -> None:
    model, group = loaded(pipeline)
    plain = count(model, group, {}, prompt="a", last_steps=1)
    assert 0.1 * plain.plain < plain.checkpointed < 0.8 * plain.plain
    assert not model.network.is_gradient_checkpointing  # as it was
    on, other = loaded(pipeline, gradient_checkpointing=True)
    assert count(on, other, {}, prompt="a", last_steps=1) == plain
    assert on.network.is_gradient_checkpointing


def test_counting_leaves_no_trace(pipeline: Path) -> None:
    model, group = loaded(pipeline)
    before = model.rollout(torch.ones(1, *model.latent_shape), ["a"])
    count(model, group, {}, prompt="a", last_steps=1)
    assert torch.equal(model.rollout(torch.ones(1, *model.latent_shape), ["a"]), before)


def config(**model: Any) -> RunConfig:
    plain = RunConfig()
    return replace(plain, model=replace(plain.model, **model), evaluate=replace(plain.evaluate, batch_size=8))


STEPS: list[fit.Step] = [(8, ("red",)), (4, ("dark",))]


def test_what_is_needed_by_hand() -> None:
    # 8 images of 1000 + 100 are more than 4 of 1000 + 200; 15 % for the backward pass; decoding takes 4 x 8 x 50
    assert fit.needed(config(), STEPS, MEMORY) == int(1.15 * 8 * 1100)
    assert fit.needed(config(gradient_checkpointing=True), STEPS, MEMORY) == int(1.15 * 8 * 400)
    assert fit.needed(config(), [], MEMORY) == 4 * 8 * 50
    assert fit.needed(config(vae_slicing=True), [], MEMORY) == 4 * 50


@pytest.mark.parametrize(
    ("free", "told"),
    [
        (10_120, []),
        (6000, ["set train.micro_batch=4 (the same gradient)"]),  # 4 of 1200 x 1.15 = 5520; 5 of 1100 x 1.15 = 6325
        (1400, ["set train.micro_batch=1 (the same gradient)", "set evaluate.batch_size=7"]),
        (
            1300,  # one image without checkpointing needs 1380; two with it 1150
            [
                "set model.gradient_checkpointing=true",
                "set train.micro_batch=2 (the same gradient)",
                "set evaluate.batch_size=6",
            ],
        ),
        (500, []),  # one image with checkpointing needs 575
    ],
)
def test_remedies_by_hand(free: int, told: list[str]) -> None:
    assert fit.remedies(config(), STEPS, MEMORY, free) == told


def test_a_run_that_does_not_fit_is_refused_before_it_starts(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "free_bytes", lambda device: 1_500_000)
    with pytest.raises(ConfigError, match=r"GB beside the loaded weights, cpu has 0.0 GB free: set .*micro_batch=1"):
        toy.run(workplace)
    assert not list((workplace / "runs").rglob("adapter_model.safetensors"))
    assert not list((workplace / "runs").rglob("metrics.json"))
    toy.run(workplace, "check_memory=false")
    assert len(list((workplace / "runs").rglob("adapter_model.safetensors"))) == 2
    toy.run(workplace)  # nothing is left to train


def test_the_remedy_is_enough(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fit, "free_bytes", lambda device: 1_500_000)
    with pytest.raises(ConfigError) as error:
        toy.run(workplace)
    changes = [word for word in str(error.value).split() if "=" in word and "check_memory" not in word]
    assert changes
    assert toy.run(workplace, *changes).result.status == "finished"


def test_explain_says_whether_it_fits(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rilbench.explain import explain

    def told(free: int) -> dict[str, Any]:
        monkeypatch.setattr(fit, "free_bytes", lambda device: free)
        loaded = toy.config(workplace)
        found = explain(loaded, *engine.prepare(loaded, toy.catalog(), print))
        return dict(json.loads(json.dumps(found))["memory"])

    enough, little = told(10**9), told(1_000_000)
    assert enough["fits"]
    assert enough["remedies"] == []
    assert not little["fits"]
    assert little["needed_gb"] == enough["needed_gb"] > little["free_gb"]
    assert any("micro_batch=1" in remedy for remedy in little["remedies"])


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("tried 2 GiB"), RuntimeError("can't allocate memory: 2 GiB")])
@pytest.mark.parametrize(
    ("place", "told"),
    [
        (
            "rilbench.training.trainer.begin_step",
            r"in stage 2 \(dark\)\. Finished .* lower train.micro_batch",
        ),
        ("toy.Redness.__call__", r"measuring after no training\. Finished .* lower evaluate"),
    ],
)
def test_running_out_of_memory_all_the_same(
    place: str, told: str, error: Exception, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The strategy or the reward whose turn it was is not blamed."""

    def full(*arguments: Any) -> None:
        raise error

    if "begin_step" in place:
        toy.run(workplace, "rewards=[red]")
    monkeypatch.setattr(place, full)
    with pytest.raises(ConfigError, match=rf"cpu ran out of memory {told}") as raised:
        toy.run(workplace, "check_memory=false")
    assert raised.value.__cause__ is error
