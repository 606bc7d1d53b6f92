"""The networks whose features FID compares, each with a unique name."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from rilbench import ConfigError, NeededFile
from rilbench.contracts.files import is_reference
from rilbench.encoders import ClipEncoder, brief, clip_files, read_tensors
from rilbench.files.resources import resolve

INCEPTION = (
    "url:https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"
    "#sha256=6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2&size=95628359&licence=Apache-2.0"
)


@dataclass(frozen=True)
class Extractor:
    """Images (B, 3, H, W) in [0, 1] to features (B, D).

    kind: readable description of the preprocessing. module: the network; a hash of its weights completes the label.
    """

    kind: str
    module: nn.Module
    features: Callable[[Tensor], Tensor]

    @cached_property
    def label(self) -> str:
        """Kind and hash of the weights: equal for equal features."""
        digest = hashlib.sha256()
        for name, value in sorted(self.module.state_dict().items()):
            digest.update(f"{name} {value.dtype} {tuple(value.shape)} ".encode())
            digest.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
        return f"{self.kind} {digest.hexdigest()}"


def extractor_files(kind: str, model: str, pretrained: str | None) -> list[NeededFile]:
    """The published files an extractor reads."""
    if kind == "clip":
        return clip_files(model, pretrained)
    weights = pretrained or INCEPTION
    return [NeededFile.parse(weights)] if is_reference(weights) else []


def make_extractor(kind: str, model: str, pretrained: str | None, device: str) -> Extractor:
    """The extractor chosen by the settings; raises ConfigError if its files are missing, corrupt or do not fit."""
    if kind == "clip":
        encoder = ClipEncoder(model, pretrained, device)  # unit features
        return Extractor(f"clip-{encoder.fit}-{encoder.image_size}", encoder.model, encoder.image_features)
    return _inception(pretrained or INCEPTION, device)


def _inception(weights: str, device: str) -> Extractor:
    """Pooled features (B, 2048) of the reference Inception v3, which scales whole numbers 0 to 255 to 299 x 299."""
    from torchmetrics.image.fid import NoTrainInceptionV3

    checked = io.BytesIO()  # checked tensors: torch-fidelity would run the code in a pickle
    torch.save(read_tensors(weights, "pretrained"), checked)
    checked.seek(0)
    try:
        model: Any = NoTrainInceptionV3("inception-v3-compat", ["2048"], checked, antialias=False)
    except Exception as error:  # torch-fidelity is missing, or the file does not fit
        raise ConfigError(
            f"extractor: cannot load inception from {resolve(weights)} ({brief(error)}); pip install torch-fidelity, "
            "and leave `pretrained` out for the published weights, or use extractor clip"
        ) from None
    model.to(device).requires_grad_(False)

    def features(images: Tensor) -> Tensor:
        found: Tensor = model((images.clamp(0, 1) * 255).round().to(device, torch.uint8))
        return found

    return Extractor("inception-v3-compat-2048", model, features)
