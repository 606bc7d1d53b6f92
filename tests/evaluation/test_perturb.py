"""Columns against reward hacking: perturbed images, diversity, rewards nobody trained."""

from __future__ import annotations

import math
from itertools import combinations
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
import torch
import toy
from helpers import images, jpeg_round_trip, normalised, plain_clip, save_clip
from PIL import Image, ImageFilter

from rilbench import ConfigError
from rilbench.evaluation.config import Perturbation
from rilbench.evaluation.perturb import PERTURBATIONS
from rilbench.store.results import load_result
from rilbench.store.tables import markdown
from rilbench_metrics.clip_features import Diversity
from rilbench_metrics.extractors import ExtractorSettings


def test_the_names_are_those_of_the_configuration() -> None:
    assert tuple(PERTURBATIONS) == get_args(Perturbation)


def test_jpeg_is_what_pillow_writes() -> None:
    x = images(2, 3, 24, 40)
    assert torch.equal(PERTURBATIONS["jpeg"](x), jpeg_round_trip(x, 80))


def test_blur_is_a_gaussian_of_a_64th_of_the_side() -> None:
    x = torch.zeros(1, 3, 128, 128)
    x[..., 64, 64] = 1.0
    blurred = PERTURBATIONS["blur"](x)
    sigma = 2.0
    assert blurred[0, 0, 64, 64].item() == pytest.approx(1 / (2 * math.pi * sigma**2), rel=0.01)
    assert (blurred[0, 0, 64, 66] / blurred[0, 0, 64, 64]).item() == pytest.approx(math.exp(-0.5), rel=1e-4)
    assert blurred.sum().item() == pytest.approx(3.0, rel=1e-4)


def test_blur_is_about_pillows() -> None:
    x = images(1, 3, 64, 64)
    file = Image.fromarray((x[0].permute(1, 2, 0) * 255).round().to(torch.uint8).numpy())
    theirs = np.asarray(file.filter(ImageFilter.GaussianBlur(1.0))) / 255
    ours = PERTURBATIONS["blur"](x)[0].permute(1, 2, 0).numpy()
    assert np.abs(ours - theirs)[4:-4, 4:-4].max() < 0.03


def test_shift_repeats_the_edge() -> None:
    x = images(1, 3, 64, 64)
    shifted = PERTURBATIONS["shift"](x)
    assert torch.equal(shifted[..., 2:, 2:], x[..., :-2, :-2])
    assert torch.equal(shifted[..., :2, 2:], x[..., :1, :-2].expand(-1, -1, 2, -1))
    assert PERTURBATIONS["shift"](x[..., :8, :8]).shape[-1] == 8


@pytest.mark.parametrize("name", get_args(Perturbation))
def test_perturbations_keep_shape_and_range(name: str) -> None:
    x = torch.rand(3, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    changed = PERTURBATIONS[name](x)
    assert changed.shape == x.shape
    assert changed.dtype == x.dtype
    assert 0 <= changed.min() <= changed.max() <= 1 + 1e-6
    assert not torch.equal(changed, x)


@pytest.mark.slow
def test_a_perturbed_column_scores_the_changed_images(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(PERTURBATIONS, "blur", lambda x: x / 2)  # type: ignore[index]
    plain = toy.run(workplace).result
    outcome = toy.run(workplace, "evaluate.perturb=[blur,shift]")
    matrix = outcome.result.matrix
    names = [info.name for info in matrix.metrics]
    assert names[-4:] == ["red@blur", "red@shift", "dark@blur", "dark@shift"]
    for i in range(3):
        assert matrix.values("red@blur")[i] == pytest.approx(matrix.values("red")[i] / 2, rel=1e-5)
        assert matrix.values("dark@blur")[i] == pytest.approx(matrix.values("dark")[i] / 4, rel=1e-5)
    assert all(info.target_of == () for info in matrix.metrics if "@" in info.name)
    assert matrix.values("red") == plain.matrix.values("red")
    assert outcome.result.matrix.rows[1].stage_id == plain.matrix.rows[1].stage_id
    assert load_result(outcome.folder) == outcome.result
    assert "@" not in markdown(outcome.result)  # a check, not a result: the report shows it


def test_an_unknown_perturbation_is_refused(workplace: Path) -> None:
    with pytest.raises(ConfigError, match=r"evaluate.perturb\[0\]: 'fog' is not one of jpeg, blur, shift"):
        toy.config(workplace, "evaluate.perturb=[fog]")


def test_diversity_is_the_mean_distance_of_pairs(tmp_path: Path) -> None:
    folder = save_clip(tmp_path / "clip")
    x = images(5, 3, 32, 32)
    prompts = ["one", "two", "one", "one", "two"]
    metric = Diversity(ExtractorSettings(extractor="clip", model=str(folder)))
    assert metric.update(x[:2], prompts[:2]) is None
    metric.update(x[2:], prompts[2:])
    with torch.no_grad():
        features = torch.nn.functional.normalize(plain_clip(folder).encode_image(normalised(x)), dim=1)
    of_prompt = []
    for prompt in ("one", "two"):
        rows = [i for i, p in enumerate(prompts) if p == prompt]
        of_prompt.append(np.mean([1 - float(features[i] @ features[j]) for i, j in combinations(rows, 2)]))
    assert metric.compute() == pytest.approx(np.mean(of_prompt), rel=1e-3)


def test_diversity_needs_two_images_of_a_prompt(tmp_path: Path) -> None:
    metric = Diversity(ExtractorSettings(extractor="clip", model=str(save_clip(tmp_path / "clip"))))
    metric.update(images(2, 3, 32, 32), ["one", "two"])
    assert math.isnan(metric.compute())
    same = images(1, 3, 32, 32).expand(3, -1, -1, -1)
    metric.update(same, ["three"] * 3)
    assert metric.compute() == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
def test_a_reward_nobody_trained_is_a_column(workplace: Path) -> None:
    result = toy.run(workplace, "rewards=[red]", "evaluate.metrics=[dark]").result
    (info,) = (m for m in result.matrix.metrics if m.name == "dark")
    assert info.target_of == ()
    assert result.plugins["reward/dark"]
    assert len(result.matrix.values("dark")) == 2
