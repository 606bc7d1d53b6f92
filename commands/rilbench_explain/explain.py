"""Describes what a run would do and cost, without running it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rilbench.api.calls import stored
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.files import NeededFile, is_reference
from rilbench.contracts.redact import public
from rilbench.contracts.strategy import Stage
from rilbench.engine import config as configuration
from rilbench.engine import identity, secret_settings, unused_settings
from rilbench.engine.after import read_kept
from rilbench.engine.budget import available, check
from rilbench.engine.components import Components
from rilbench.engine.config import RunConfig
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.parts import Parts
from rilbench.engine.plan import planned_stages
from rilbench.engine.planned import PlannedStage
from rilbench.engine.progress import Reporter
from rilbench.files.loras import Lora, loras_of
from rilbench.files.prompts import evaluation_prompts
from rilbench.files.published import MissingFilesError, is_present, place_of
from rilbench.host.catalog import Catalog
from rilbench.model.loading import pick_device
from rilbench.training.config import TrainConfig
from rilbench_explain import influence
from rilbench_study.probe import PROBE, Cost, measure
from rilbench_study.timings import MEASURED, PROBED, Timings

NO_FILES = "unknown: files are missing"
UNKNOWN = "unknown: not even one image fits into memory, so nothing was timed"


def explain(
    config: RunConfig, components: Components, plan: list[PlannedStage], reporter: Reporter | None = None
) -> dict[str, Any]:
    """The plan, resolved settings, samples, updates, trainable parameters, time and memory.

    Time is estimated from similar work in the store or from two timed forward passes; memory from one forward pass.
    """
    loaded = LoadedModel(config, components, plan, reporter or Reporter(quiet=True))
    trained = [planned for planned in plan if planned.train]
    memory = check.count_memory(loaded, trained)  # first: work that does not fit must not be tried
    free = available.free_bytes(loaded.model.device)
    layers = loaded.group.layers.values()
    trainable = sum(config.adapter.rank * (layer.in_features + layer.out_features) for layer in layers)
    images = len(evaluation_prompts(config.evaluate.prompts)) * config.evaluate.images_per_prompt
    probed = check.largest(PROBE, lambda n: memory.evaluation(n, slicing=False), free)
    with loaded.enough_memory("timing a forward pass", check.hopeless(config.model)):
        cost = measure(loaded.model, probed)
    evaluation = identity.digest(components.parts.evaluation_document)
    timings = Timings(Path(config.store))
    stages = [_stage(planned, config, cost, timings, evaluation, images, trainable) for planned in plan]
    measured = all(stage.pop("measured") for stage in stages)
    fit = check.fit(loaded, trained, memory, free)
    how = MEASURED if measured else PROBED if probed else UNKNOWN
    if fit.needed <= free:
        for stage, found in zip(stages, influence.of_stages(loaded, plan, cost), strict=True):
            stage["gradients"] = found
    return _asked(config, components) | {
        "parameters": {"frozen": cost.parameters, "trainable": trainable, "adapted_layers": len(layers)},
        "evaluation_images": images,
        "stages": stages,
        "estimate": {"seconds": sum(stage["seconds"] for stage in stages), "how": how},
        "memory": {
            "weights_gb": round(memory.weights / 1e9, 3),
            "needed_gb": round(fit.needed / 1e9, 3),
            "free_gb": round(free / 1e9, 3),
            "fits": fit.needed <= free,
            "remedies": fit.remedies,
        },
    }


def outline(config: RunConfig, catalog: Catalog, absent: MissingFilesError, given: Mapping[str, Any]) -> dict[str, Any]:
    """The description if files are missing: plan, settings and samples; values that need the files are None."""
    kept = read_kept(config, catalog)
    components = Components(Parts(config, catalog, kept), device=pick_device(config.model.device))
    stages = planned_stages(config, components)
    unused_settings.require_none(unused_settings.find(given, components.parts, stages))
    rows = [_described(Stage(), None, "")]
    rows += [_described(each.stage, each.training, each.by) | {"kept": True} for each in (kept.stages if kept else ())]
    for stage in stages:
        by, rewards = stage.by or config.strategy, list(stage.rewards)
        trains = stage.rewards and not stage.merge
        rows.append(_described(stage, config.train_for((by, config.strategy), rewards) if trains else None, by))
    evaluate = config.evaluate
    known = not is_reference(evaluate.prompts) or is_present(NeededFile.parse(evaluate.prompts))
    missing = [{"name": f.name, "source": f.source, "place": str(place_of(f)), "size": f.size} for f in absent.files]
    return _asked(config, components) | {
        "parameters": None,
        "evaluation_images": len(evaluation_prompts(evaluate.prompts)) * evaluate.images_per_prompt if known else None,
        "stages": rows,
        "estimate": {"seconds": None, "how": NO_FILES},
        "memory": None,
        "missing": missing,
        "remedies": list(absent.remedies),
    }


def _asked(config: RunConfig, components: Components) -> dict[str, Any]:
    return {
        "strategy": config.strategy,
        "rewards": list(components.parts.rewards),
        "after": config.after or None,
        "device": components.device,
        "base_loras": [_lora(lora) for lora in loras_of(config.model.lora)],
        "settings": configuration.as_mapping(secret_settings.public(config, components.parts.catalog)),
    }


def _lora(lora: Lora) -> dict[str, Any]:
    """A LoRA of the base model; without hash if it is not on this machine."""
    try:
        digest = lora.digests[0]
    except ConfigError:
        digest = None
    return {"name": lora.name, "place": public(lora.place), "scale": lora.scale, "sha256": digest}


def _described(stage: Stage, train: TrainConfig | None, by: str) -> dict[str, Any]:
    """The description of a stage that needs no files."""
    return {
        "label": stage.label if stage.rewards or stage.merge else "base",
        "kept": False,
        "id": None,
        "trained_by": by if train else None,
        "start": stage.start,
        "samples": train.samples if train else 0,
        "updates": train.updates if train else 0,
        "trainable_parameters": None,
        "in_store": None,
        "seconds": None,
        "gradients": None,
        "train": asdict(train) if train else None,
    }


def _stage(
    planned: PlannedStage, config: RunConfig, cost: Cost, timings: Timings, evaluation: str, images: int, trainable: int
) -> dict[str, Any]:
    train = planned.training
    trained, evaluated = stored(planned, config.store, evaluation)
    took: list[float | None] = []
    seconds = 0.0
    if not evaluated:
        took.append(timings.evaluation(evaluation, images))
        seconds += cost.sampling(images, config.model.steps) if took[-1] is None else took[-1]
    if planned.train is not None and train is not None and not trained:
        took.append(timings.training(planned.document))
        probed = cost.training(train.samples, config.model.steps, train.last_steps)
        seconds += probed if took[-1] is None else took[-1]
    return _described(planned.stage, train, planned.by) | {
        "measured": None not in took,
        "id": planned.id,
        "trainable_parameters": trainable if train else 0,
        "kept": planned.kept,
        "in_store": trained and evaluated,
        "seconds": round(seconds, 1),
    }
