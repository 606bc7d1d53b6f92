"""The settings of the evaluation: `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass

from rilbench.contracts.settings import setting
from rilbench.contracts.values import MOST

PERTURBATIONS = ("jpeg", "blur", "shift")  # functions of rilbench/evaluation/columns.py


@dataclass(frozen=True)
class EvaluateConfig:
    """What every stage is measured on."""

    prompts: str = setting(
        "package:rilbench_shapes/prompts/eval.txt", "file of evaluation prompts, one a line", path=True
    )
    images_per_prompt: int = setting(4, "images of each prompt", at_least=1, at_most=100_000)
    batch_size: int = setting(50, "images generated and measured at a time", at_least=1, at_most=10**6)
    seed: int = setting(0, "of the evaluation noise, apart from the training seed", at_least=0, at_most=MOST)
    pictures: int = setting(8, "prompts whose first image is kept as a picture", at_least=0, at_most=1000)
    metrics: tuple[str, ...] = setting(
        ("png_kb", "jpeg_kb", "clip_score", "fid", "structure"), "what is measured besides the rewards", longest=200
    )
    perturb: tuple[str, ...] = setting(
        (), "also score the rewards of images after these: columns such as hps@jpeg", choices=PERTURBATIONS
    )
    bootstrap: int = setting(1000, "resamples of the prompts for the 95 % intervals", at_least=1, at_most=100_000)
