"""Evaluation images go to their file a batch at a time, and only where a metric compares with them."""

from __future__ import annotations

import resource
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import toy
from safetensors.torch import load_file

from rilbench.contracts.components import NoSettings
from rilbench.contracts.errors import DamagedError, RilbenchError
from rilbench.contracts.prompt import Prompt
from rilbench.evaluation import evaluate as evaluation
from rilbench.evaluation.config import EvaluateConfig
from rilbench.evaluation.images import KeptImages, written
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage
from rilbench_metrics.structure import Structure

SHORT = ("rewards=[red]", "train.samples=2")
PROMPTS = ["a red square", "a blue circle"]


def pixels(count: int, side: int) -> torch.Tensor:
    return torch.randint(256, (count, 3, side, side), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("side", [4, 5])
def test_a_file_in_batches_is_the_file_in_one(tmp_path: Path, side: int) -> None:
    images = pixels(7, side)
    with written(tmp_path / "new" / "images.safetensors", 7) as add:
        for batch in images.split(3):
            add(batch)
        assert not (tmp_path / "new" / "images.safetensors").exists()
    assert torch.equal(load_file(tmp_path / "new" / "images.safetensors")["images"], images)
    assert len(list((tmp_path / "new").iterdir())) == 1


def test_a_failure_leaves_nothing(tmp_path: Path) -> None:
    def interrupted() -> None:
        with written(tmp_path / "images.safetensors", 7) as add:
            add(pixels(3, 4))
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert not list(tmp_path.iterdir())


def test_an_error_of_the_evaluation_is_not_one_of_the_file(tmp_path: Path) -> None:
    def reported() -> None:
        with written(tmp_path / "images.safetensors", 7) as add:
            add(pixels(3, 4))
            raise BrokenPipeError("stderr is closed")

    with pytest.raises(BrokenPipeError):
        reported()
    assert not list(tmp_path.iterdir())


def test_an_image_that_changed_on_the_disk_is_not_given_for_the_one_that_was_written(tmp_path: Path) -> None:
    file = tmp_path / "images.safetensors"
    with written(file, 7) as add:
        add(pixels(7, 4))
    assert torch.equal(KeptImages(file, 7)[2:5], pixels(7, 4)[2:5])
    with pytest.raises(DamagedError, match="8 images"):
        KeptImages(file, 8)
    data = bytearray(file.read_bytes())
    data[-1] ^= 1  # in the last image
    file.write_bytes(data)
    with pytest.raises(DamagedError, match=r"images\.safetensors .*damaged.*checksum"):
        KeptImages(file, 7)


@contextmanager
def files_of_at_most(size: int) -> Iterator[None]:
    """Within: a write beyond so many bytes fails, as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.slow
@pytest.mark.parametrize("limit", [0, 500])
def test_a_disk_that_fills_up_is_one_clear_error(tmp_path: Path, limit: int) -> None:
    """In the header or in the images, at a write or when what was buffered is written."""

    def write() -> None:
        with files_of_at_most(limit), written(tmp_path / "images.safetensors", 4) as add:
            for _ in range(4):
                add(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))

    with pytest.raises(RilbenchError, match=r"cannot write .*images\.safetensors: .*File too large"):
        write()
    assert not list(tmp_path.iterdir())


def test_a_disk_without_room_is_told_at_the_first_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: SimpleNamespace(free=10_000 * 3 * 1024 * 1024 - 1))
    file = tmp_path / "images.safetensors"
    told = r"images.safetensors: 10000 images take 31.5 GB, the disk has 31.5 GB free. .*store="
    with pytest.raises(RilbenchError, match=told), written(file, 10_000) as add:
        add(pixels(1, 1024))
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_images_are_kept_for_metrics_that_need_them(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def files() -> list[Path]:
        return list((workplace / "runs").rglob("images.safetensors"))

    toy.run(workplace, *SHORT, "evaluate.metrics=[toy_contrast]")
    assert files() == []
    made: list[torch.Tensor] = []
    convert = evaluation.to_pixels

    def noted(images: torch.Tensor) -> torch.Tensor:
        made.append(convert(images))
        return made[-1]

    monkeypatch.setattr(evaluation, "to_pixels", noted)
    toy.run(workplace, *SHORT, "evaluate.metrics=[likeness]")
    (file,) = files()
    assert torch.equal(load_file(file)["images"], torch.cat(made[:2]))  # of the base: 3 prompts x 2, 4 at a time


def test_the_structure_of_the_untouched_model_is_exactly_1(pipeline: Path) -> None:
    """Both images of a comparison are in 8 bits: those of the model, and the base model's that were kept."""
    model = TextToImage.load(ModelConfig(path=str(pipeline), device="cpu", steps=2))
    prompts = [Prompt(text) for text in PROMPTS]
    config = EvaluateConfig(images_per_prompt=3, batch_size=4)
    kept: list[torch.Tensor] = []

    def measured(base: torch.Tensor | None) -> evaluation.Evaluation:
        metrics = {"structure": Structure(NoSettings())}
        return evaluation.evaluate(
            model, prompts, metrics, config, origin=evaluation.LOADED, base_images=base, keep=kept.append
        )

    assert measured(None).values["structure"] == 1
    base = torch.cat(kept)
    assert base.dtype == torch.uint8
    assert measured(base).scores["structure"].eq(1).all()
    assert measured(base.bitwise_xor(1)).values["structure"] < 1  # the last bit counts
