"""The settings with which a run that is too large would fit; loaded for such a run only."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations
from typing import Any

from rilbench.contracts.errors import ConfigError, MemoryFullError
from rilbench.engine.budget import memory_check
from rilbench.engine.budget.memory import Memory
from rilbench.engine.budget.memory_check import Step, Work, hopeless, needed
from rilbench.engine.config import RunConfig
from rilbench.model.config import ModelConfig

Recount = Callable[[ModelConfig], Memory]  # what the loaded model needs under other settings
SMALLER = {"guidance_gradient": False, "vae_precision": "bf16"}  # what saves memory and changes the numbers


def too_large(config: RunConfig, work: Work, memory: Memory, device: str, recount: Recount) -> ConfigError:
    """The error for a run that does not fit."""
    wanted, free = needed(config, work, memory), memory_check.free_bytes(device)
    told = " and ".join(remedies(config, work, memory, free, recount)) or hopeless(config.model)
    has = f"{device} has {free / 1e9:.1f} GB free"
    needs = f"the run needs about {wanted / 1e9:.1f} GB beside the loaded weights"
    return ConfigError(f"{needs}, {has}: {told}. With check_memory=false it is tried all the same.")


def remedies(config: RunConfig, work: Work, memory: Memory, free: int, recount: Recount) -> list[str]:
    """The fewest settings that make training and evaluation fit, with those that change numbers last; empty if
    none do."""
    for changes in _changes(config.model):
        model = replace(config.model, **changes)
        try:
            counted = recount(model) if changes else memory
        except MemoryFullError:  # not even one image could be tried
            continue
        told = _same_numbers(replace(config, model=model), work, counted, free)
        if told is not None:
            return told + [f"set model.{k}={str(v).lower()} (changes the numbers)" for k, v in changes.items()]
    return []


def _changes(model: ModelConfig) -> Iterator[dict[str, Any]]:
    """Settings that change numbers and are not set yet: none, each alone, all."""
    new = [key for key, value in SMALLER.items() if getattr(model, key) != value]
    for size in range(len(new) + 1):
        for keys in combinations(new, size):
            yield {key: SMALLER[key] for key in keys}


def _same_numbers(config: RunConfig, work: Work, memory: Memory, free: int) -> list[str] | None:
    """Settings that change no number and make it fit; None if there are none."""
    free -= memory.standing(work.prompts)
    training, evaluation = _for_training(config, work.steps, memory, free), _for_evaluation(config, work, memory, free)
    return None if training is None or evaluation is None else training + evaluation


def _for_training(config: RunConfig, steps: Sequence[Step], memory: Memory, free: int) -> list[str] | None:
    configured = config.model.gradient_checkpointing
    most = max((images for images, _ in steps), default=0)
    for on in dict.fromkeys((configured, True)):
        checkpointing = ["set model.gradient_checkpointing=true"] if on > configured else []

        def need(images: int, on: bool = on) -> int:
            return max(memory.training(min(images, size), rewards, checkpointing=on) for size, rewards in steps)

        size = largest(most, need, free)
        if size or not most:
            return checkpointing + ([f"set train.micro_batch={size} (the same gradient)"] if size < most else [])
    return None


def _for_evaluation(config: RunConfig, work: Work, memory: Memory, free: int) -> list[str] | None:
    batch, configured = min(config.evaluate.batch_size, work.images), config.model.vae_slicing
    as_it_is = largest(batch, lambda images: memory.evaluation(images, slicing=configured), free)
    sliced = largest(batch, lambda images: memory.evaluation(images, slicing=True), free)
    if not sliced:
        return None
    slicing = ["set model.vae_slicing=true"] if sliced > as_it_is else []
    return slicing + ([f"set evaluate.batch_size={sliced}"] if sliced < batch else [])


def largest(most: int, need: Callable[[int], int], free: int) -> int:
    """The largest number of images, at most `most`, that fits into the free memory; 0 if there is none."""
    return next((n for n in range(most, 0, -1) if need(n) <= free), 0)
