"""Memory before the first step: weights that do not fit are not loaded, and running out of it is told, not shown."""

from __future__ import annotations

import importlib
import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_pipelines
import torch
import toy

from rilbench.contracts.errors import ConfigError, MemoryFullError
from rilbench.engine import run as engine
from rilbench.engine.budget import available, check
from rilbench.engine.budget.weights import check_weights, weight_bytes
from rilbench.engine.progress import Reporter
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage
from rilbench_explain import explain as explaining
from rilbench_explain.explain import explain
from rilbench_explain.view import show

main = importlib.import_module("rilbench.cli.main")
FULL = [torch.OutOfMemoryError("tried 2 GiB"), MemoryError(), RuntimeError("CUDA error: out of memory")]


@pytest.mark.slow
@pytest.mark.parametrize("family", ["latent_consistency", "stable_diffusion_3", "flux"])
def test_the_bytes_of_the_files_are_those_of_the_loaded_parts(family: str, tmp_path: Path) -> None:
    folder = tiny_pipelines.save(family, tmp_path / "pipeline")
    shutil.copytree(folder / "vae", folder / "vae_1_0")  # no part of the pipeline
    shutil.copy(
        folder / "vae/diffusion_pytorch_model.safetensors", folder / "vae/diffusion_pytorch_model.fp16.safetensors"
    )
    for precision in ("fp32", "bf16"):
        config = ModelConfig(path=str(folder), precision=precision, device="cpu", resolution=16)
        parts = TextToImage.load(config).backbone.parts
        loaded = {t.data_ptr(): t.nbytes for part in parts for t in part.state_dict().values()}
        assert weight_bytes(config) == sum(loaded.values())


def test_a_damaged_pipeline_is_left_to_loading(workplace: Path) -> None:
    config = ModelConfig(path=f"{workplace}/pipeline")
    assert weight_bytes(config) > 0
    (workplace / "pipeline/unet/diffusion_pytorch_model.safetensors").write_bytes(b"no weights")
    assert weight_bytes(config) == 0


@pytest.mark.parametrize(
    ("free", "told"),
    [
        ({"cuda": 0.7, "cuda:0": 0.7, "cpu": 0.9}, "set model.precision=bf16"),
        ({"cuda": 0.7, "cuda:0": 0.7, "cpu": 1.1}, "set model.device=cpu or set model.precision=bf16"),
        ({"cuda": 0.4, "cuda:0": 0.4, "cpu": 1.1}, "set model.device=cpu"),
        ({"cuda": 0.4, "cuda:0": 0.4, "cpu": 0.7}, "set model.precision=bf16 model.device=cpu"),
        ({"cuda": 0.4, "cuda:0": 0.4, "cpu": 0.4}, "free memory of cuda"),
    ],
)
def test_what_would_help(pipeline: Path, free: dict[str, float], told: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shares of the weights in fp32 that are free."""
    config = ModelConfig(path=str(pipeline))
    whole = weight_bytes(config)
    assert 0.6 < weight_bytes(replace(config, precision="bf16")) / whole < 0.7  # the autoencoder stays in fp32
    monkeypatch.setattr(available, "free_bytes", lambda device: int(free[device] * whole))
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    with pytest.raises(ConfigError, match=rf"take 0\.0 GB in fp32, cuda has 0\.0 GB free: {told}.*check_memory=false"):
        check_weights(config, "cuda")
    monkeypatch.setattr(available, "free_bytes", lambda device: whole)
    check_weights(config, "cuda")


def run(folder: Path, *changes: str) -> engine.Outcome:
    loaded = toy.config(folder, "rewards=[red]", "train.samples=2", *changes)
    return engine.run(loaded, catalog=toy.catalog(), reporter=Reporter(quiet=True))


def explained(folder: Path, *changes: str) -> dict[str, Any]:
    loaded = toy.config(folder, "rewards=[red]", *changes)
    return explain(loaded, *engine.prepare(loaded, toy.catalog(), print))


def refuse(error: Exception) -> Callable[..., Any]:
    def full(*arguments: Any, **options: Any) -> Any:
        raise error

    return full


@pytest.mark.parametrize("start", [run, explained])
def test_weights_that_do_not_fit_are_not_loaded(
    start: Callable[..., Any], workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(available, "free_bytes", lambda device: 1000)
    monkeypatch.setattr(TextToImage, "load", refuse(AssertionError("it was loaded")))
    with pytest.raises(ConfigError, match=r"weights of .*/pipeline .*cpu"):
        start(workplace)
    with pytest.raises(AssertionError, match="it was loaded"):
        start(workplace, "check_memory=false")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("place", "told"),
    [
        (
            "rilbench.engine.loaded_model.TextToImage.load",
            r"loading the model\. .*; set model.precision=bf16, or choose another",
        ),
        ("toy.Redness.__init__", r"loading rewards and metrics\. .*; set model.precision=bf16, or choose another"),
        (
            "rilbench.engine.budget.check.count",
            r"trying one image\. .*; .* lower model.resolution, or set model.precision=bf16",
        ),
        (
            "rilbench_explain.explain.measure",
            r"timing a forward pass\. .*; .* lower model.resolution, or set model.precision=bf16",
        ),
    ],
)
@pytest.mark.parametrize("error", FULL)
def test_running_out_of_memory_before_the_first_step(
    place: str, told: str, error: Exception, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(place, refuse(error))
    with pytest.raises(MemoryFullError, match=f"cpu ran out of memory {told}") as raised:
        explained(workplace)
    assert raised.value.__cause__ is error
    monkeypatch.setattr(available, "is_small", lambda *arguments: False)
    if "explain" not in place:
        with pytest.raises(MemoryFullError, match=f"cpu ran out of memory {told}"):
            run(workplace)


def test_in_half_precision_half_precision_is_no_remedy() -> None:
    half = ModelConfig(precision="bf16")
    assert available.elsewhere(half) == "choose another model.device"
    assert "bf16" not in check.hopeless(half)
    assert "model.precision=bf16" in check.hopeless(replace(half, precision="fp32"))


@pytest.mark.slow
def test_explain_times_as_many_images_as_fit(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    probed: list[int] = []
    measure = explaining.measure

    def noted(model: TextToImage, images: int) -> Any:
        probed.append(images)
        return measure(model, images)

    monkeypatch.setattr(explaining, "measure", noted)
    monkeypatch.setattr("rilbench.engine.budget.memory.Memory.evaluation", lambda self, images, slicing: images * 10**6)
    for free in (10**9, 2_500_000):
        monkeypatch.setattr(available, "free_bytes", lambda device, free=free: free)
        assert explained(workplace)["estimate"]["seconds"] > 0
    assert probed == [4, 2]


@pytest.mark.slow
def test_explain_times_nothing_when_nothing_fits(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(available, "free_bytes", lambda device: 1)
    monkeypatch.setattr(TextToImage, "rollout", refuse(AssertionError("it was tried")))
    told = explained(workplace, "check_memory=false")
    assert not told["memory"]["fits"]
    assert math.isnan(told["estimate"]["seconds"])
    assert "one image fits" in told["estimate"]["how"]
    capsys.readouterr()
    show(told)
    assert "about ? s on cpu (unknown: not even one image" in capsys.readouterr().out
    assert "NaN" in json.dumps(told)  # null where `rilbench explain --json` prints it


@pytest.mark.parametrize("error", FULL)
def test_a_command_out_of_memory_shows_no_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    monkeypatch.setattr(main, "app", refuse(error))
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 1
    assert capsys.readouterr().err.startswith("error: out of memory: use smaller batches")


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signal.signal", lambda *arguments: None)
    monkeypatch.setattr(main, "app", refuse(RuntimeError("shapes do not match")))
    with pytest.raises(RuntimeError, match="shapes do not match"):
        main.main()
