"""`attributes`: whether an image shows what its caption says, as the probe sees it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from rilbench import MeanMetric, setting
from rilbench_metrics.extractors import PROBE
from rilbench_shapes import captions
from rilbench_shapes.probe import Probe


@dataclass(frozen=True)
class AttributesSettings:
    """The network that looks."""

    probe: str = setting(PROBE, "weights of the probe", path=True)


class Attributes(MeanMetric):
    """Mean probability, in %, that the probe gives to the caption's five attributes: shape, size, colour, place and
    background.

    The probabilities, not the share of hits: the base model hits nearly always, so hits show a loss only when it is
    large, while a probability falls as soon as an attribute becomes doubtful. `oracle` counts hits.
    The probe shares nothing with the CLIP through which the rewards look. For prompts of `shapes` only.
    """

    Settings = AttributesSettings
    settings: AttributesSettings
    higher_is_better = True
    unit = "%"

    def __init__(self, settings: AttributesSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.probe = Probe.load(settings.probe, device=device)

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        wanted = captions.contents(prompts, "metric attributes")
        return 100 * torch.stack(list(probabilities(self.probe, images, wanted).values())).mean(0)


def probabilities(probe: Probe, images: Tensor, wanted: dict[str, Tensor]) -> dict[str, Tensor]:
    """For each attribute of `CONTENT`, the probability (B,) of the wanted word in images (B, 3, 32, 32) in [0, 1]."""
    content, _ = probe(images)
    return {
        name: logits.softmax(1).gather(1, wanted[name].to(logits.device)[:, None])[:, 0]
        for name, logits in content.items()
    }
