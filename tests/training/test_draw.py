"""The samples of a stage are the same whatever the batch size."""

from __future__ import annotations

import pytest
import torch

from rilbench.training.update import draw_batch

PROMPTS = ["a", "b", "c", "d", "e"]
SHAPE = (4, 2, 2)


def drawn(
    samples: range, *, seed: int = 0, stage: int = 1, prompts: list[str] = PROMPTS
) -> tuple[list[str], torch.Tensor]:
    batch = draw_batch(prompts, SHAPE, samples, seed=seed, stage=stage)
    return batch.prompts, batch.z_N


@pytest.mark.parametrize("size", [1, 3, 5])
def test_batches_of_another_size_hold_the_same_samples(size: int) -> None:
    prompts, z_N = drawn(range(15))
    parts = [drawn(range(first, first + size)) for first in range(0, 15, size)]
    assert [prompt for part, _ in parts for prompt in part] == prompts
    assert torch.equal(torch.cat([noise for _, noise in parts]), z_N)


def test_noise_does_not_depend_on_the_number_of_prompts() -> None:
    assert torch.equal(drawn(range(4))[1], drawn(range(4), prompts=PROMPTS[:2])[1])


def test_samples_seeds_and_stages_have_their_own_noise() -> None:
    noises = [drawn(range(2))[1], drawn(range(2), seed=1)[1], drawn(range(2), stage=2)[1]]
    rows = torch.cat(noises).flatten(1)
    assert len(rows.unique(dim=0)) == 6
