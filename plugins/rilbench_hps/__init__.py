"""`hps`: which image people prefer for a prompt, by Human Preference Score v2."""

from __future__ import annotations

from dataclasses import dataclass

from rilbench import setting
from rilbench.encoders import CLIP_MODEL, Fit
from rilbench_clip import Clip, ClipSettings


@dataclass(frozen=True)
class HPSSettings(ClipSettings):
    """The CLIP that scores; "ViT-H-14" with the file HPS_v2_compressed.pt for the published score."""

    model: str = setting("package:rilbench_shapes/weights/hps", CLIP_MODEL, path=True)
    fit: Fit = setting("pad", "`pad` is the official preprocessing; `square` crops")


class HPS(Clip):
    """The cosine of image and prompt features, in [-1, 1] and without logit scale; about 0.27 for Stable Diffusion.

    Source: Wu et al., Human Preference Score v2 (2023).
    """

    Settings = HPSSettings
