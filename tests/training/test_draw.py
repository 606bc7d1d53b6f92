"""The samples of a stage are the same whatever the batch size."""

from __future__ import annotations

from collections import Counter

import pytest
import torch

from rilbench.contracts.prompt import Prompt
from rilbench.model.randomness import generator_for
from rilbench.training.drawing import PromptPool
from rilbench.training.update import draw_batch

PROMPTS = ["a", "b", "c", "d", "e"]
SHAPE = (4, 2, 2)


def drawn(
    samples: range, *, seed: int = 0, stage: int = 1, prompts: list[str] = PROMPTS
) -> tuple[list[str], torch.Tensor]:
    batch = draw_batch(PromptPool([Prompt(text) for text in prompts]), SHAPE, samples, seed=seed, stage=stage)
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


def weighted(*weights: float) -> PromptPool:
    return PromptPool([Prompt(text, weight=weight) for text, weight in zip(PROMPTS, weights, strict=False)])


def test_a_prompt_is_drawn_in_proportion_to_its_weight() -> None:
    pool, generator = weighted(1, 0.5, 6, 2.5), torch.Generator().manual_seed(1)
    counts = Counter(pool.draw(generator).text for _ in range(4000))
    for text, share in zip(PROMPTS, (0.1, 0.05, 0.6, 0.25), strict=False):
        assert counts[text] / 4000 == pytest.approx(share, abs=4 * (share * (1 - share) / 4000) ** 0.5)


def test_the_draw_of_a_sample_by_hand() -> None:
    """The first prompt whose cumulative share exceeds a number of 27 bits from the sample's own generator."""
    pool = weighted(3, 1)
    for sample in range(8):
        batch = draw_batch(pool, SHAPE, range(sample, sample + 1), seed=5, stage=2)
        uniform = int(torch.randint(2**27, (), generator=generator_for("train", 5, 2, sample))) / 2**27
        assert batch.prompts == ["a" if uniform < 0.75 else "b"]


def test_equal_weights_draw_what_a_file_without_weights_draws() -> None:
    plain = draw_batch(weighted(1, 1, 1), SHAPE, range(20), seed=0, stage=1)
    assert draw_batch(weighted(2, 2, 2), SHAPE, range(20), seed=0, stage=1).prompts == plain.prompts
    unequal = draw_batch(weighted(1, 1, 40), SHAPE, range(20), seed=0, stage=1)
    assert unequal.prompts != plain.prompts
    assert torch.equal(unequal.z_N, plain.z_N), "the noise of a sample does not depend on weights"


def test_micro_batches_keep_the_negative_prompt_of_each_prompt() -> None:
    pool = PromptPool([Prompt(text, f"not {text}") for text in PROMPTS])
    batch = draw_batch(pool, SHAPE, range(7), seed=0, stage=1)
    parts = [part for part, _ in batch.parts(3)]
    assert [len(part.prompts) for part in parts] == [3, 3, 1]
    for part in parts:
        assert part.negatives == [f"not {text}" for text in part.prompts]
