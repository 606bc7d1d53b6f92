"""The built-in metrics against hand-made files, closed forms and plain open_clip."""

from __future__ import annotations

import io
import math
import warnings
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from helpers import DIM, SIZE, images, normalised, plain_clip, save_clip
from PIL import Image
from safetensors.torch import save_file
from torch import Tensor

from rilbench import ConfigError, NoSettings
from rilbench.contracts.settings import build
from rilbench.encoders import ClipEncoder
from rilbench_jpeg.sizes import JpegSize, JpegSizeSettings, PngSize
from rilbench_metrics.clip_features import ClipScore, ClipScoreSettings
from rilbench_metrics.feature_sets import FeatureSettings
from rilbench_metrics.fid import FID, Frechet, statistics
from rilbench_metrics.structure import Structure

PROMPTS = ["a large red circle", "a small blue square"]


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_clip(tmp_path_factory.mktemp("clip") / "clip")


def file_bytes(x: Tensor, **options: object) -> int:
    """The length of one image's file on the disk of memory."""
    pixels = Image.new("RGB", (x.shape[2], x.shape[1]))
    for row in range(x.shape[1]):
        for column in range(x.shape[2]):
            pixels.putpixel((column, row), tuple(int(v * 255 + 0.5) for v in x[:, row, column].tolist()))
    buffer = io.BytesIO()
    pixels.save(buffer, **options)  # type: ignore[arg-type]
    return len(buffer.getvalue())


def test_jpeg_kb_is_the_length_of_the_file() -> None:
    x = images(2, 3, 24, 40)
    metric = JpegSize(JpegSizeSettings())
    expected = [file_bytes(image, format="JPEG", quality=80, subsampling=2, optimize=False) / 1000 for image in x]
    assert metric.update(x, PROMPTS).tolist() == pytest.approx(expected)
    assert metric.compute() == pytest.approx(sum(expected) / 2)
    assert JpegSize(JpegSizeSettings(quality=20)).update(x, PROMPTS)[0] < expected[0]


def test_png_kb_is_the_length_of_the_file() -> None:
    x = images(2, 3, 24, 40)
    x[1] = 0.5
    sizes = PngSize(NoSettings()).update(x, PROMPTS)
    assert sizes.tolist() == pytest.approx([file_bytes(image, format="PNG") / 1000 for image in x])
    assert sizes[1] < sizes[0] / 10


def test_sizes_take_a_batch_of_one_and_values_out_of_range() -> None:
    x = images(1, 3, 16, 16)
    x[0, 0, 0, 0], x[0, 0, 0, 1] = 1.2, -0.2
    metric = PngSize(NoSettings())
    assert torch.equal(metric.update(x, PROMPTS[:1]), metric.update(x.clamp(0, 1), PROMPTS[:1]))


def test_jpeg_size_refuses_a_wrong_quality() -> None:
    with pytest.raises(ConfigError, match="quality: 0"):
        build(JpegSizeSettings, {"quality": 0}, "metric_settings.jpeg_kb")


def test_means_forget_after_reset() -> None:
    metric = PngSize(NoSettings())
    metric.update(images(2, 3, 16, 16), PROMPTS)
    metric.reset()
    assert math.isnan(metric.compute())
    one = metric.update(images(1, 3, 8, 8), PROMPTS[:1])
    assert metric.compute() == pytest.approx(one.item())


def test_clip_score_is_100_times_the_cosine(clip: Path) -> None:
    import open_clip

    model, x = plain_clip(clip), images(2, 3, SIZE, SIZE)
    with torch.no_grad():
        image = model.encode_image(normalised(x))
        text = model.encode_text(open_clip.get_tokenizer(f"local-dir:{clip}")(PROMPTS))
    expected = 100 * F.cosine_similarity(image, text)
    metric = ClipScore(ClipScoreSettings(model=str(clip)))
    torch.testing.assert_close(metric.update(x, PROMPTS), expected, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(metric.update(x[:1], PROMPTS[:1]), expected[:1], atol=1e-4, rtol=1e-4)
    with pytest.raises(ConfigError, match="model: "):
        ClipScore(ClipScoreSettings(model=str(clip / "gone")))


def test_structure_is_1_for_an_unchanged_image_and_falls_with_noise() -> None:
    x, metric = images(2, 3, SIZE, SIZE), Structure(NoSettings())
    blocks = (x[..., ::8, ::8].repeat_interleave(8, -1).repeat_interleave(8, -2) * 255).round() / 255
    for unchanged in (x, blocks, torch.full_like(x, 0.3), torch.zeros_like(x)):
        assert metric.update(unchanged, PROMPTS, base_images=unchanged.clone()).eq(1).all()  # exactly, also where flat
    little, much = (x + amount * images(2, 3, SIZE, SIZE, seed=1) for amount in (0.1, 0.5))
    a, b = (metric.update(y, PROMPTS, base_images=x) for y in (little, much))
    assert (b < a).all()
    assert (a < 0.999).all()
    assert metric.update(x[:1], PROMPTS[:1], base_images=x[:1]).shape == (1,)
    with pytest.raises(ValueError, match="base_images"):
        metric.update(x, PROMPTS)


def test_structure_is_the_ssim_of_torchmetrics() -> None:
    """In double precision, because in single one theirs loses up to 0.001 in flat areas."""
    from torchmetrics.functional.image import structural_similarity_index_measure as reference

    x = images(3, 3, SIZE, SIZE)
    x[0], x[1, :, :20] = 0.3, 0.8
    for amount in (0.01, 0.1, 0.5):
        y = (x + amount * images(3, 3, SIZE, SIZE, seed=1)).clamp(0, 1)
        expected = reference(x.double(), y.double(), data_range=1.0, reduction="none")
        torch.testing.assert_close(
            Structure(NoSettings()).update(x, ["a"] * 3, base_images=y).double(), expected, atol=1e-6, rtol=0
        )


def test_structure_of_flat_images_follows_the_formula() -> None:
    """Without variance SSIM is (2 a b + c1) / (a^2 + b^2 + c1), c1 = 0.01^2."""
    a, b = torch.full((1, 3, 16, 16), 0.2), torch.full((1, 3, 16, 16), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert Structure(NoSettings()).update(a, [""], base_images=b).item() == pytest.approx(expected, rel=1e-3)


def test_frechet_of_gaussians_with_commuting_covariances() -> None:
    """|m|^2 + sum (sqrt a - sqrt b)^2 over the eigenvalues, in a basis that is not the axes'."""
    generator = torch.Generator().manual_seed(0)
    basis = torch.linalg.qr(torch.randn(4, 4, generator=generator, dtype=torch.float64))[0]
    a, b = torch.tensor([4.0, 1.0, 9.0, 0.0]).double(), torch.tensor([1.0, 1.0, 16.0, 0.25]).double()
    mean, other = torch.tensor([1.0, 0, 0, 2.0]).double(), torch.zeros(4).double()
    white = torch.linalg.qr(torch.randn(9, 5, generator=generator, dtype=torch.float64))[0]  # of 9 rows, columns
    white = torch.linalg.qr(white - white.mean(0))[0][:, :4]  # of mean 0, and uncorrelated
    rows = mean + 8**0.5 * white @ a.sqrt().diag() @ basis.T
    distance = Frechet(rows, other, basis @ b.diag() @ basis.T)(torch.ones(9).bool())
    assert distance == pytest.approx(5 + 1 + 0 + 1 + 0.25, rel=1e-6)


def test_statistics_by_hand() -> None:
    mean, cov = statistics(torch.tensor([[0.0, 0.0], [2.0, 4.0]]))
    assert mean.tolist() == [1.0, 2.0]
    assert cov.tolist() == [[2.0, 4.0], [4.0, 8.0]]
    assert mean.dtype == cov.dtype == torch.float64


def save_reference(folder: Path, features: Tensor) -> str:
    mean, cov = statistics(features)
    save_file({"mean": mean, "cov": cov, "n": torch.tensor([len(features)])}, folder / "fid.safetensors")
    return str(folder / "fid.safetensors")


@pytest.fixture
def reference(clip: Path, tmp_path: Path) -> str:
    """Statistics of 40 images."""
    return save_reference(tmp_path, ClipEncoder(str(clip)).image_features(images(40, 3, SIZE, SIZE)))


def made(clip: Path, reference: str, scale: float = 10.0) -> FID:
    return FID(FeatureSettings(extractor="clip", model=str(clip), reference=reference, scale=scale))


def test_fid_of_the_reference_images_is_zero_in_any_batches(clip: Path, reference: str) -> None:
    metric, x = made(clip, reference), images(40, 3, SIZE, SIZE)
    for part in x.split(17):
        assert metric.update(part, [""] * len(part)) is None
    assert metric.compute() == pytest.approx(0, abs=1e-5)


def test_fid_grows_with_the_change_and_with_the_scale_squared(clip: Path, reference: str) -> None:
    x, values = images(40, 3, SIZE, SIZE), []
    for change, scale in ((0.1, 1.0), (0.5, 1.0), (0.5, 3.0)):
        metric = made(clip, reference, scale)
        metric.update(x * (1 - change), [""] * 40)
        values.append(metric.compute())
    assert 0 < values[0] < values[1]
    assert values[2] == pytest.approx(9 * values[1])


def test_fid_agrees_with_torchmetrics(clip: Path, tmp_path: Path) -> None:
    from torchmetrics.image.fid import FrechetInceptionDistance

    encoder, real, fake = ClipEncoder(str(clip)), images(30, 3, SIZE, SIZE), 0.6 * images(25, 3, SIZE, SIZE, seed=4)

    class Features(torch.nn.Module):
        num_features = DIM

        def forward(self, x: Tensor) -> Tensor:
            return encoder.image_features(x)

    other = FrechetInceptionDistance(Features(), normalize=True)
    other.update(real, real=True)
    other.update(fake, real=False)
    metric = made(clip, save_reference(tmp_path, encoder.image_features(real)), scale=1.0)
    metric.update(fake, [""] * 25)
    assert metric.compute() == pytest.approx(other.compute().item(), rel=1e-3)


def test_fid_of_too_few_images(clip: Path, reference: str) -> None:
    metric = made(clip, reference)
    assert math.isnan(metric.compute())
    metric.update(images(1, 3, SIZE, SIZE), [""])
    assert math.isnan(metric.compute())
    metric.update(images(2, 3, SIZE, SIZE), PROMPTS)
    with pytest.warns(UserWarning, match="3 images with 16 features"):
        assert metric.compute() > 0
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        metric.compute()  # the warning comes once
    metric.reset()
    assert math.isnan(metric.compute())


def test_fid_refuses_wrong_references_and_settings(clip: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="reference: no file"):
        made(clip, str(tmp_path / "gone.safetensors"))
    save_file({"mean": torch.zeros(3), "cov": torch.zeros(3, 2)}, tmp_path / "bad.safetensors")
    with pytest.raises(ConfigError, match="needs `mean`"):
        made(clip, str(tmp_path / "bad.safetensors"))
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "bad.safetensors").read_bytes()[:20])
    with pytest.raises(ConfigError, match="reference: cannot read"):
        made(clip, str(tmp_path / "cut.safetensors"))
    other = made(clip, save_reference(tmp_path, torch.eye(5)))
    with pytest.raises(ConfigError, match=r" 5 features.* 16; .*same extractor"):
        other.update(images(2, 3, SIZE, SIZE), PROMPTS)
    for values, match in (({"extractor": "dino"}, "dino"), ({"scale": 0}, "scale")):
        with pytest.raises(ConfigError, match=match):
            build(FeatureSettings, values, "metric_settings.fid")


def test_inception_without_its_package_or_file_is_refused(
    reference: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torchmetrics.image.fid._TORCH_FIDELITY_AVAILABLE", False)
    weights = tmp_path / "inception.pth"

    def refused(match: str, pretrained: str | None) -> None:
        with pytest.raises(ConfigError, match=match):
            FID(FeatureSettings(extractor="inception", pretrained=pretrained, reference=reference))

    refused("missing files: weights-inception.* of url:https://github.com/toshas/torch-fidelity/.*rilbench fetch", None)
    refused("pretrained: no file", str(weights))
    torch.save({"weights": Path.cwd}, weights)
    refused("pretrained: cannot read .*UnpicklingError", str(weights))
    torch.save({"weights": torch.zeros(1)}, weights)
    refused("pip install torch-fidelity", str(weights))
