"""The parameters, tags and files that identify a run in MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from rilbench.contracts import redact
from rilbench.contracts.result import RunResult
from rilbench.contracts.settings import flat
from rilbench.contracts.untrusted import inside
from rilbench.contracts.yaml_text import parse
from rilbench.store.checksums import damaged
from rilbench.store.files import read_json, read_text
from rilbench.store.layout import RunFiles
from rilbench_mlflow.points import clean

LONGEST = 500  # characters of a parameter that every server takes
OWN = ("strategy", "rewards", "seed", "store", "tracking")  # have their own parameter, or none
AT_START = (RunFiles.SETTINGS, RunFiles.ENVIRONMENT)
AT_END = (RunFiles.RESULT, RunFiles.TABLE, RunFiles.PICTURES)
RUN, LABEL, FOLDER = "rilbench.run", "rilbench.label", "rilbench.folder"


def params(folder: Path, result: RunResult) -> dict[str, str]:
    """The parameters of a run: strategy, rewards and seed first, then all settings."""
    others = {clean(key): str(value)[:LONGEST] for key, value in settings(folder).items()}
    return own(result) | {key: value for key, value in others.items() if value and key not in OWN}


def settings(folder: Path) -> dict[str, Any]:
    """The settings of a run by dotted key, without secrets in addresses; empty if the file is outside the store."""
    file = inside(folder.resolve().parent, folder.resolve() / RunFiles.SETTINGS)
    values = (parse(read_text(file), str(file)) or {}) if file else {}
    if not isinstance(values, dict):
        raise damaged(folder / RunFiles.SETTINGS, "it contains no settings")
    return flat(redact.values(values))


def own(result: RunResult) -> dict[str, str]:
    """Strategy, rewards and seed as parameters."""
    return {"strategy": result.strategy, "rewards": result.order, "seed": str(result.seed)}


def tags(folder: Path, result: RunResult) -> dict[str, str]:
    """Version, commit, command and folder; the `mlflow.` tags fill MLflow's own columns."""
    path = RunFiles(folder).environment
    environment: dict[str, Any] = read_json(path) if path.exists() else {}
    commit = environment.get("commit") or ""
    values = {
        "rilbench.version": environment.get("packages", {}).get("rilbench"),
        "rilbench.commit": commit,
        "rilbench.command": result.command,
        RUN: result.name,
        LABEL: result.label,
        "rilbench.plugins": "; ".join(f"{name} = {origin}" for name, origin in sorted(result.plugins.items())),
        FOLDER: str(folder.resolve()),
        "mlflow.source.name": "rilbench",
        "mlflow.source.type": "LOCAL",
        "mlflow.source.git.commit": commit.rstrip("+"),
    }
    return {key: value for key, value in values.items() if value}


def description(folder: Path) -> dict[str, str]:
    """The result's table as the tag that MLflow shows as Markdown at the top of a run's page."""
    path = inside(folder, RunFiles.TABLE)
    return {"mlflow.note.content": path.read_text(encoding="utf-8")} if path else {}
