"""What identifies a run in MLflow: a few parameters, tags, and files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rilbench.received import inside
from rilbench.result import RunResult
from rilbench.store import read_json

AT_START = ("config.yaml", "environment.json")
AT_END = ("result.json", "table.md", "samples.png")
RUN, STUDY, LABEL = "rilbench.run", "rilbench.study", "rilbench.label"


def params(result: RunResult) -> dict[str, str]:
    """The columns that tell runs apart; all other settings are in the artifact `config.yaml`."""
    return {"strategy": result.strategy, "rewards": " > ".join(result.rewards), "seed": str(result.seed)}


def tags(folder: Path, result: RunResult) -> dict[str, str]:
    """Version, commit, command and folder; those MLflow knows fill its own columns."""
    path = folder / "environment.json"
    environment: dict[str, Any] = read_json(path) if path.exists() else {}
    commit = environment.get("commit") or ""
    values = {
        "rilbench.version": environment.get("packages", {}).get("rilbench"),
        "rilbench.commit": commit,
        "rilbench.command": result.command,
        RUN: result.name,
        LABEL: result.label,
        "rilbench.plugins": "; ".join(f"{name} = {origin}" for name, origin in sorted(result.plugins.items())),
        "rilbench.folder": str(folder.resolve()),
        "mlflow.source.name": "rilbench",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit.rstrip("+"),
    }
    return {key: value for key, value in values.items() if value}


def of_study(study: str, label: str) -> dict[str, str]:
    """What a run is in a study. A run may be in several: STUDY names the last one, and each has a tag of its own."""
    return {LABEL: label, STUDY: study, f"{STUDY}.{study}": "yes"}


def description(folder: Path) -> dict[str, str]:
    """The tag MLflow shows as Markdown on top of a run's page: the result's table."""
    path = inside(folder, "table.md")
    return {"mlflow.note.content": path.read_text(encoding="utf-8")} if path else {}
