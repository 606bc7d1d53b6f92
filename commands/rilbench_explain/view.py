"""`rilbench explain` for people."""

from __future__ import annotations

import math
from typing import Any

from rich.console import Console
from rich.filesize import decimal
from rich.table import Table
from rich.text import Text

from rilbench.contracts.yaml_text import dump


def show(told: dict[str, Any], console: Console) -> None:
    """Print the plan, the estimates and the resolved settings."""
    table = Table(title=Text(f"{told['strategy']}: {' > '.join(told['rewards'])}"))
    for name in ("stage", "trained by", "starts from", "samples", "updates", "lr", "batch", "in store", "seconds"):
        table.add_column(name, justify="left" if name in ("stage", "trained by", "starts from") else "right")
    for i, stage in enumerate(told["stages"]):
        train = stage["train"] or {}
        table.add_row(
            Text(f"{i} {stage['label']}"),
            Text(stage["trained_by"] or "-"),
            stage["start"] if stage["train"] else "-",
            str(stage["samples"]),
            str(stage["updates"]),
            f"{train['lr']:g}" if train else "-",
            str(train.get("batch_size", "-")),
            {True: "yes", False: "no", None: "?"}[stage["in_store"]],
            _seconds(stage["seconds"]),
        )
    console.print(table)
    images = told["evaluation_images"]
    lines = _estimates(told) if told["parameters"] else dict.fromkeys(("time", "memory"), told["estimate"]["how"])
    lines["measured"] = f"{images} images after every stage" if images else "its prompts are missing"
    for name, value in lines.items():
        console.print(f"{name:10} {value}", highlight=False, markup=False, soft_wrap=True)
    for file in told.get("missing", ()):
        size = f", {decimal(file['size'])}" if file["size"] else ""
        text = f"{'missing':10} {file['name']} of {file['source']}{size}"
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    for text in told.get("remedies", ()):
        console.print(text, highlight=False, markup=False, soft_wrap=True)
    console.print("\nsettings", highlight=False, markup=False)
    console.print(dump(told["settings"]), highlight=False, markup=False)


def _estimates(told: dict[str, Any]) -> dict[str, str]:
    parameters, estimate = told["parameters"], told["estimate"]
    return {
        "trainable": f"{parameters['trainable']:,} numbers in {parameters['adapted_layers']} layers, new in each stage",
        "frozen": f"{parameters['frozen']:,} numbers",
        "time": f"about {_seconds(estimate['seconds'])} s on {told['device']} ({estimate['how']})",
        "memory": _memory(told["memory"]),
    }


def _seconds(value: float | None) -> str:
    return "?" if value is None or math.isnan(value) else f"{value:.0f}"


def _memory(told: dict[str, Any]) -> str:
    text = f"{told['weights_gb']} GB of weights, about {told['needed_gb']} GB beside them, {told['free_gb']} GB free"
    if told["fits"]:
        return text
    return f"{text}: does not fit; {' and '.join(told['remedies']) or 'no batch is small enough'}"
