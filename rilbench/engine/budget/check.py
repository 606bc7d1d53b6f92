"""Whether a run fits into memory, counted for one image before its first stage is trained, and which settings make it
fit."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import combinations
from typing import Any, NamedTuple

from rilbench.contracts.errors import ConfigError, MemoryFullError
from rilbench.contracts.expression import names_in
from rilbench.engine.budget import available
from rilbench.engine.budget.memory import Memory, count, under
from rilbench.engine.config import RunConfig
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.planned import PlannedStage
from rilbench.files.prompts import read_prompts
from rilbench.model.config import ModelConfig

Step = tuple[int, tuple[str, ...]]  # images at a time, rewards
Recount = Callable[[ModelConfig], Memory]  # what the loaded model needs under other settings
SMALLER = {"guidance_gradient": False, "vae_precision": "bf16"}  # what saves memory and changes the numbers


@dataclass(frozen=True)
class Work:
    """What a run needs memory for: training steps, and the numbers of texts of prompts and of images."""

    steps: Sequence[Step]
    prompts: int
    images: int


class Fit(NamedTuple):
    """Bytes that a run needs in addition to the loaded weights, and what would make it fit if it does not."""

    needed: int
    remedies: list[str]


def check_memory(loaded: LoadedModel, stages: Sequence[PlannedStage]) -> None:
    """ConfigError, with the settings that would help, if training these stages does not fit."""
    device = loaded.components.device
    memory, free = count_memory(loaded, stages), available.free_bytes(device)
    run = fit(loaded, stages, memory, free)
    if run.needed > free:
        remedy = " and ".join(run.remedies) or hopeless(loaded.config.model)
        needs = f"the run needs about {run.needed / 1e9:.1f} GB in addition to the loaded weights"
        has = f"{device} has {free / 1e9:.1f} GB free"
        raise ConfigError(f"{needs}, {has}: {remedy}. check_memory=false skips this check.")


def fit(loaded: LoadedModel, stages: Sequence[PlannedStage], memory: Memory, free: int) -> Fit:
    """Whether training these stages fits into so many free bytes."""
    config, todo = loaded.config, work(loaded, stages)
    wanted, recount = needed(config, todo, memory), partial(count_memory, loaded, stages)
    return Fit(wanted, remedies(config, todo, memory, free, recount) if wanted > free else [])


def count_memory(loaded: LoadedModel, stages: Sequence[PlannedStage], config: ModelConfig | None = None) -> Memory:
    """What one image needs in any of the stages, or would need under other settings of the model.

    All that stays loaded is made here, metrics too, so that the bytes free afterwards are free for the work.
    """
    loaded.reporter.say("measuring the memory that one image needs")
    components = loaded.components
    with loaded.enough_memory("loading rewards and metrics", available.elsewhere(loaded.config.model)):
        rewards = {name: components.reward(name) for planned in stages for name in names_in(planned.stage.rewards)}
        metrics = [components.metric(name) for name in components.parts.columns()]
    trains = [planned.train for planned in stages if planned.train]
    with loaded.enough_memory("trying one image", hopeless(loaded.config.model)):
        return count(
            under(loaded.model, config) if config else loaded.model,
            loaded.group,
            rewards,
            metrics,
            prompt=read_prompts(trains[0].prompts)[0].text if trains else "",
            last_steps=max((train.last_steps for train in trains), default=1),
        )


def work(loaded: LoadedModel, stages: Sequence[PlannedStage]) -> Work:
    """What takes memory in training stages and measuring: images at a time with rewards, prompts."""
    trains = [(planned.train, names_in(planned.stage.rewards)) for planned in stages if planned.train]
    steps = [(train.micro_batch or train.batch_size, rewards) for train, rewards in trains]
    prompts = [*loaded.prompts, *(prompt for train, _ in trains for prompt in read_prompts(train.prompts))]
    texts = {text for prompt in prompts for text in (prompt.text, prompt.negative)} - {""}
    return Work(steps, len(texts), loaded.most_images)


def needed(config: RunConfig, work: Work, memory: Memory) -> int:
    """Bytes in addition to the loaded weights: what stays, and the step or evaluation that needs most."""
    on, slicing = config.model.gradient_checkpointing, config.model.vae_slicing
    training = [memory.training(images, rewards, checkpointing=on) for images, rewards in work.steps]
    evaluation = memory.evaluation(min(config.evaluate.batch_size, work.images), slicing=slicing)
    return memory.standing(work.prompts) + max([*training, evaluation])


def hopeless(model: ModelConfig) -> str:
    """The advice if no known remedy is sufficient."""
    return f"even one image is too large; lower model.resolution, or {available.elsewhere(model)}"


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
