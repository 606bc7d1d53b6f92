"""The settings of the evaluation: `evaluate`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rilbench.contracts.settings import setting
from rilbench.contracts.values import MOST

Perturbation = Literal["jpeg", "blur", "shift"]  # functions of rilbench/evaluation/perturb.py


@dataclass(frozen=True)
class EvaluateConfig:
    """What every stage is measured on."""

    prompts: str = setting(
        "package:rilbench_shapes/prompts/eval.txt", "file of evaluation prompts, one per line", path=True
    )
    images_per_prompt: int = setting(4, "images per prompt", at_least=1, at_most=10_000)
    batch_size: int = setting(50, "images generated and measured at a time", at_least=1, at_most=10_000)
    seed: int = setting(0, "seed of the evaluation noise, independent of the training seed", at_least=0, at_most=MOST)
    pictures: int = setting(8, "number of prompts whose first image is saved as PNG", at_least=0, at_most=1000)
    metrics: tuple[str, ...] = setting(
        ("png_kb", "jpeg_kb", "clip_score", "fid", "structure"),
        "metrics measured in addition to the rewards",
        longest=200,
    )
    train_prompts: int = setting(
        0,
        "how many prompts of train.prompts are measured too, in columns such as hps@train; shows overfitting",
        at_least=0,
        at_most=10**6,
        added=True,
    )
    perturb: tuple[Perturbation, ...] = setting(
        (), "perturbations; rewards are also measured on perturbed images, in columns such as hps@jpeg"
    )
