"""`rilbench reference` against numpy and torchvision, and statistics of another extractor refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torchvision.transforms as T
from helpers import SIZE, images, normalised, plain_clip, save_clip
from inception_weights import save_inception
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from typer.testing import CliRunner

from rilbench import ConfigError
from rilbench.cli.main import app
from rilbench.files.published import is_present
from rilbench_metrics.extractors import ExtractorSettings, make_extractor
from rilbench_metrics.feature_sets import FeatureSettings
from rilbench_metrics.fid import FID
from rilbench_metrics.reference import Moments, read_image


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip") / "clip")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Seven images of two sizes, one in a folder of its own, and a file that is none."""
    folder = tmp_path / "val"
    (folder / "more").mkdir(parents=True)
    sizes = [(SIZE, SIZE)] * 4 + [(40, 50)] * 2
    for i, (height, width) in enumerate(sizes):
        save(images(3, height, width, seed=i), folder / f"{i}.png")
    save(images(3, SIZE, SIZE, seed=9), folder / "more" / "x.PNG")
    (folder / "captions.json").write_text("{}")
    return folder


def save(x: torch.Tensor, file: Path) -> None:
    Image.fromarray((x * 255).round().to(torch.uint8).permute(1, 2, 0).numpy()).save(file)


def test_moments_agree_with_numpy_even_far_from_zero() -> None:
    generator = np.random.default_rng(0)
    features = 1e4 + generator.normal(size=(53, 6)) @ generator.normal(size=(6, 6))
    moments = Moments(6)
    for part in (features[:1], features[1:20], features[20:53]):
        moments.add(torch.from_numpy(part))
    assert moments.n == 53
    np.testing.assert_allclose(moments.mean.numpy(), features.mean(0), rtol=1e-13)
    np.testing.assert_allclose(moments.cov.numpy(), np.cov(features, rowvar=False), rtol=1e-10)


@pytest.mark.parametrize(("width", "height"), [(50, 40), (33, 47), (20, 20), (65, 20)])
def test_images_are_resized_and_cropped_as_torch_fidelity_does(tmp_path: Path, width: int, height: int) -> None:
    save(images(3, height, width), tmp_path / "image.png")
    expected = T.Compose([T.Resize(20), T.CenterCrop(20), T.PILToTensor()])(Image.open(tmp_path / "image.png"))
    assert torch.equal((read_image(tmp_path / "image.png", 20) * 255).round().byte(), expected)
    assert read_image(tmp_path / "image.png", 0).shape == (3, height, width)


def reference(*arguments: str) -> Any:
    return CliRunner().invoke(app, ["reference", *arguments])


def through(clip: Path) -> tuple[str, str]:
    """The settings that choose an extractor."""
    return "metric_settings.fid.extractor=clip", f"metric_settings.fid.model={clip}"


@pytest.mark.slow
def test_the_command_writes_what_numpy_computes(clip: Path, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "stats" / "val.safetensors"
    done = reference(
        str(folder),
        *through(clip),
        "--output",
        str(output),
        "--batch-size",
        "3",
        "--json",
    )
    assert done.exit_code == 0, done.output
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".png", ".PNG"))
    rows = []
    for file in files:
        x = torch.from_numpy(np.array(Image.open(file))).permute(2, 0, 1)[None] / 255
        x = T.functional.center_crop(T.functional.resize(x, SIZE, T.InterpolationMode.BICUBIC, antialias=True), SIZE)
        with torch.no_grad():
            rows.append(plain_clip(clip).encode_image(normalised(x), normalize=True)[0].double().numpy())
    features = np.stack(rows)
    stored = load_file(output)
    assert stored["n"].item() == len(files) == 7
    np.testing.assert_allclose(stored["mean"].numpy(), features.mean(0), atol=1e-6)
    np.testing.assert_allclose(stored["cov"].numpy(), np.cov(features, rowvar=False), atol=1e-6)
    with safe_open(output, framework="pt") as tensors:
        record = tensors.metadata()
    assert json.loads(done.stdout) == {"file": str(output), **record, "images": 7}
    assert (record["images"], record["resize"]) == ("7", "none")
    assert record["extractor"] == make_extractor(ExtractorSettings("clip", str(clip)), "cpu").label


def test_fid_takes_its_own_extractors_statistics_only(clip: Path, folder: Path, tmp_path: Path) -> None:
    output = tmp_path / "val.safetensors"
    done = reference(
        str(folder),
        *through(clip),
        "--output",
        str(output),
        "--size",
        "24",
    )
    assert done.exit_code == 0, done.output
    assert "short side to 24, centre crop" in done.stdout
    FID(FeatureSettings(extractor="clip", model=str(clip), reference=str(output)))
    other = save_clip(tmp_path / "other", seed=1)
    with pytest.raises(
        ConfigError, match=r"was made with the extractor clip-square-32 \w{64}, configured is clip-square-32"
    ):
        FID(FeatureSettings(extractor="clip", model=str(other), reference=str(output)))
    save_file(load_file(output), tmp_path / "unsigned.safetensors")  # statistics that record no extractor
    FID(FeatureSettings(extractor="clip", model=str(other), reference=str(tmp_path / "unsigned.safetensors")))


def test_the_reference_is_where_the_configuration_has_it(clip: Path, folder: Path, tmp_path: Path) -> None:
    place = tmp_path / "data" / "coco.safetensors"
    (needed,) = FID.files(FeatureSettings(extractor="clip", model=str(clip), reference=str(place)))
    assert not is_present(needed)
    assert "rilbench reference FOLDER" in needed.made_by
    done = reference(
        str(folder),
        *through(clip),
        f"metric_settings.fid.reference={place}",
    )
    assert done.exit_code == 0, done.output
    assert is_present(needed)
    assert FID.files(FeatureSettings()) == []  # the embedded benchmark's own


def test_mistakes_are_told(clip: Path, folder: Path, tmp_path: Path) -> None:
    def refused(*arguments: str) -> str:
        return str(reference(*arguments, *through(clip)).exception)

    (tmp_path / "empty").mkdir()
    assert "0 images" in refused(str(tmp_path / "empty"), "--output", "x")
    assert "give --output" in refused(str(folder))
    whole = (folder / "3.png").read_bytes()
    (folder / "3.png").write_bytes(whole[: len(whole) // 2])
    assert f"cannot read the image {folder}/3.png" in refused(str(folder), "--output", str(tmp_path / "x"))
    assert not (tmp_path / "x").exists()


def test_inception_names_its_published_file() -> None:
    (needed,) = FID.files(FeatureSettings(extractor="inception"))
    assert needed.size == 95_628_359
    assert needed.sha256 is not None
    assert needed.sha256.startswith("6726825d")  # as the file's own name says
    assert needed.name == "weights-inception-2015-12-05-6726825d.pth"


@pytest.fixture
def inception(tmp_path: Path) -> Path:
    return save_inception(tmp_path / "inception.pth")


@pytest.mark.slow
def test_inception_statistics_are_torch_fidelitys(inception: Path, folder: Path, tmp_path: Path) -> None:
    """The same folder, weights, resize and crop by torch-fidelity's own code."""
    from torch_fidelity.metric_fid import fid_input_id_to_statistics
    from torch_fidelity.utils import create_feature_extractor

    options = {"samples_find_deep": True, "samples_find_ext": "png,PNG", "samples_resize_and_crop": 24}
    options |= {"batch_size": 3, "verbose": False, "save_cpu_ram": True, "cuda": False}
    network = create_feature_extractor(
        "inception-v3-compat", ["2048"], cuda=False, feature_extractor_weights_path=str(inception), verbose=False
    )
    theirs = fid_input_id_to_statistics(1, network, "2048", input1=str(folder), cache=False, **options)
    output = tmp_path / "coco.safetensors"
    settings = ("metric_settings.fid.extractor=inception", f"metric_settings.fid.pretrained={inception}")
    done = reference(str(folder), *settings, "--output", str(output), "--size", "24", "--batch-size", "2")
    assert done.exit_code == 0, done.output
    ours = load_file(output)
    assert theirs["sigma"].std() > 0
    np.testing.assert_allclose(ours["mean"].numpy(), theirs["mu"], rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(ours["cov"].numpy(), theirs["sigma"], rtol=1e-3, atol=1e-3 * theirs["sigma"].max())


@pytest.mark.slow
def test_another_inception_is_refused(inception: Path, tmp_path: Path) -> None:
    label = make_extractor(ExtractorSettings("inception", pretrained=str(inception)), "cpu").label
    state = torch.load(inception, weights_only=True)
    state["Conv2d_1a_3x3.conv.weight"] += 1e-3
    torch.save(state, inception)
    assert make_extractor(ExtractorSettings("inception", pretrained=str(inception)), "cpu").label != label
    del state["fc.weight"]
    torch.save(state, tmp_path / "cut.pth")
    with pytest.raises(ConfigError, match=r"cannot load inception from .*cut\.pth"):
        make_extractor(ExtractorSettings("inception", pretrained=str(tmp_path / "cut.pth")), "cpu")
