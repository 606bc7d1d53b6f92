"""Models of the Hub load from its cache alone: not a single connection is tried, with HF_HUB_OFFLINE set or not."""

from __future__ import annotations

import hashlib
import json
import socket
from pathlib import Path
from typing import Any, NoReturn

import blip_reference as blip
import open_clip
import pytest
import torch
from helpers import SIZE, clip_config, images, save_pickscore
from huggingface_hub import constants
from safetensors.torch import save_file

from rilbench import ConfigError
from rilbench.encoders import ClipEncoder, clip_files
from rilbench.files.published import fault_of
from rilbench_imagereward import ImageReward, ImageRewardSettings
from rilbench_pickscore import PickScore, PickScoreSettings

COMMIT = "a" * 40


@pytest.fixture(params=[True, False], ids=["offline", "online"])
def attempts(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Connections that were tried; none succeeds."""
    monkeypatch.setenv("RILBENCH_CACHE", str(tmp_path / "urls"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", request.param)
    tried: list[Any] = []

    def refuse(*arguments: Any, **options: Any) -> NoReturn:
        tried.append(arguments)
        raise OSError("the network is blocked")

    for owner, name in ((socket.socket, "connect"), (socket.socket, "connect_ex"), (socket, "getaddrinfo")):
        monkeypatch.setattr(owner, name, refuse)
    return tried


def into_cache(tmp_path: Path, repo: str, files: dict[str, bytes], revision: str = COMMIT) -> None:
    """What the Hub's client leaves of a download."""
    folder = tmp_path / "hub" / f"models--{repo.replace('/', '--')}"
    for name, contents in files.items():
        blob = folder / "blobs" / hashlib.sha256(contents).hexdigest()
        blob.parent.mkdir(parents=True, exist_ok=True)
        blob.write_bytes(contents)
        link = folder / "snapshots" / COMMIT / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(blob)
    (folder / "refs").mkdir(exist_ok=True)
    (folder / "refs" / revision).write_text(COMMIT)


def read(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def words_of(tokenizer: bytes) -> dict[str, bytes]:
    """The files a tokenizer of CLIP on the Hub has besides tokenizer.json."""
    model = json.loads(tokenizer)["model"]
    merges = "\n".join(
        ["#version: 0.2", *(pair if isinstance(pair, str) else " ".join(pair) for pair in model["merges"])]
    )
    return {
        "vocab.json": json.dumps(model["vocab"]).encode(),
        "merges.txt": merges.encode(),
        "special_tokens_map.json": b"{}",
    }


def test_pickscore(attempts: list[Any], tmp_path: Path) -> None:
    save_pickscore(tmp_path / "pickscore")
    files = read(tmp_path / "pickscore")
    settings = PickScoreSettings(model=f"some/model@{COMMIT}", processor="some/words")
    with pytest.raises(ConfigError, match=r"missing files: config\.json of hub:some/model/config\.json@aaa"):
        PickScore(settings)
    into_cache(tmp_path, "some/model", {name: files[name] for name in ("config.json", "model.safetensors")})
    words = {name: files[name] for name in ("tokenizer.json", "tokenizer_config.json")}
    into_cache(tmp_path, "some/words", words | words_of(files["tokenizer.json"]), revision="main")
    assert all(fault_of(file) is None for file in PickScore.files(settings))
    cached, local = PickScore(settings), PickScore(PickScoreSettings(f"{tmp_path}/pickscore", f"{tmp_path}/pickscore"))
    x, prompts = images(2, 3, 20, 20), ["a large red circle", "a small blue square"]
    assert torch.equal(cached(x, prompts), local(x, prompts))
    assert attempts == []


def test_imagereward(attempts: list[Any], tmp_path: Path) -> None:
    blip.save_config(tmp_path / "med_config.json", blip.TINY)
    torch.save(blip.checkpoint(blip.TINY), tmp_path / "ImageReward.pt")
    blip.save_tokenizer(tmp_path / "words")
    contents = (tmp_path / "ImageReward.pt").read_bytes()
    weights = f"hub:some/reward/ImageReward.pt@{COMMIT}#sha256={hashlib.sha256(contents).hexdigest()}"
    settings = ImageRewardSettings(weights, f"{tmp_path}/med_config.json", f"some/words@{COMMIT}")
    into_cache(tmp_path, "some/reward", {"ImageReward.pt": contents})
    with pytest.raises(ConfigError, match=r"missing files: tokenizer\.json of hub:some/words"):
        ImageReward(settings)
    into_cache(tmp_path, "some/words", read(tmp_path / "words") | {"vocab.txt": "\n".join(blip.WORDS).encode()})
    assert all(fault_of(file) is None for file in ImageReward.files(settings))
    assert torch.isfinite(ImageReward(settings)(images(1, 3, 32, 32), ["a large red circle"])).all()
    assert attempts == []


def test_a_tag_of_open_clip(attempts: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the tag's own preprocessing, and refused when the architecture has the other activation."""
    mean, std = (0.1, 0.2, 0.3), (0.5, 0.6, 0.7)
    tag = {"hf_hub": "some/clip.tag/", "url": "", "mean": mean, "std": std, "quick_gelu": True}
    for name, quick in (("tiny-test-quickgelu", True), ("tiny-test", False)):
        monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, name, clip_config(49408) | {"quick_gelu": quick})
        monkeypatch.setitem(open_clip.pretrained._PRETRAINED, name, {"some_tag": tag})
    (file,) = clip_files("tiny-test-quickgelu", "some_tag")
    assert file.source == "hub:some/clip.tag/open_clip_model.safetensors@main"
    with pytest.raises(ConfigError, match=r"open_clip_model\.safetensors of hub:some/clip\.tag.* rilbench fetch"):
        ClipEncoder("tiny-test-quickgelu", "some_tag")
    model = open_clip.CLIP(**clip_config(49408), quick_gelu=True).eval()
    save_file({k: v.contiguous() for k, v in model.state_dict().items()}, tmp_path / "weights")
    into_cache(tmp_path, "some/clip.tag", {"open_clip_model.safetensors": (tmp_path / "weights").read_bytes()}, "main")
    assert fault_of(file) is None
    encoder, x = ClipEncoder("tiny-test-quickgelu", "some_tag"), images(2, 3, SIZE, SIZE)
    pixels = (x - torch.tensor(mean)[:, None, None]) / torch.tensor(std)[:, None, None]
    with torch.no_grad():
        torch.testing.assert_close(encoder.image_features(x), model.encode_image(pixels, normalize=True))
    with pytest.raises(ConfigError, match="another activation than the weights 'some_tag'; use tiny-test-quickgelu"):
        ClipEncoder("tiny-test", "some_tag")
    assert attempts == []


def test_openais_weights_are_on_the_hub_in_safetensors() -> None:
    (file,) = clip_files("ViT-L-14-quickgelu", "openai")
    assert file.source == "hub:timm/vit_large_patch14_clip_224.openai/open_clip_model.safetensors@main"
    assert clip_files("package:rilbench_shapes/weights/clip", None) == []
    assert clip_files("ViT-H-14", "data/HPS_v2_compressed.pt") == []
