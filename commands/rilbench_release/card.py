"""The model card of an export: contents, usage, results and training."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from json import dumps
from pathlib import Path
from typing import Any

from rilbench.cli.templates import filled
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.redact import redacted, values
from rilbench.contracts.yaml_text import dump
from rilbench.engine.config import RunConfig
from rilbench.engine.saved import SavedRun
from rilbench.files.prompts import evaluation_prompts
from rilbench.store.tables import markdown, markdown_table
from rilbench_release.base_lora import BaseLora
from rilbench_release.models import hub_id, scheduler_of

TAGS = ("text-to-image", "diffusers", "rilbench", "reward-tuning")
TRAINING = ("samples", "batch_size", "lr", "weight_decay", "reward_scale")
REPEAT = "rilbench run --config config.yaml"  # the file next to the card


def model_card(
    run: SavedRun,
    stage: int,
    *,
    kind: str,
    prefix: str,
    rank: int,
    name: str,
    license: str | None,
    pictures: bool,
    loras: Sequence[BaseLora] = (),
    next_stage: int = 1,
) -> str:
    """README.md with the Hub's YAML in front.

    kind: diffusers, peft or merged. prefix: unet or transformer. license: of the base model, whose terms hold for what
    is made from it; a line to fill in when it is not given. pictures: whether samples.png is there to be shown.
    loras: the base model's that the export does not contain. next_stage: the `first_stage` of a run that continues it.
    """
    result, config = run.up_to(stage), run.config
    path, base = config.model.path, hub_id(config.model.path)
    front = {"base_model": base, "license": license, "pipeline_tag": "text-to-image"}
    front["library_name"] = "peft" if kind == "peft" else "diffusers"
    tags = {"tags": [*TAGS, *(["lora"] if kind != "merged" else [])]}
    return filled(
        "rilbench_release",
        "card.j2",
        config=config,
        result=result,
        front=dump({key: value for key, value in front.items() if value} | tags).strip(),
        base=base,
        license=license,
        shown_base=path if base or path.startswith("package:") else Path(path).name,
        name=name,
        kind=kind,
        prefix=prefix,
        rank=rank,
        stage=stage,
        stage_label=run.rows[stage].label,
        scheduler=scheduler_of(config.model, prefix),
        prompts=_prompts(config),
        table=markdown(result),
        pictures=pictures,
        loras=loras,
        adapters=dumps([*(f"base-{i + 1}" for i in range(len(loras))), *(["stages"] if kind == "diffusers" else [])]),
        scales=[*(lora.scale for lora in loras), *([1.0] if kind == "diffusers" else [])],
        next_stage=next_stage,
        command=redacted(result.command) or REPEAT,
        training=_training(run, stage),
        settings=dump(values(_settings(config))).strip(),
    )


def _prompts(config: RunConfig) -> list[str]:
    try:
        return [prompt.label for prompt in evaluation_prompts(config.evaluate.prompts)]
    except ConfigError:  # their file is not here
        return []


def _training(run: SavedRun, stage: int) -> str:
    """A row of training settings per trained stage."""
    body = []
    for number in range(1, stage + 1):
        if document := run.document(number):
            train = document["train"]
            body.append([f"{number} {run.rows[number].label}", *(f"{train[key]:g}" for key in TRAINING)])
    return markdown_table(["stage", *TRAINING], body)


def _settings(config: RunConfig) -> dict[str, Any]:
    """The main settings; config.yaml contains all."""
    model = {key: value for key, value in asdict(config.model).items() if key != "device"}
    adapter = asdict(config.adapter) | {"targets": list(config.adapter.targets)}
    return {"model": model, "adapter": adapter, config.strategy: config.strategy_settings.get(config.strategy, {})}
