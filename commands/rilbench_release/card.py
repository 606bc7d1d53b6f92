"""The model card of an export: what it is, how to use it, what was measured, how it was made."""

from __future__ import annotations

from dataclasses import asdict
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from omegaconf import OmegaConf

from rilbench.api.saved import SavedRun
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.redact import redacted, values
from rilbench.engine.config import RunConfig
from rilbench.files.prompts import evaluation_prompts
from rilbench.model.config import ModelConfig
from rilbench.store.tables import markdown, markdown_table
from rilbench_release.models import hub_id, scheduler_of

KINDS = {
    "diffusers": "one ordinary LoRA of rank {rank}, the exact sum of the stages' pairs",
    "peft": "one ordinary LoRA of rank {rank} in PEFT's format, the exact sum of the stages' pairs",
    "merged": "a whole pipeline with the stages' weight changes in its weights",
}
TAGS = ("text-to-image", "diffusers", "rilbench", "reward-tuning")
TRAINING = ("samples", "batch_size", "lr", "weight_decay", "reward_scale")
PICTURES = "![The first prompts with the same noise after each stage](samples.png)"
REPEAT = "rilbench run --config config.yaml"  # of the file beside the card


def model_card(
    run: SavedRun, stage: int, *, kind: str, prefix: str, rank: int, name: str, license: str | None, pictures: bool
) -> str:
    """README.md with the Hub's YAML in front.

    kind: diffusers, peft or merged. prefix: unet or transformer. license: of the base model, whose terms hold for what
    is made from it; a line to fill in when it is not given. pictures: whether samples.png is there to be shown.
    """
    template = Template(files("rilbench_release").joinpath("card.txt").read_text(encoding="utf-8"))
    result, config = run.up_to(stage), run.config
    return template.substitute(
        front=_front(config, kind, license),
        name=name,
        base=_base(config.model),
        kind=KINDS[kind].format(rank=rank),
        order=" > ".join(result.rewards),
        label=result.label,
        stage=stage,
        stage_label=run.rows[stage].label,
        seed=result.seed,
        use=_use(config, kind, prefix, name),
        table=markdown(result),
        prompts=_prompts(config),
        pictures=f"\n{PICTURES}\n" if pictures else "",
        command=redacted(result.command) or REPEAT,
        training=_training(run, stage),
        settings=_yaml(values(_settings(config))),
        plugins=", ".join(f"`{key}` {version}" for key, version in result.plugins.items()),
    )


def _base(model: ModelConfig) -> str:
    """The base model by a name that says something on other machines too."""
    if hub_id(model.path) and model.revision:
        return f"{model.path}@{model.revision}"
    return model.path if hub_id(model.path) or model.path.startswith("package:") else Path(model.path).name


def _front(config: RunConfig, kind: str, license: str | None) -> str:
    base = hub_id(config.model.path)
    tags = [*TAGS, *(["lora"] if kind != "merged" else [])]
    known = {"base_model": base, "license": license, "pipeline_tag": "text-to-image", "tags": tags}
    known["library_name"] = "peft" if kind == "peft" else "diffusers"
    lines = [_yaml({key: value for key, value in known.items() if value})]
    if not base:
        lines.append("# base_model: the Hub id of the base model, which was read from a local folder")
    if not license:
        lines.append("# license: that of the base model, whose terms hold for this one too")
    return "\n".join(lines)


def _yaml(values: dict[str, Any]) -> str:
    return OmegaConf.to_yaml(OmegaConf.create(values)).strip()


def _use(config: RunConfig, kind: str, prefix: str, name: str) -> str:
    """Python that makes the pictures the table was measured on, up to the noise."""
    imports = ["from diffusers import DiffusionPipeline"]
    where = "this-folder" if kind == "merged" else hub_id(config.model.path) or "the-base-model"
    pinned = f', revision="{config.model.revision}"' if where == config.model.path and config.model.revision else ""
    dtype = "torch.float32" if config.model.precision == "fp32" else "torch.bfloat16"
    lines = [f'pipe = DiffusionPipeline.from_pretrained("{where}"{pinned}, dtype={dtype})']
    if scheduler := scheduler_of(config.model, prefix):
        imports[0] = f"from diffusers import {', '.join(sorted([scheduler, 'DiffusionPipeline']))}"
        options = f', timestep_spacing="{config.model.spacing}", clip_sample=False, thresholding=False'
        given = options if scheduler == "DDIMScheduler" else ""
        lines.append(f"pipe.scheduler = {scheduler}.from_config(pipe.scheduler.config{given})")
    if kind == "diffusers":
        lines.append('pipe.load_lora_weights("this-folder", weight_name="pytorch_lora_weights.safetensors")')
    if kind == "peft":
        imports.append("from peft import PeftModel")
        lines.append(f'pipe.{prefix} = PeftModel.from_pretrained(pipe.{prefix}, "this-folder")')
    size = f", height={config.model.resolution}, width={config.model.resolution}" if config.model.resolution else ""
    call = f"num_inference_steps={config.model.steps}, guidance_scale={config.model.guidance}{size}"
    lines.append(f'image = pipe("a prompt", {call}).images[0]')
    text = "\n".join(["```python", "import torch", *imports, "", *lines, "```"])
    text += "\n\n`this-folder` is where this card lies"
    text += "; `the-base-model` is the folder or Hub id of the model named above." if where == "the-base-model" else "."
    if kind == "diffusers" and prefix == "unet":
        text += f"\n\nWeb interfaces such as AUTOMATIC1111, Forge and ComfyUI: `{name}-webui.safetensors`, weight 1."
    return text


def _prompts(config: RunConfig) -> str:
    """What was measured on, with a few of the prompts when their file is here."""
    evaluate = config.evaluate
    try:
        prompts = evaluation_prompts(evaluate.prompts)
    except ConfigError:
        return f"the prompts of `{evaluate.prompts}`, {evaluate.images_per_prompt} images each"
    shown = "; ".join(f"“{prompt}”" for prompt in prompts[:3])
    return f"{len(prompts)} prompts ({shown} ...), {evaluate.images_per_prompt} images each"


def _training(run: SavedRun, stage: int) -> str:
    """A line of training settings for each trained stage."""
    body = []
    for number in range(1, stage + 1):
        if document := run.document(number):
            train = document["train"]
            body.append([f"{number} {run.rows[number].label}", *(f"{train[key]:g}" for key in TRAINING)])
    return markdown_table(["stage", *TRAINING], body)


def _settings(config: RunConfig) -> dict[str, Any]:
    """The settings that a reader wants first; config.yaml holds all."""
    model = {key: value for key, value in asdict(config.model).items() if key != "device"}
    adapter = asdict(config.adapter) | {"targets": list(config.adapter.targets)}
    return {"model": model, "adapter": adapter, config.strategy: config.strategy_settings.get(config.strategy, {})}
