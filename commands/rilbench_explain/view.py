"""Prints the result of `rilbench explain`."""

from __future__ import annotations

import math
from typing import Any

from rich.filesize import decimal

from rilbench.cli.output import echo, print_fields, print_table
from rilbench.contracts.yaml_text import dump

HEAD = ("stage", "trained by", "starts from", "samples", "updates", "lr", "batch", "in store", "seconds")


def show(plan: dict[str, Any]) -> None:
    """Print the plan, the estimates and the resolved settings."""
    title = f"{plan['strategy']}: {' > '.join(plan['rewards'])}" + (f", after {plan['after']}" if plan["after"] else "")
    print_table(HEAD, [_row(i, stage) for i, stage in enumerate(plan["stages"])], title=title, numbers=True)
    images = plan["evaluation_images"]
    lines = _estimates(plan) if plan["parameters"] else dict.fromkeys(("time", "memory"), plan["estimate"]["how"])
    if plan["base_loras"]:
        lines["base model"] = "\n".join(["with the LoRAs", *map(_lora, plan["base_loras"])])
    lines["measured"] = (
        f"{images} images after every stage" if images else "unknown: the evaluation prompts are missing"
    )
    found = [f"{i} {stage['label']}: {_ratios(stage)}" for i, stage in enumerate(plan["stages"]) if stage["gradients"]]
    if found:
        lines["gradient norms"] = "\n".join(found)
    if missing := plan.get("missing"):
        sizes = [f", {decimal(file['size'])}" if file["size"] else "" for file in missing]
        named = [f"{file['name']} of {file['source']}{size}" for file, size in zip(missing, sizes, strict=True)]
        lines["missing"] = "\n".join(named)
    print_fields(lines)
    for text in (*plan.get("remedies", ()), "\nsettings", dump(plan["settings"])):
        echo(text)


def _lora(lora: dict[str, Any]) -> str:
    digest = f"sha256 {lora['sha256'][:12]}..." if lora["sha256"] else "missing"
    return f"{lora['place']} x {lora['scale']:g} ({digest})"


def _row(number: int, stage: dict[str, Any]) -> list[str]:
    train = stage["train"] or {}
    return [
        f"{number} {stage['label']}",
        stage["trained_by"] or "-",
        "kept" if stage["kept"] else stage["start"] if train else "-",
        str(stage["samples"]),
        str(stage["updates"]),
        f"{train['lr']:g}" if train else "-",
        str(train.get("batch_size", "-")),
        {True: "yes", False: "no", None: "?"}[stage["in_store"]],
        _seconds(stage["seconds"]),
    ]


def _ratios(stage: dict[str, Any]) -> str:
    """Of a stage that is not trained yet those of its first updates, after which the distance from a teacher grows."""
    ratios = ", ".join(f"{name} {ratio:.2g}" for name, ratio in stage["gradients"].items())
    return ratios if stage["in_store"] else f"{ratios}, in the first updates from the base model; training changes it"


def _estimates(plan: dict[str, Any]) -> dict[str, str]:
    parameters, estimate, memory = plan["parameters"], plan["estimate"], plan["memory"]
    needs = f"{memory['weights_gb']} GB of weights, about {memory['needed_gb']} GB in addition"
    helps = " and ".join(memory["remedies"]) or "even the smallest batch is too large"
    return {
        "trainable": f"{parameters['trainable']:,} parameters in {parameters['adapted_layers']} layers, new per stage",
        "frozen": f"{parameters['frozen']:,} parameters",
        "time": f"about {_seconds(estimate['seconds'])} s on {plan['device']} ({estimate['how']})",
        "memory": f"{needs}, {memory['free_gb']} GB free" + ("" if memory["fits"] else f": does not fit; {helps}"),
    }


def _seconds(value: float | None) -> str:
    return "?" if value is None or math.isnan(value) else f"{value:.0f}"
