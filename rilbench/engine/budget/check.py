"""Whether a run fits into memory, found with one image before the first stage is trained."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from rilbench.engine.budget import memory_check
from rilbench.engine.budget.memory import Memory, count, under
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.plan import PlannedStage
from rilbench.files.prompts import read_prompts
from rilbench.model.config import ModelConfig
from rilbench.model.files import has_pair
from rilbench.model.text_to_image import TextToImage


def check_memory(loaded: LoadedModel) -> None:
    """ConfigError when what is not trained yet would not fit; nothing is loaded when everything is trained."""
    wanted = [p for p in loaded.plan if p.train is not None and not has_pair(loaded.files(p).folder)]
    if not wanted or not loaded.config.check_memory:
        return
    memory, todo, device = count_memory(loaded, wanted), work(loaded, wanted), loaded.model.device
    if memory_check.needed(loaded.config, todo, memory) > memory_check.free_bytes(device):
        from rilbench.engine.budget.remedies import too_large

        raise too_large(loaded.config, todo, memory, device, partial(count_memory, loaded, wanted))


def count_memory(loaded: LoadedModel, stages: Sequence[PlannedStage], config: ModelConfig | None = None) -> Memory:
    """What one image needs in any of the stages, or would need under other settings of the model.

    All that stays loaded is made here, metrics too, so that the bytes free afterwards are free for the work.
    """
    loaded.reporter.say("counting the memory that one image takes")
    components = loaded.components
    with loaded.enough_memory("loading rewards and metrics", memory_check.elsewhere(loaded.config.model)):
        rewards = {name: components.reward(name) for planned in stages for name in planned.stage.rewards}
        metrics = [components.metric(name) for name in components.parts.columns()]
    trains = [planned.train for planned in stages if planned.train]
    prompt = read_prompts(trains[0].prompts)[0] if trains else ""
    last_steps = max((train.last_steps for train in trains), default=1)
    loaded.changed()
    with loaded.enough_memory("trying one image", memory_check.hopeless(loaded.config.model)):
        model = under(loaded.model, config) if config else loaded.model
        counted = partial(
            count, group=loaded.group, rewards=rewards, metrics=metrics, prompt=prompt, last_steps=last_steps
        )
        _check_growth(model, counted)
        return counted(model)


def work(loaded: LoadedModel, stages: Sequence[PlannedStage]) -> memory_check.Work:
    """What takes memory in training stages and measuring: images at a time with rewards, prompts."""
    trains = [(planned.train, tuple(planned.stage.rewards)) for planned in stages if planned.train]
    steps = [(train.micro_batch or train.batch_size, rewards) for train, rewards in trains]
    prompts = {*loaded.prompts, *(prompt for train, _ in trains for prompt in read_prompts(train.prompts))}
    return memory_check.Work(steps, len(prompts), loaded.images)


def _check_growth(model: TextToImage, counted: Callable[[TextToImage], Memory]) -> None:
    """MemoryFullError for a resolution whose forward would take hours, or more memory than there is."""
    backbone = model.backbone
    if backbone.latent_side <= backbone.own_side:
        return
    from rilbench.engine.budget import growth

    growth.check(
        lambda side: counted(under(model, replace(model.config, resolution=side))),
        own=backbone.own_side * backbone.pixels_per_latent,
        wanted=backbone.latent_side * backbone.pixels_per_latent,
        free=memory_check.free_bytes(model.device),
        place=model.device,
        remedy=memory_check.hopeless(model.config),
    )
