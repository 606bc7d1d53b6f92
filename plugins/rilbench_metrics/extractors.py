"""The networks whose features metrics compare: `Extractor`, the settings that choose one, and CLIP and Inception.

A package brings another network as a subclass of `Extractor`; its users name it as `module:Class`.
"""

from __future__ import annotations

import hashlib
import io
import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from rilbench import ConfigError, NeededFile, PluginError, setting
from rilbench.contracts.errors import unknown
from rilbench.contracts.files import is_reference
from rilbench.encoders import CLIP_MODEL, ClipEncoder, brief, clip_files, read_tensors
from rilbench.files.resources import resolve
from rilbench.host.guard import blamed
from rilbench.host.plugin import imported

INCEPTION = (
    "url:https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
    "#sha256=6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2&size=95628359&licence=Apache-2.0"
)
PROBE = "package:rilbench_shapes/weights/probe.safetensors"
BROUGHT = re.compile(r"[\w.]+:[\w.]+")  # module:Class


@dataclass(frozen=True)
class ExtractorSettings:
    """The network whose features are compared."""

    extractor: str = setting(
        "rilbench_shapes.probe:ProbeExtractor",
        "`clip`: unit image features of `model`; `inception`: the published FID's pooled Inception v3 features; "
        "`module:Class`: an extractor that a package brings, by default the probe of `shapes`",
    )
    model: str = setting(PROBE, f"for `clip`: {CLIP_MODEL}; for an extractor of a package: its weights", path=True)
    pretrained: str | None = setting(
        None,
        "weight file or open_clip tag of `model`, or the weight file of `inception`, if not the published one",
        path=True,
    )

    def __post_init__(self) -> None:
        if self.extractor == "inception" and self.model != PROBE:
            raise ConfigError("model: extractor inception does not use it; name its weight file as `pretrained`")
        if self.extractor == "clip" and self.model == PROBE:
            raise ConfigError("model: extractor clip needs a CLIP, for example package:rilbench_shapes/weights/clip")
        if self.extractor not in BUILT_IN and not BROUGHT.fullmatch(self.extractor):
            known = unknown("extractor", self.extractor, BUILT_IN)
            raise ConfigError(f"extractor: {known} One of a package is named as module:Class")


class Extractor(ABC):
    """A frozen network from images to features, made from the settings that choose it.

    kind: readable description of features and preprocessing, which begins the label. module: the network, on the
    device. The constructor sets both; it raises ConfigError if its files are missing or do not fit.
    """

    kind: str
    module: nn.Module

    @abstractmethod
    def __init__(self, settings: ExtractorSettings, device: str) -> None: ...

    @abstractmethod
    def features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to features (B, D)."""

    @classmethod
    def files(cls, settings: ExtractorSettings) -> Sequence[NeededFile]:
        """The published files it reads, in addition to those that the settings name."""
        return []

    @cached_property
    def label(self) -> str:
        """Kind and hash of the weights: equal for equal features."""
        digest = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return f"{self.kind} {digest.hexdigest()}"


class ClipExtractor(Extractor):
    """Unit image features of an open_clip model."""

    def __init__(self, settings: ExtractorSettings, device: str) -> None:
        self._encoder = ClipEncoder(settings.model, settings.pretrained, device)
        self.kind = f"clip-{self._encoder.fit}-{self._encoder.image_size}"
        self.module = self._encoder.model

    def features(self, images: Tensor) -> Tensor:
        return self._encoder.image_features(images)

    @classmethod
    def files(cls, settings: ExtractorSettings) -> Sequence[NeededFile]:
        return clip_files(settings.model, settings.pretrained)


class InceptionExtractor(Extractor):
    """Pooled features (B, 2048) of the reference Inception v3, which scales whole numbers 0 to 255 to 299 x 299."""

    kind = "inception-v3-compat-2048"

    def __init__(self, settings: ExtractorSettings, device: str) -> None:
        from torchmetrics.image.fid import NoTrainInceptionV3

        weights = settings.pretrained or INCEPTION
        checked = io.BytesIO()  # checked tensors: torch-fidelity would run the code in a pickle
        torch.save(read_tensors(weights, "pretrained"), checked)
        checked.seek(0)
        try:
            model: Any = NoTrainInceptionV3("inception-v3-compat", ["2048"], checked, antialias=False)
        except Exception as error:  # torch-fidelity is missing, or the file does not fit
            raise ConfigError(
                f"extractor: cannot load inception from {resolve(weights)} ({brief(error)}); pip install "
                "torch-fidelity, and leave `pretrained` out for the published weights, or use extractor clip"
            ) from None
        self.module = model.to(device)
        self._device = device

    def features(self, images: Tensor) -> Tensor:
        found: Tensor = self.module((images.clamp(0, 1) * 255).round().to(self._device, torch.uint8))
        return found

    @classmethod
    def files(cls, settings: ExtractorSettings) -> Sequence[NeededFile]:
        weights = settings.pretrained or INCEPTION
        return [NeededFile.parse(weights)] if is_reference(weights) else []


BUILT_IN: dict[str, type[Extractor]] = {"clip": ClipExtractor, "inception": InceptionExtractor}


def extractor_files(settings: ExtractorSettings) -> Sequence[NeededFile]:
    """The published files that the chosen extractor reads, in addition to those that the settings name."""
    return _chosen(settings.extractor).files(settings)


def make_extractor(settings: ExtractorSettings, device: str) -> Extractor:
    """The chosen extractor; raises ConfigError if its files are missing, corrupt or do not fit."""
    with blamed(f"extractor {settings.extractor}"):
        extractor = _chosen(settings.extractor)(settings, device)
        extractor.module.eval().requires_grad_(False)
    return extractor


def _chosen(name: str) -> type[Extractor]:
    if name in BUILT_IN:
        return BUILT_IN[name]
    found = imported(name, f"extractor {name}")
    if not (isinstance(found, type) and issubclass(found, Extractor)):
        raise PluginError(f"extractor {name} is not a subclass of rilbench_metrics.extractors.Extractor")
    return found
