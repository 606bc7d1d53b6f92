"""Eq. 4 and its gradient, against plain autograd written here."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy
from safetensors.torch import load_file
from torch import Tensor

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.pair import LoraPair
from rilbench.model.attach import adapter_group
from rilbench.model.config import AdapterConfig, ModelConfig
from rilbench.model.files import load_pair, save_pair
from rilbench.model.text_to_image import TextToImage

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")


@pytest.fixture
def model(pipeline: Path) -> TextToImage:
    return TextToImage.load(ModelConfig(path=str(pipeline), steps=3, device="cpu"))


def forward(model: TextToImage) -> Tensor:
    z = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(1))
    return model.finish(z, ["a red circle", "a blue ring"], last_steps=1)


@pytest.mark.parametrize("init", ["paper", "peft"])
def test_a_new_pair_changes_nothing(model: TextToImage, init: str) -> None:
    before = forward(model)
    group = adapter_group(model.network, targets=TARGETS)
    pair = LoraPair.initialised(group.layers, rank=4, init=init, generator=torch.Generator().manual_seed(0))
    zero, filled = (pair.b, pair.a) if init == "paper" else (pair.a, pair.b)
    assert all((m == 0).all() for m in zero.values())
    for matrix in filled.values():
        assert 0 < matrix.abs().max() <= matrix.shape[1] ** -0.5
    group.start(pair)
    assert torch.equal(forward(model), before)


@pytest.mark.slow
@pytest.mark.parametrize("earlier", [0, 2])
def test_gradient_equals_plain_autograd_on_full_weights(model: TextToImage, earlier: int) -> None:
    """One step's gradient against d loss / d W of a bare network, pulled back by hand: dA = dW B^T, dB = A^T dW."""
    group = adapter_group(model.network, targets=TARGETS)
    old = [(toy.random_pair(group, 10 + i), 1.0) for i in range(earlier)]
    new = toy.random_pair(group, 3).trainable()
    group.load_chain(old)
    group.start(new)
    with group.folded():
        noise = torch.randn(2, *model.latent_shape, generator=torch.Generator().manual_seed(2))
        z = model.rollout(noise, ["a"] * 2, stop=1)
    loss = model.decode(model.finish(z, ["a"] * 2, last_steps=1)).pow(2).mean()
    ours = torch.autograd.grad(loss, new.factors)

    plain = TextToImage.load(model.config)
    layers = {n: plain.network.get_submodule(n) for n in sorted(group.layers)}
    weights = []
    for name, layer in layers.items():
        total = group.base[name].double()
        for pair, _ in [*old, (new, 1.0)]:
            total = total + pair.a[name].detach().double() @ pair.b[name].detach().double()
        layer.weight.data = total.float()
        layer.weight.requires_grad_()
        weights.append(layer.weight)
    reference_loss = plain.decode(plain.finish(z, ["a"] * 2, last_steps=1)).pow(2).mean()
    assert torch.allclose(loss, reference_loss, rtol=1e-5)
    d_w = dict(zip(layers, torch.autograd.grad(reference_loss, weights), strict=True))
    reference = [d_w[n] @ new.b[n].detach().T for n in layers] + [new.a[n].detach().T @ d_w[n] for n in layers]
    error = torch.cat([(o - r).flatten() for o, r in zip(ours, reference, strict=True)]).norm()
    assert error / torch.cat([r.flatten() for r in reference]).norm() < 1e-5


def test_folded_equals_branch_and_leaves_weights_bit_identical(model: TextToImage) -> None:
    group = adapter_group(model.network, targets=TARGETS)
    group.load_chain([(toy.random_pair(group, 1), 1.0)])
    frozen = {n: layer.weight.clone() for n, layer in group.layers.items()}
    group.start(toy.random_pair(group, 2))
    branch = forward(model)
    for _ in range(3):
        with group.folded():
            assert not torch.equal(next(iter(group.layers.values())).weight, next(iter(frozen.values())))
            assert torch.allclose(forward(model), branch, atol=1e-5)
    assert all(torch.equal(layer.weight, frozen[n]) for n, layer in group.layers.items())
    group.load_chain([])
    assert all(torch.equal(layer.weight, group.base[n]) for n, layer in group.layers.items())


def test_swapped_runs_the_other_pair(model: TextToImage) -> None:
    group = adapter_group(model.network, targets=TARGETS)
    student, teacher = toy.random_pair(group, 1), toy.random_pair(group, 2)
    group.start(teacher)
    expected = forward(model)
    group.start(student)
    with group.swapped(teacher):
        assert torch.equal(forward(model), expected)
    assert not torch.equal(forward(model), expected)


def test_merge_averages_changes_not_factors(model: TextToImage) -> None:
    group = adapter_group(model.network, targets=TARGETS)
    one, two = toy.random_pair(group, 1), toy.random_pair(group, 2)
    group.load_chain([(one, 0.5), (two, 0.5)])
    name = next(iter(group.layers))
    change = group.layers[name].weight - group.base[name]
    expected = 0.5 * one.a[name] @ one.b[name] + 0.5 * two.a[name] @ two.b[name]
    assert torch.allclose(change, expected, atol=1e-6)


def test_only_linear_layers_that_exist(model: TextToImage) -> None:
    with pytest.raises(ConfigError, match=r"no layer .* to_nothing"):
        adapter_group(model.network, targets=["to_nothing"])
    with pytest.raises(ConfigError, match="only linear layers"):
        adapter_group(model.network, targets=["conv_in"])


@pytest.mark.slow
def test_pair_on_disk_is_a_peft_lora(model: TextToImage, tmp_path: Path) -> None:
    """PEFT, given our files, computes what we compute."""
    from peft import LoraConfig, inject_adapter_in_model, set_peft_model_state_dict

    group = adapter_group(model.network, targets=TARGETS)
    pair = toy.random_pair(group, 4)
    save_pair(tmp_path, pair, AdapterConfig(rank=2), "unet")
    loaded = load_pair(tmp_path)
    assert all(torch.equal(a, b) for a, b in zip(pair.factors, loaded.factors, strict=True))
    group.start(pair)
    expected = forward(model)

    other = TextToImage.load(model.config)
    config = LoraConfig.from_pretrained(str(tmp_path))
    inject_adapter_in_model(config, other.network)
    state = {k.removeprefix("unet."): v for k, v in load_file(tmp_path / "adapter_model.safetensors").items()}
    outcome = set_peft_model_state_dict(other.network, state)
    assert not outcome.unexpected_keys
    assert torch.allclose(forward(other), expected, atol=1e-5)


def test_corrupt_adapter_is_one_clear_error(tmp_path: Path) -> None:
    (tmp_path / "adapter_model.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ConfigError, match=r"adapter_model\.safetensors is damaged"):
        load_pair(tmp_path)


def test_toy_pipeline_is_random_but_fixed(tmp_path: Path, pipeline: Path) -> None:
    toy.save_pipeline(tmp_path / "again")
    name = "unet/diffusion_pytorch_model.safetensors"
    assert (tmp_path / "again" / name).read_bytes() == (pipeline / name).read_bytes()


def test_bf16_keeps_small_changes(pipeline: Path) -> None:
    """A change below half a unit in the last place of the weights must not vanish in the rollout."""
    model = TextToImage.load(ModelConfig(path=str(pipeline), steps=3, precision="bf16", device="cpu"))
    group = adapter_group(model.network, targets=TARGETS)
    name = next(iter(group.layers))
    x = torch.ones(1, group.layers[name].in_features, dtype=torch.bfloat16)
    before = group.layers[name](x)
    one, two = toy.random_pair(group, 1), toy.random_pair(group, 2)
    group.load_chain([(one, 1.0), (two, 0.5)])
    group.start(toy.random_pair(group, 3))
    with group.folded():
        change = (group.layers[name](x) - before).float()
    pairs = ((one, 1.0), (two, 0.5), (group.pair, 1.0))
    expected = sum(c * (x.float() @ p.b[name].T) @ p.a[name].T for p, c in pairs if p is not None)
    assert torch.allclose(change, expected, atol=0.05)
    assert all(torch.equal(layer.weight, group.base[n]) for n, layer in group.layers.items())


@pytest.mark.slow
def test_gradient_checkpointing_changes_nothing(pipeline: Path) -> None:
    """Checkpointing runs the hooks again in the backward pass; the branch must still be there."""
    gradients = []
    for checkpointing in (False, True):
        config = ModelConfig(path=str(pipeline), steps=3, device="cpu", gradient_checkpointing=checkpointing)
        model = TextToImage.load(config)
        group = adapter_group(model.network, targets=TARGETS)
        pair = toy.random_pair(group, 1).trainable()
        group.start(pair)
        gradients.append(torch.autograd.grad(model.decode(forward(model)).mean(), pair.factors))
    assert all(torch.allclose(a, b, rtol=1e-4, atol=1e-9) for a, b in zip(*gradients, strict=True))


def test_a_truncated_pair_is_the_nearest_of_its_rank() -> None:
    """Against the singular values of the whole product; exact where the rank is enough."""
    generator = torch.Generator().manual_seed(0)
    pair = LoraPair({"x": torch.randn(9, 6, generator=generator)}, {"x": torch.randn(6, 12, generator=generator)})
    whole = pair.a["x"] @ pair.b["x"]
    singular = torch.linalg.svdvals(whole)
    for rank in (2, 6, 20):
        cut = pair.truncated(rank)
        assert cut.a["x"].shape == (9, min(rank, 6))
        error = (cut.a["x"] @ cut.b["x"] - whole).norm()
        assert torch.allclose(error, singular[rank:].norm(), atol=1e-4)
