"""What a run needs in memory is counted before it starts, and a run that does not fit is refused with a remedy."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
import yaml  # type: ignore[import-untyped]
from torch import Tensor

from rilbench.contracts.components import NoSettings
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.pair import LoraPair
from rilbench.engine import run as engine
from rilbench.engine.budget import available, check
from rilbench.engine.budget.check import Work, check_memory, count_memory, needed, remedies, work
from rilbench.engine.budget.memory import Memory, count, under
from rilbench.engine.config import RunConfig
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.progress import Reporter
from rilbench.files.states import size_of
from rilbench.model.adapters import AdapterGroup
from rilbench.model.attach import adapter_group
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage

TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
MEMORY = Memory(
    weights=10_000,
    folding=0,
    condition=1,
    plain=1000,
    checkpointed=300,
    casts=0,
    checkpointed_casts=0,
    rewards={"red": 100, "dark": 200},
    denoising=20,
    decoding=50,
    scoring=10,
)


def loaded(pipeline: Path, **changes: Any) -> tuple[TextToImage, AdapterGroup]:
    model = TextToImage.load(ModelConfig(path=str(pipeline), steps=3, device="cpu", **changes))
    return model, adapter_group(model.network, targets=TARGETS)


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


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_the_count_is_what_a_forward_keeps(pipeline: Path, precision: str) -> None:
    model, group = loaded(pipeline, precision=precision)
    found = count(model, group, {}, prompt="a", last_steps=1)
    assert found.casts + found.plain == pytest.approx(held(model, group, 1), rel=0.05)  # the first casts are not kept
    needed = found.training(2, [], checkpointing=False) - found.casts
    assert found.casts + needed / 1.15 == pytest.approx(held(model, group, 2), rel=0.05)
    numbers = sum(p.numel() for p in model.network.parameters())  # each is once in float32, if it is not already
    assert found.casts == pytest.approx(4 * numbers if precision == "bf16" else 0, rel=0.03)
    assert found.checkpointed_casts <= 0.7 * found.casts
    weights = sum(t.numel() * t.element_size() for part in model.backbone.parts for t in part.parameters())
    # in half precision the group copies nothing
    copies = sum(w.numel() * w.element_size() for w in group.base.values()) if precision == "fp32" else 0
    assert weights + copies <= found.weights <= weights + copies + 10_000  # buffers such as positions


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_folding_takes(pipeline: Path, precision: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Weights of its own that the group holds at the most, beside the network's and those it began with."""
    model, group = loaded(pipeline, precision=precision)
    there = {weight.data_ptr() for weight in [*group.base.values(), *(m.weight for m in group.layers.values())]}
    held: list[Tensor] = []
    write = group._write
    monkeypatch.setattr(group, "_write", lambda weights: (held.extend(weights.values()), write(weights)))
    pair = toy.random_pair(group, 1)
    group.load_chain([(pair, 1.0)])
    group.start(pair)
    with group.folded():
        own = {w.data_ptr(): w.nbytes for w in [*held, *group.frozen.values()] if w.data_ptr() not in there}
    assert sum(own.values()) == group.folding_bytes
    assert (group.folding_bytes > 0) == (precision == "fp32")
    memory = count(model, group, {}, prompt="a", last_steps=1)
    assert memory.standing(3) == group.folding_bytes + 3 * memory.condition


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


@pytest.mark.slow
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


WORK = Work([(8, ("red",)), (4, ("dark",))], prompts=100, images=1000)
MEASURING = Work([], prompts=0, images=1000)


def test_what_is_needed_by_hand() -> None:
    # 8 images of 1000 + 100 are more than 4 of 1000 + 200; 15 % for the backward pass; 100 conditions of 1
    assert needed(config(), WORK, MEMORY) == int(1.15 * 8 * 1100) + 100
    assert needed(config(gradient_checkpointing=True), WORK, MEMORY) == int(1.15 * 8 * 400) + 100
    # measuring takes 4 tensors at a time: decoding 8 x 50; with slices 1 x 50, and then denoising 8 x 20 is more
    assert needed(config(), MEASURING, MEMORY) == 4 * 8 * 50
    assert needed(config(vae_slicing=True), MEASURING, MEMORY) == 4 * 8 * 20
    large = replace(MEMORY, scoring=60)
    assert needed(config(vae_slicing=True), MEASURING, large) == 4 * 8 * 60


def halved(model: ModelConfig) -> Memory:
    """What the loaded model would need: without the gradient of guidance 600 and 200, with bf16 half of decoding."""
    found = MEMORY
    if not model.guidance_gradient:
        found = replace(found, plain=600, checkpointed=200)
    return replace(found, decoding=25) if model.vae_precision == "bf16" else found


@pytest.mark.parametrize(
    ("free", "told"),
    [
        (10_220, []),
        (6100, ["set train.micro_batch=4 (the same gradient)"]),  # 4 of 1200 x 1.15 = 5520; 5 of 1100 x 1.15 = 6325
        (1500, ["set train.micro_batch=1 (the same gradient)", "set model.vae_slicing=true"]),  # 8 images take 1600
        (
            1400,  # one image without checkpointing needs 1380; two with it 1150
            [
                "set model.gradient_checkpointing=true",
                "set train.micro_batch=2 (the same gradient)",
                "set model.vae_slicing=true",
            ],
        ),
        (
            700,  # one image with checkpointing needs 575; 7 of 4 x 20 are 560
            [
                "set model.gradient_checkpointing=true",
                "set train.micro_batch=1 (the same gradient)",
                "set model.vae_slicing=true",
                "set evaluate.batch_size=7",
            ],
        ),
        (
            600,  # one image without the gradient of guidance needs 460
            [
                "set model.gradient_checkpointing=true",
                "set train.micro_batch=1 (the same gradient)",
                "set model.vae_slicing=true",
                "set evaluate.batch_size=6",
                "set model.guidance_gradient=false (changes the numbers)",
            ],
        ),
        (500, []),
    ],
)
def test_remedies_by_hand(free: int, told: list[str]) -> None:
    assert remedies(config(), WORK, MEMORY, free, halved) == told


def test_remedies_for_measuring() -> None:
    """A slice of 4 x 50 fits where only bf16 lets one be decoded: 4 x 25."""
    assert remedies(config(), MEASURING, MEMORY, 200, halved) == [
        "set model.vae_slicing=true",
        "set evaluate.batch_size=2",
    ]
    bf16 = "set model.vae_precision=bf16 (changes the numbers)"
    assert remedies(config(), MEASURING, MEMORY, 150, halved) == ["set evaluate.batch_size=1", bf16]
    assert remedies(config(vae_precision="bf16"), MEASURING, MEMORY, 150, lambda model: MEMORY) == []


def applied(told: list[str], config: RunConfig, work: Work) -> tuple[RunConfig, Work]:
    """As the settings `set SECTION.KEY=VALUE` would have it."""
    for text in told:
        key, _, value = text.split()[1].partition("=")
        section, _, name = key.partition(".")
        if name == "micro_batch":
            work = replace(work, steps=[(min(int(value), images), rewards) for images, rewards in work.steps])
        else:
            part = replace(getattr(config, section), **{name: yaml.safe_load(value)})
            config = replace(config, **{section: part})
    return config, work


@pytest.mark.parametrize("changes", [{}, {"gradient_checkpointing": True}, {"vae_slicing": True}])
def test_every_remedy_is_enough(changes: dict[str, Any]) -> None:
    plain = config(**changes)
    frees = range(100, needed(plain, WORK, MEMORY), 20)
    helped = {free: told for free in frees if (told := remedies(plain, WORK, MEMORY, free, halved))}
    assert len(helped) > 10
    for free, told in helped.items():
        changed, work = applied(told, plain, WORK)
        assert needed(changed, work, halved(changed.model)) <= free
    assert max(set(frees) - set(helped)) < min(helped)  # what helps with little helps with more


LEVERS: list[dict[str, Any]] = [{"guidance_gradient": False}, {"vae_precision": "bf16"}]


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_would_be_needed_is_what_a_model_so_loaded_needs(pipeline: Path, precision: str) -> None:
    def activations(model: TextToImage, group: AdapterGroup) -> Memory:
        return replace(count(model, group, {}, prompt="a", last_steps=1), weights=0)

    settings: dict[str, Any] = {"precision": precision, "guidance": 3.0, "vae_precision": "fp32"}
    model, group = loaded(pipeline, **settings)
    plain = activations(model, group)
    for changes in LEVERS:
        recounted = activations(under(model, replace(model.config, **changes)), group)
        assert recounted == activations(*loaded(pipeline, **settings | changes))
        assert recounted.plain < plain.plain
        assert recounted.denoising == plain.denoising  # both branches run at once when measuring
    assert model.vae.dtype == torch.float32
    assert activations(model, group) == plain


def test_conditions_count(pipeline: Path) -> None:
    model, group = loaded(pipeline)
    text = model.encode(["a"])["text"]
    assert count(model, group, {}, prompt="a", last_steps=1).condition == text.numel() * 4


class HasWeights(toy.Contrast):
    """Its network is a thousand numbers."""

    def __init__(self, settings: NoSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.network = torch.nn.Linear(999, 1)


def test_metrics_are_loaded_before_the_free_bytes_are_read(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    monkeypatch.setattr(toy, "Contrast", HasWeights)
    loaded_config = toy.config(workplace, "evaluate.metrics=[toy_contrast]", "rewards=[red]")
    components, plan = engine.prepare(loaded_config, toy.catalog(), print)
    loaded = LoadedModel(loaded_config, components, plan, Reporter(quiet=True))
    counted = count_memory(loaded, plan)

    def free_bytes(device: str) -> int:
        made.extend(1 for kind, name in components._made if (kind, name) == ("metric", "toy_contrast"))
        return 10**9

    monkeypatch.setattr(available, "free_bytes", free_bytes)
    check_memory(loaded, plan)
    assert made == [1]
    bare = count(loaded.model, loaded.group, {}, prompt="a", last_steps=1)
    assert counted.weights == bare.weights + 1000 * 4
    assert work(loaded, plan).prompts == 3  # the same three to train and to measure


def test_only_a_run_that_may_not_fit_is_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "weights").write_bytes(bytes(1000))
    monkeypatch.setattr(available, "free_bytes", lambda device: 20_001)
    assert available.is_small(ModelConfig(), [tmp_path / "weights"], 2, "cpu")
    assert not available.is_small(ModelConfig(), [tmp_path], 3, "cpu")
    assert not available.is_small(ModelConfig(resolution=16), [tmp_path], 1, "cpu")


def test_weights_in_half_precision_take_twice_their_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image at 512 pixels keeps up to four times the weights."""
    (tmp_path / "weights").write_bytes(bytes(1000))
    monkeypatch.setattr(available, "free_bytes", lambda device: 2 * 4 * 2 * 1000)
    assert not available.is_small(ModelConfig(), [tmp_path], 2, "cpu")


def test_every_step_with_gradient_counts(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is not counted is more than what a count finds."""
    changes = toy.config(workplace, "rewards=[red]", "train.last_steps=4", "train.batch_size=4")
    components, plan = engine.prepare(changes, toy.catalog(), print)
    loaded, files = LoadedModel(changes, components, plan, Reporter(quiet=True)), [workplace / "pipeline"]
    free = available.LARGEST * size_of(files) * (4 + 4)  # one step of each image, and the images that are measured
    counted: list[LoadedModel] = []
    monkeypatch.setattr(check, "check_memory", lambda loaded, stages: counted.append(loaded))
    monkeypatch.setattr(available, "free_bytes", lambda device: free + 1)
    engine._check_memory(loaded, files)
    assert counted == [loaded]
    monkeypatch.setattr(available, "free_bytes", lambda device: 4 * free)
    engine._check_memory(loaded, files)
    assert counted == [loaded]


@pytest.mark.slow
def test_a_run_that_does_not_fit_is_refused_before_it_starts(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, "free_bytes", lambda device: 1_000_000)
    with pytest.raises(ConfigError, match=r"GB .*weights.*cpu has 0\.0 GB .*micro_batch=1"):
        toy.run(workplace)
    assert not list((workplace / "runs").rglob("adapter_model.safetensors"))
    assert not list((workplace / "runs").rglob("metrics.json"))
    toy.run(workplace, "check_memory=false")
    assert len(list((workplace / "runs").rglob("adapter_model.safetensors"))) == 2
    toy.run(workplace)  # nothing is left to train


@pytest.mark.slow
def test_the_remedy_is_enough(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(available, "free_bytes", lambda device: 1_000_000)
    with pytest.raises(ConfigError) as error:
        toy.run(workplace)
    changes = [word.rstrip(".") for word in str(error.value).split() if "=" in word and "check_memory" not in word]
    assert changes
    assert toy.run(workplace, *changes).result.status == "finished"


@pytest.mark.slow
def test_explain_says_whether_it_fits(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rilbench_explain.explain import explain

    def told(free: int) -> dict[str, Any]:
        monkeypatch.setattr(available, "free_bytes", lambda device: free)
        loaded = toy.config(workplace)
        found = explain(loaded, *engine.prepare(loaded, toy.catalog(), print))
        return dict(json.loads(json.dumps(found))["memory"])

    enough, little = told(10**9), told(450_000)
    assert enough["fits"]
    assert enough["remedies"] == []
    assert not little["fits"]
    assert little["needed_gb"] == enough["needed_gb"] > little["free_gb"]
    assert any("micro_batch=1" in remedy for remedy in little["remedies"])


@pytest.mark.slow
@pytest.mark.parametrize("error", [torch.OutOfMemoryError("tried 2 GiB"), RuntimeError("can't allocate memory: 2 GiB")])
@pytest.mark.parametrize(
    ("place", "told"),
    [
        (
            "rilbench.training.update.begin_step",
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
