"""One row of the result: every metric on images of the evaluation prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch import Tensor

from rilbench.contracts.components import MeanMetric, Metric, NoSettings, Reward
from rilbench.contracts.errors import DivergedError
from rilbench.contracts.prompt import Prompt
from rilbench.evaluation.config import EvaluateConfig
from rilbench.evaluation.intervals import interval
from rilbench.host.guard import blamed, images_kept, scores_of
from rilbench.model.randomness import evaluation_noise
from rilbench.model.reading import groups
from rilbench.model.text_to_image import TextToImage

Noise = Callable[[int, str, range, tuple[int, ...]], Tensor]  # seed, prompt, images of it, shape of each

Images = Callable[[int, int, Callable[[], Tensor]], Tensor]  # the first, how many, what draws them


@dataclass(frozen=True)
class Evaluation:
    """Values and 95 % intervals by metric; scores (prompts, images per prompt) of the metrics that have them."""

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    scores: dict[str, Tensor]
    pictures: list[Tensor]  # the first image of the first prompts, (3, H, W) uint8


@dataclass(frozen=True)
class Origin:
    """For messages: the last step in the making of a model, and the likely cause of NaN images, with the remedy."""

    after: str
    cause: str

    @classmethod
    def of(cls, after: str, *, trained: bool) -> Origin:
        """The origin of a model that rilbench made."""
        if trained:
            return cls(after, "its training diverged; lower train.lr and train it again")
        checks = "its weights, model.precision, model.vae_precision and its scheduler"
        return cls(after, f"nothing was trained, so the cause is the model: check {checks}")


LOADED = Origin.of("no training", trained=False)  # of a model as it was loaded


def evaluate(
    model: TextToImage,
    prompts: Sequence[Prompt],
    metrics: Mapping[str, Metric],
    config: EvaluateConfig,
    *,
    origin: Origin,
    base_images: Any = None,
    noise: Noise = evaluation_noise,
    images: Images = lambda first, count, draw: draw(),
    keep: Callable[[Tensor], None] = lambda pixels: None,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Generate and measure: every metric receives the images in 8 bits, as they are kept.

    base_images: the base model's images, anything that slices to (B, 3, H, W) uint8, prompt by prompt; without them the
    images are their own base, which is correct for the base model.

    noise: the initial noise of a prompt's images. images: returns those of a batch, such as stored ones; by default it
    draws them.

    keep: receives the images (B, 3, H, W) uint8 of each batch, in that order.
    """
    columns = [_Column(name, metric, origin) for name, metric in metrics.items()]
    pictures: list[Tensor] = []
    first = range(0, min(config.pictures, len(prompts)) * config.images_per_prompt, config.images_per_prompt)
    done, total = 0, len(prompts) * config.images_per_prompt
    for of_batch, z_N in batches(model, prompts, config, noise):
        pixels = images(done, len(of_batch), partial(_drawn, model, of_batch, z_N, origin))
        texts = [prompt.text for prompt in of_batch]
        batch = as_seen(pixels, model.device)
        pictures += [pixels[i - done].clone() for i in first if done <= i < done + len(batch)]
        keep(pixels)
        base = batch if base_images is None else as_seen(base_images[done : done + len(batch)], model.device)
        for column in columns:
            column.update(batch, texts, base)
        done += len(batch)
        on_batch(done, total)
    scores = {column.name: torch.cat(column.scores).reshape(len(prompts), -1) for column in columns if column.scores}
    same = groups(model.readings(prompts))
    intervals = {c.name: interval(scores[c.name], groups=same) if c.scores else c.interval() for c in columns}
    return Evaluation(
        values={column.name: column.value() for column in columns},
        intervals={name: bounds for name, bounds in intervals.items() if bounds},
        scores=scores,
        pictures=pictures,
    )


def _drawn(model: TextToImage, prompts: Sequence[Prompt], z_N: Tensor, origin: Origin) -> Tensor:
    return to_pixels(generate(model, prompts, z_N, origin))


def generate(model: TextToImage, prompts: Sequence[Prompt], noise: Tensor, origin: Origin = LOADED) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] from noise (B, C, h, w), without gradient; they must be finite."""
    texts, negatives = [prompt.text for prompt in prompts], [prompt.negative for prompt in prompts]
    with torch.no_grad():
        images = model.decode(model.rollout(noise, texts, negatives=negatives))
    if not torch.isfinite(images).all():
        told = "the model generates images that are not finite (NaN) after"
        raise DivergedError(f"{told} {origin.after}; {origin.cause}")
    return images


def first_images(
    model: TextToImage, prompts: Sequence[Prompt], config: EvaluateConfig, origin: Origin
) -> Iterator[Tensor]:
    """The first image of each prompt, (3, H, W) uint8, as `evaluate` generates it."""
    for of_batch, noise in batches(model, prompts, replace(config, images_per_prompt=1)):
        yield from to_pixels(generate(model, of_batch, noise, origin))


def to_pixels(images: Tensor) -> Tensor:
    """Images in [0, 1] to 8 bits, as they are kept."""
    return (images * 255).round().to(torch.uint8).cpu()


def as_seen(pixels: Tensor, device: str) -> Tensor:
    """8-bit images to float32 in [0, 1], as metrics receive them."""
    return pixels.to(device).float() / 255


def batches(
    model: TextToImage, prompts: Sequence[Prompt], config: EvaluateConfig, noise: Noise = evaluation_noise
) -> Iterator[tuple[list[Prompt], Tensor]]:
    """Prompts and noise (B, C, h, w) of an evaluation's images, prompt by prompt, in batches of `config.batch_size`."""
    every = [(prompt, i) for prompt in prompts for i in range(config.images_per_prompt)]
    for start in range(0, len(every), config.batch_size):
        part = every[start : start + config.batch_size]
        z_N = [noise(config.seed, p.text, range(i, i + 1), model.latent_shape) for p, i in part]
        yield [p for p, _ in part], torch.cat(z_N)


class RewardMetric(MeanMetric):
    """A reward's mean as a metric."""

    def __init__(self, name: str, reward: Reward) -> None:
        super().__init__(NoSettings())
        self.name, self.reward = name, reward

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return scores_of(f"reward {self.name!r}", self.reward(images, list(prompts)), len(images))


class _Column:
    """A guarded metric, and the scores of single images so far."""

    def __init__(self, name: str, metric: Metric, origin: Origin) -> None:
        self.name, self.metric, self.origin = name, metric, origin
        self.who = f"{'reward' if isinstance(metric, RewardMetric) else 'metric'} {name!r}"
        self.scores: list[Tensor] = []
        with blamed(self.who):
            metric.reset()

    def update(self, images: Tensor, prompts: Sequence[str], base: Tensor) -> None:
        extra = {"base_images": base} if self.metric.needs_base else {}
        with images_kept(self.who, images, *extra.values()), torch.no_grad(), blamed(self.who):
            scores = self.metric.update(images, list(prompts), **extra)
        if scores is not None:
            if not torch.isfinite(scores_of(self.who, scores, len(images))).all():
                raise DivergedError(f"{self.who} is not finite (NaN or infinite), measured after {self.origin.after}")
            self.scores.append(scores.detach().float().cpu().clone())  # a metric may fill the same tensor again

    def value(self) -> float:
        with blamed(self.who):
            return float(self.metric.compute())

    def interval(self) -> tuple[float, float] | None:
        with blamed(self.who):
            return self.metric.interval()
