"""One row of the result: every metric on images of the evaluation prompts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from rilbench.contracts.components import Metric
from rilbench.contracts.errors import DivergedError
from rilbench.evaluation.bootstrap import interval
from rilbench.evaluation.config import EvaluateConfig
from rilbench.host.guard import blamed, images_kept, scores_of
from rilbench.model.randomness import evaluation_noise
from rilbench.model.reading import groups
from rilbench.model.text_to_image import TextToImage


@dataclass(frozen=True)
class Evaluation:
    """Values and 95 % intervals by metric; scores (prompts, images per prompt) of the metrics that have them."""

    values: dict[str, float]
    intervals: dict[str, tuple[float, float]]
    scores: dict[str, Tensor]
    pictures: list[Tensor]  # the first image of the first prompts, (3, H, W) uint8


class ImagesError(DivergedError):
    """Images that are not finite; `images_after` adds the model and the remedy."""


@contextmanager
def images_after(what: str, why: str) -> Iterator[None]:
    """Within, an error about images that are not finite names what was done to the model, and the likely cause."""
    try:
        yield
    except ImagesError as error:
        raise DivergedError(f"{error} after {what}; {why}") from None


def cause(trained: bool) -> str:
    """The likely cause of NaN images, and the remedy."""
    if trained:
        return "its training diverged; lower train.lr and train it again"
    return (
        "nothing is trained there, so it is the model: check its weights, model.precision, model.vae_precision and its "
        "scheduler"
    )


def evaluate(
    model: TextToImage,
    prompts: Sequence[str],
    metrics: Mapping[str, Metric],
    config: EvaluateConfig,
    *,
    base_images: Any = None,
    keep: Callable[[Tensor], None] = lambda pixels: None,
    on_batch: Callable[[int, int], None] = lambda done, total: None,
) -> Evaluation:
    """Generate and measure: every metric receives the images in 8 bits, as they are kept.

    base_images: the base model's images, anything that slices to (B, 3, H, W) uint8, prompt by prompt; without them the
    images are their own base, which is correct for the base model.

    keep: receives the images (B, 3, H, W) uint8 of each batch, in that order.
    """
    scores: dict[str, list[Tensor]] = {}
    pictures: list[Tensor] = []
    wanted = range(0, min(config.pictures, len(prompts)) * config.images_per_prompt, config.images_per_prompt)
    done, total = 0, len(prompts) * config.images_per_prompt
    for name, metric in metrics.items():
        with blamed(f"metric {name!r}"):
            metric.reset()
    for batch_prompts, noise in batches(model, prompts, config):
        pixels = to_pixels(generate(model, batch_prompts, noise))
        batch = as_seen(pixels, model.device)
        pictures += [pixels[i - done].clone() for i in wanted if done <= i < done + len(batch)]
        keep(pixels)
        base = batch if base_images is None else as_seen(base_images[done : done + len(batch)], model.device)
        for name, metric in metrics.items():
            extra = {"base_images": base} if metric.needs_base else {}
            who = f"metric {name!r}"
            with images_kept(who, batch, *extra.values()), torch.no_grad(), blamed(who):
                of_batch = metric.update(batch, list(batch_prompts), **extra)
            if of_batch is not None:
                scores.setdefault(name, []).append(_checked(name, of_batch, len(batch)))
        done += len(batch)
        on_batch(done, total)
    by_prompt = {name: torch.cat(s).reshape(len(prompts), -1) for name, s in scores.items()}
    alike = groups(model.readings(prompts))
    intervals = {name: interval(s, groups=alike, resamples=config.bootstrap) for name, s in by_prompt.items()}
    return Evaluation(
        values={name: _value(name, metric) for name, metric in metrics.items()},
        intervals={name: bounds for name, bounds in intervals.items() if bounds},
        scores=by_prompt,
        pictures=pictures,
    )


def generate(model: TextToImage, prompts: Sequence[str], noise: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] from noise (B, C, h, w), without gradient; they must be finite."""
    with torch.no_grad():
        images = model.decode(model.rollout(noise, prompts))
    if not torch.isfinite(images).all():
        raise ImagesError("the model generates images that are not finite (NaN)")
    return images


def to_pixels(images: Tensor) -> Tensor:
    """Images in [0, 1] to 8 bits, as they are kept."""
    return (images * 255).round().to(torch.uint8).cpu()


def as_seen(pixels: Tensor, device: str) -> Tensor:
    """8-bit images to float32 in [0, 1], as metrics receive them."""
    return pixels.to(device).float() / 255


def batches(model: TextToImage, prompts: Sequence[str], config: EvaluateConfig) -> Iterator[tuple[list[str], Tensor]]:
    """Prompts and noise (B, C, h, w) of an evaluation's images, prompt by prompt, in batches of `config.batch_size`."""
    every = [(prompt, i) for prompt in prompts for i in range(config.images_per_prompt)]
    for start in range(0, len(every), config.batch_size):
        part = every[start : start + config.batch_size]
        noise = [evaluation_noise(config.seed, p, range(i, i + 1), model.latent_shape) for p, i in part]
        yield [p for p, _ in part], torch.cat(noise)


def _value(name: str, metric: Metric) -> float:
    with blamed(f"metric {name!r}"):
        return float(metric.compute())


def _checked(name: str, scores: Tensor, n: int) -> Tensor:
    scores_of(f"metric {name!r}", scores, n)
    if not torch.isfinite(scores).all():
        raise DivergedError(f"metric {name!r} is not finite (NaN or infinite)")
    return scores.detach().float().cpu().clone()  # a metric may fill the same tensor again
