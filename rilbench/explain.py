"""What a run would do and cost, without doing it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Any

from rilbench import config as configuration
from rilbench import identity
from rilbench.components import Components
from rilbench.config import RunConfig
from rilbench.model.adapters import AdapterGroup
from rilbench.model.files import has_pair
from rilbench.model.text_to_image import TextToImage
from rilbench.plan import PlannedStage
from rilbench.prompts import read_prompts
from rilbench.training.cost import Cost, measure


def explain(config: RunConfig, components: Components, plan: list[PlannedStage]) -> dict[str, Any]:
    """The plan, resolved settings, samples, updates, trainable parameters, and estimates from two timed forwards."""
    model = TextToImage.load(config.model)
    group = AdapterGroup(model.network, targets=config.adapter.targets)
    trainable = sum(config.adapter.rank * (m.in_features + m.out_features) for m in group.layers.values())
    images = len(read_prompts(config.evaluate.prompts)) * config.evaluate.images_per_prompt
    cost = measure(model)
    evaluation = identity.digest(components.evaluation_document())
    stages = [_stage(planned, config, cost, evaluation, images, trainable) for planned in plan]
    return {
        "strategy": config.strategy,
        "rewards": list(config.rewards),
        "device": model.device,
        "parameters": {"frozen": cost.parameters, "trainable": trainable, "adapted_layers": len(group.layers)},
        "evaluation_images": images,
        "stages": stages,
        "estimate": {
            "seconds": sum(stage["seconds"] for stage in stages),
            "memory_gb": cost.memory_gb(_largest_batch(plan)),
            "how": "from two timed forwards on this machine; rewards and metrics are left out",
        },
        "settings": configuration.as_mapping(config),
    }


def _stage(
    planned: PlannedStage, config: RunConfig, cost: Cost, evaluation: str, images: int, trainable: int
) -> dict[str, Any]:
    folder = Path(config.store) / "stages" / planned.id
    train = planned.train
    done = train is None or has_pair(folder)
    measured = (folder / "evaluations" / evaluation / "metrics.json").exists()
    seconds = 0.0 if measured else cost.sampling(images, config.model.steps)
    if train is not None and not done:
        seconds += cost.training(train.samples, config.model.steps, train.last_steps)
    return {
        "label": planned.stage.label if planned.stage.rewards or planned.stage.merge else "base",
        "id": planned.id,
        "trained_by": planned.by or None,
        "start": planned.stage.start,
        "samples": train.samples if train else 0,
        "updates": train.samples // train.batch_size if train else 0,
        "trainable_parameters": trainable if train else 0,
        "in_store": done and measured,
        "seconds": round(seconds, 1),
        "train": asdict(train) if train else None,
    }


def _largest_batch(plan: list[PlannedStage]) -> int:
    return max((planned.train.batch_size for planned in plan if planned.train), default=0)
