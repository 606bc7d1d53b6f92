"""Files of the Hub's cache are checked when they are used, and hashed again only after they changed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from helpers import clip_config, save_pickscore
from huggingface_hub import constants
from inception_weights import save_inception
from read_only import closed
from safetensors.torch import save_file
from web import git_hash

import rilbench_metrics.extractors
from rilbench import ConfigError, NeededFile
from rilbench.encoders import ClipEncoder
from rilbench.files import hub
from rilbench.files.published import cache, fault_of, place_of
from rilbench.model.config import ModelConfig
from rilbench.model.loading import load_backbone
from rilbench_metrics.extractors import ExtractorSettings, make_extractor
from rilbench_pickscore import PickScore, PickScoreSettings

COMMIT = "d" * 40
REFUSED = r"{}.* has sha256 .*, the Hub says .* It came from hub:some/thing/.*; get it again with: rilbench fetch"


@pytest.fixture(autouse=True)
def hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Empty caches; answers the files that are hashed."""
    monkeypatch.setenv("RILBENCH_CACHE", str(tmp_path / "urls"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    paths: list[Path] = []
    digest = hub._digest.__wrapped__

    @lru_cache
    def counted(path: Path, *facts: Any) -> str:
        paths.append(path.resolve())
        return digest(path, *facts)

    monkeypatch.setattr(hub, "_digest", counted)
    return paths


def in_hub_cache(tmp_path: Path, folder: Path) -> None:
    """The folder as some/thing: large files under their sha256, small ones under git's hash."""
    repo = tmp_path / "hub" / "models--some--thing"
    (repo / "blobs").mkdir(parents=True)
    (repo / "refs").mkdir()
    (repo / "refs" / "main").write_text(COMMIT)
    for path in filter(Path.is_file, folder.rglob("*")):
        contents = path.read_bytes()
        large = path.suffix == ".safetensors"
        blob = repo / "blobs" / (hashlib.sha256(contents).hexdigest() if large else git_hash(contents))
        blob.write_bytes(contents)
        link = repo / "snapshots" / COMMIT / path.relative_to(folder)
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)


def flip(file: Path) -> None:
    """One bit of the last byte, which is a weight's."""
    contents = file.read_bytes()
    file.write_bytes(contents[:-1] + bytes([contents[-1] ^ 1]))


def clip(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-test", clip_config(49408))
    tag = {"hf_hub": "some/thing/", "url": "", "quick_gelu": False}
    monkeypatch.setitem(open_clip.pretrained._PRETRAINED, "tiny-test", {"some_tag": tag})
    state = open_clip.CLIP(**clip_config(49408)).state_dict()
    (tmp_path / "clip").mkdir()
    save_file({k: v.contiguous() for k, v in state.items()}, tmp_path / "clip" / "open_clip_model.safetensors")
    in_hub_cache(tmp_path, tmp_path / "clip")
    return lambda: ClipEncoder("tiny-test", "some_tag")


def pickscore(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], Any]:
    save_pickscore(tmp_path / "pickscore")
    in_hub_cache(tmp_path, tmp_path / "pickscore")
    return lambda: PickScore(PickScoreSettings("some/thing", str(tmp_path / "pickscore")))


@pytest.fixture
def model(tmp_path: Path, pipeline: Path) -> ModelConfig:
    in_hub_cache(tmp_path, pipeline)
    return ModelConfig(path="some/thing", device="cpu")


def weights(tmp_path: Path, name: str) -> Path:
    return tmp_path / "hub" / "models--some--thing" / "snapshots" / COMMIT / name


def test_a_changed_model_is_refused(model: ModelConfig, tmp_path: Path) -> None:
    load_backbone(model)
    file = weights(tmp_path, "unet/diffusion_pytorch_model.safetensors")
    flip(file)
    with pytest.raises(ConfigError, match=REFUSED.format(file)):
        load_backbone(model)


@pytest.mark.parametrize(("make", "name"), [(clip, "open_clip_model.safetensors"), (pickscore, "model.safetensors")])
def test_changed_weights_of_a_reward_are_refused(
    make: Callable[..., Callable[[], Any]], name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    load = make(tmp_path, monkeypatch)
    load()
    flip(weights(tmp_path, name))
    with pytest.raises(ConfigError, match=REFUSED.format(name)):
        load()


def test_a_missing_file_of_the_model_is_named(model: ModelConfig, tmp_path: Path) -> None:
    weights(tmp_path, "vae/diffusion_pytorch_model.safetensors").unlink()
    with pytest.raises(ConfigError, match=r"missing files: vae/diffusion_pytorch_model\.safetensors of hub:some/thing"):
        load_backbone(model)


@pytest.mark.slow
def test_what_was_found_right_is_hashed_once(model: ModelConfig, tmp_path: Path, hashed: list[Path]) -> None:
    def run() -> list[Path]:
        """What a new process hashes."""
        hashed.clear()
        hub._digest.cache_clear()
        load_backbone(model)
        return list(hashed)

    first = run()
    file = weights(tmp_path, "unet/diffusion_pytorch_model.safetensors").resolve()
    assert file in first
    assert len(first) == len(set(first)) > 5
    assert run() == []
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1))
    assert run() == [file]
    assert run() == []
    shutil.rmtree(tmp_path / "urls" / "checked")
    assert sorted(run()) == sorted(first)


def test_marks_that_cannot_be_read_cost_a_hash_only(model: ModelConfig, tmp_path: Path, hashed: list[Path]) -> None:
    """The cache of another user, for example."""
    load_backbone(model)
    hashed.clear()
    hub._digest.cache_clear()
    with closed(tmp_path / "urls" / "checked"):
        load_backbone(model)
    assert len(hashed) > 5


def test_fetch_hashes_whatever_is_remembered(model: ModelConfig, hashed: list[Path]) -> None:
    """`rilbench fetch --check` finds a bit that fell over on the disk, which changes no time."""
    load_backbone(model)
    file = NeededFile("hub:some/thing/unet/diffusion_pytorch_model.safetensors")
    hashed.clear()
    hub._digest.cache_clear()
    assert fault_of(file) is None
    assert hashed == [place_of(file).resolve()]


def test_a_folder_that_cannot_be_written_costs_a_hash_only(
    model: ModelConfig, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hashed: list[Path]
) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("RILBENCH_CACHE", str(tmp_path / "file" / "below"))
    load_backbone(model)
    first = list(hashed)
    hashed.clear()
    hub._digest.cache_clear()  # as in a new process
    load_backbone(model)
    assert hashed == first
    assert len(first) > 5


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("bomb"),)


@pytest.mark.slow
def test_inception_is_made_of_the_tensors_that_were_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that changes behind our back is not read a second time, and its code does not run."""
    monkeypatch.chdir(tmp_path)
    file = save_inception(tmp_path / "inception.pth")
    sound = Path(shutil.copy(file, tmp_path / "sound.pth"))
    read = rilbench_metrics.extractors.read_tensors

    def read_and_swap(path: str, setting: str) -> dict[str, torch.Tensor]:
        tensors = read(path, setting)
        torch.save({"fc.weight": Bomb()}, file)
        return tensors

    monkeypatch.setattr(rilbench_metrics.extractors, "read_tensors", read_and_swap)
    swapped = make_extractor(ExtractorSettings("inception", pretrained=str(file)), "cpu")
    monkeypatch.undo()
    assert not (tmp_path / "bomb").exists()
    assert swapped.label == make_extractor(ExtractorSettings("inception", pretrained=str(sound)), "cpu").label


def test_the_cache_is_in_the_user_s_cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RILBENCH_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert cache() == tmp_path / "xdg" / "rilbench"
    monkeypatch.setenv("RILBENCH_CACHE", str(tmp_path / "own"))
    assert cache() == tmp_path / "own"
