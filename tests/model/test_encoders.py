"""The resize against torch's own, and the encoder against a plain open_clip model."""

from __future__ import annotations

import hashlib
import json
import pickle
import shutil
from pathlib import Path

import open_clip
import pytest
import torch
import torch.nn.functional as F
from helpers import DIM, SIZE, WEIGHTS, clip_config, images, normalised, plain_clip, save_clip
from safetensors.torch import load_file, save_file
from torch import Tensor

from rilbench import ConfigError
from rilbench.encoders import ClipEncoder, check_sha256, read_tensors, resize


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip") / "clip")


@pytest.fixture
def folder(saved: Path, tmp_path: Path) -> Path:
    """A copy that a test may damage."""
    return Path(shutil.copytree(saved, tmp_path / "clip"))


def interpolated(x: Tensor, height: int, width: int) -> Tensor:
    return F.interpolate(x, size=(height, width), mode="bicubic", antialias=True, align_corners=False)


@pytest.mark.parametrize(("old", "new"), [(64, 24), (20, 32), (37, 16), (224, 14)])
@pytest.mark.parametrize("mode", ["square", "pad"])
def test_resize_of_a_square_agrees_with_interpolate(old: int, new: int, mode: str) -> None:
    x = images(2, 3, old, old)
    torch.testing.assert_close(resize(x, new, mode=mode), interpolated(x, new, new), atol=1e-5, rtol=0)


def test_resize_to_the_same_size_changes_nothing() -> None:
    x = images(1, 3, 20, 20)
    assert torch.equal(resize(x, 20), x)
    assert torch.equal(resize(x, 20, mode="pad"), x)


def test_square_resizes_the_short_side_and_crops_the_centre() -> None:
    x = images(1, 3, 40, 21)
    expected = interpolated(x, 20 * 40 // 21, 20)[..., 9:29, :]  # 38 rows
    torch.testing.assert_close(resize(x, 20), expected, atol=1e-5, rtol=0)


def test_pad_resizes_the_long_side_and_puts_zeros_around() -> None:
    x = images(1, 3, 21, 40)
    out = resize(x, 20, mode="pad")
    inside = interpolated(x, round(10.5), 20)  # 10 rows, 5 above and 5 below
    torch.testing.assert_close(out[..., 5:15, :], inside, atol=1e-5, rtol=0)
    assert out.shape == (1, 3, 20, 20)
    assert not out[..., :5, :].any()
    assert not out[..., 15:, :].any()


def test_resize_is_differentiable_even_after_inference_mode() -> None:
    x = images(1, 1, 7, 7, dtype=torch.float64)
    with torch.inference_mode():
        resize(x, 5)
    assert torch.autograd.gradcheck(lambda y: resize(y, 5), x.requires_grad_(True))


def test_encoder_loads_half_weights_as_a_frozen_float32_model(saved: Path) -> None:
    model = ClipEncoder(str(saved)).model
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert not any(p.requires_grad for p in model.parameters())
    assert not model.training
    stored = load_file(saved / WEIGHTS)
    for name, value in model.state_dict().items():
        assert torch.equal(value, stored[name].float()), name


def test_features_equal_a_plain_open_clip_model(saved: Path) -> None:
    encoder, plain = ClipEncoder(str(saved)), plain_clip(saved)
    x, prompts = images(3, 3, SIZE, SIZE), ["a large red circle", "a small blue square on a green background", ""]
    tokens = open_clip.get_tokenizer(f"local-dir:{saved}")(prompts)
    with torch.no_grad():
        torch.testing.assert_close(encoder.image_features(x), plain.encode_image(normalised(x), normalize=True))
        torch.testing.assert_close(encoder.text_features(prompts), plain.encode_text(tokens, normalize=True))
    assert encoder.dim == DIM
    torch.testing.assert_close(encoder.image_features(x).norm(dim=1), torch.ones(3))


def test_a_prompt_is_encoded_once_and_alone(saved: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    encoder, seen = ClipEncoder(str(saved)), []
    encode = encoder.model.encode_text
    monkeypatch.setattr(encoder.model, "encode_text", lambda tokens: seen.append(len(tokens)) or encode(tokens))
    together = encoder.text_features(["a red ring", "a blue star", "a red ring"])
    again = encoder.text_features(["a blue star"])
    assert seen == [1, 1]
    assert torch.equal(together[0], together[2])
    assert torch.equal(again[0], together[1])
    assert not torch.equal(together[0], together[1])
    assert not again.requires_grad


def test_text_features_cached_in_inference_mode_serve_training(saved: Path) -> None:
    encoder, x = ClipEncoder(str(saved)), images(1, 3, SIZE, SIZE).requires_grad_(True)
    with torch.inference_mode():
        encoder.text_features(["a red ring"])
    (encoder.image_features(x) * encoder.text_features(["a red ring"])).sum().backward()
    assert x.grad is not None
    assert x.grad.abs().sum() > 0


@pytest.mark.slow
def test_an_architecture_with_a_weight_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = clip_config(49408)  # open_clip's own tokenizer
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, "tiny-test", config)
    model = open_clip.CLIP(**config).eval()
    torch.save({"state_dict": model.state_dict()}, tmp_path / "weights.pt")
    encoder = ClipEncoder("tiny-test", str(tmp_path / "weights.pt"))
    x = images(2, 3, SIZE, SIZE)
    mean, std = torch.tensor(open_clip.OPENAI_DATASET_MEAN), torch.tensor(open_clip.OPENAI_DATASET_STD)
    with torch.no_grad():
        expected = model.encode_image((x - mean[:, None, None]) / std[:, None, None], normalize=True)
    torch.testing.assert_close(encoder.image_features(x), expected)


def refused(match: str, *arguments: str | None, **options: str) -> None:
    with pytest.raises(ConfigError, match=match) as caught:
        ClipEncoder(*arguments, **options)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)


def test_names_that_mean_nothing_are_refused(saved: Path, tmp_path: Path) -> None:
    refused("neither a folder nor an open_clip architecture. Did you mean 'ViT-H-14'", "ViT-H14")
    refused("clip: .*neither a folder", str(tmp_path / "nowhere"), setting="clip")
    refused("no_such_package", "package:no_such_package/clip")
    refused("ViT-H-14 needs `pretrained`", "ViT-H-14")
    refused(r"no weight file at .*weights\.pt", "ViT-H-14", str(tmp_path / "weights.pt"))
    refused("Did you mean 'laion2b_s32b_b79k'", "ViT-H-14", "laion2b_s32b_b79")
    refused("remove `pretrained`", str(saved), "laion2b_s32b_b79k")
    refused("unknown fit 'sqare'. Did you mean 'square'", str(saved), fit="sqare")
    with pytest.raises(ConfigError, match="unknown fit"):
        resize(images(1, 3, 8, 8), 4, mode="crop")


def test_a_folder_without_its_parts_is_refused(folder: Path) -> None:
    weights = (folder / WEIGHTS).read_bytes()
    (folder / WEIGHTS).write_bytes(weights[: len(weights) // 2])
    refused(f"model: cannot load {folder} .*SafetensorError", str(folder))
    (folder / WEIGHTS).unlink()
    refused("cannot load .*could not be loaded", str(folder))
    (folder / WEIGHTS).write_bytes(weights)
    ClipEncoder(str(folder))  # whole again
    (folder / "open_clip_config.json").write_text("{")
    refused("cannot load", str(folder))
    (folder / "open_clip_config.json").unlink()
    refused("has no open_clip_config.json", str(folder))


def test_a_folder_without_tokenizer_is_refused(folder: Path) -> None:
    for file in folder.iterdir():
        if file.name not in (WEIGHTS, "open_clip_config.json"):
            file.unlink()
    refused("cannot load", str(folder))


@pytest.mark.parametrize("change", ["missing", "extra", "shape"])
def test_weights_are_loaded_strictly(folder: Path, change: str) -> None:
    state = load_file(folder / WEIGHTS)
    if change == "missing":
        del state["visual.proj"]
    elif change == "extra":
        state["visual.other"] = torch.zeros(1)
    else:
        state["visual.proj"] = state["visual.proj"][:, :-1].contiguous()
    save_file(state, folder / WEIGHTS)
    refused(r"visual\.", str(folder))


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("bomb"),)


def test_pickled_code_does_not_run(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (folder / WEIGHTS).unlink()
    for file in (folder / "open_clip_pytorch_model.bin", tmp_path / "head.pth"):
        torch.save({"state_dict": Bomb()}, file)
    assert pickle.dumps(Bomb())  # the bomb itself is sound
    refused("UnpicklingError", str(folder))
    with pytest.raises(ConfigError, match=r"head: cannot read .*UnpicklingError"):
        read_tensors(str(tmp_path / "head.pth"), "head")
    assert not Path("bomb").exists()


def test_only_square_models(folder: Path) -> None:
    config = json.loads((folder / "open_clip_config.json").read_text())
    config["model_cfg"]["vision_cfg"]["image_size"] = [16, 64]  # as many patches
    (folder / "open_clip_config.json").write_text(json.dumps(config))
    refused("only square", str(folder))


def test_read_tensors_refuses_other_contents(tmp_path: Path) -> None:
    torch.save([1, 2], tmp_path / "list.pth")
    for name, match in {"list.pth": "dictionary of tensors", "gone.pth": "head: no file at"}.items():
        with pytest.raises(ConfigError, match=match):
            read_tensors(str(tmp_path / name), "head")


def test_sha256(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"weights")
    check_sha256(file, hashlib.sha256(b"weights").hexdigest().upper())
    with pytest.raises(ConfigError, match="download it again"):
        check_sha256(file, "0" * 64)
    with pytest.raises(ConfigError, match="no file at"):
        check_sha256(tmp_path / "gone", "0" * 64)


def test_sha256_of_a_model(folder: Path) -> None:
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    ClipEncoder(str(folder), sha256=digest)
    refused("expected 000", str(folder), sha256="0" * 64)
    refused("not a local file", "hf-hub:someone/something", sha256=digest)
    shutil.copy(folder / WEIGHTS, folder / "model.safetensors")
    refused("2 weight files", str(folder), sha256=digest)
