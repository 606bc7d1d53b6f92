"""The probe: a small convolutional network, trained on rendered scenes only, through which metrics of `shapes` look.

It shares no weight and no loss with the CLIP through which the rewards look, so a model cannot raise a metric by the
same errors of one encoder that raise its reward.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor, nn

from rilbench import ConfigError
from rilbench.encoders import brief, read_tensors
from rilbench_metrics.extractors import PROBE, Extractor, ExtractorSettings
from rilbench_shapes.world import CONTENT, RESOLUTION, STYLE

FEATURES = 64
LAYERS = ((32, 5, 2), (64, 3, 1), (96, 3, 2), (128, 3, 1), (128, 3, 2))  # channels, kernel, stride: 32 to 4 pixels


class Probe(nn.Module):
    """Images (B, 3, 32, 32) in [0, 1] to the content and style of their scenes."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        channels = 3
        for new, kernel, stride in LAYERS:
            layers += [nn.Conv2d(channels, new, kernel, stride, padding=kernel // 2), nn.ReLU()]
            channels = new
        self.body = nn.Sequential(*layers, nn.Flatten())
        self.penultimate = nn.Linear(channels * (RESOLUTION // 8) ** 2, FEATURES)
        self.standard = nn.BatchNorm1d(FEATURES, affine=False)
        sizes = [len(words) for words in CONTENT.values()]
        self.heads = nn.Linear(FEATURES, sum(sizes) + len(STYLE))
        self.sizes = (*sizes, len(STYLE))

    def features(self, images: Tensor) -> Tensor:
        """Features (B, 64), each with mean 0 and variance 1 over rendered scenes; ConfigError for images of another
        size."""
        if images.shape[-2:] != (RESOLUTION, RESOLUTION):
            raise ConfigError(
                f"the probe supports only {RESOLUTION} x {RESOLUTION} images of `shapes`; for other images remove "
                "attributes, fid, fid_inf, kid and diversity from evaluate.metrics, or give all but attributes another "
                "extractor, such as metric_settings.fid.extractor=inception, with a reference of it"
            )
        found: Tensor = self.standard(self.penultimate(self.body(2 * images - 1)))
        return found

    def forward(self, images: Tensor) -> tuple[dict[str, Tensor], Tensor]:
        """Logits (B, words) of each attribute of `CONTENT`, and the styles (B, 6), where 0 to 1 is the range of each in
        `STYLE`."""
        *content, style = self.heads(self.features(images)).split(self.sizes, dim=1)
        return dict(zip(CONTENT, content, strict=True)), style

    @classmethod
    def load(cls, path: str | Path = PROBE, *, device: str = "cpu") -> Probe:
        """A saved probe, frozen, in float32; ConfigError if the file is missing, corrupt or not a probe."""
        probe = cls()
        try:
            probe.load_state_dict(read_tensors(str(path), "probe"))
        except RuntimeError as error:
            raise ConfigError(f"probe: {path} is not a probe of `shapes` ({brief(error)})") from None
        return probe.to(device).eval().requires_grad_(False)


class ProbeExtractor(Extractor):
    """The probe's features, for `fid`, `fid_inf`, `kid` and `diversity`: `model` is the file of its weights."""

    kind = f"shapes-probe-{RESOLUTION}"

    def __init__(self, settings: ExtractorSettings, device: str) -> None:
        if settings.pretrained is not None:
            raise ConfigError("pretrained: the probe does not use it; name the file of its weights as `model`")
        self.probe = Probe.load(settings.model, device=device)
        self.module = self.probe

    def features(self, images: Tensor) -> Tensor:
        return self.probe.features(images)
