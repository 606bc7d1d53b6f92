"""Studies on the tiny model, in this process and in others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import toy
from command import Done, rilbench

from rilbench.engine.progress import Reporter
from rilbench_study import definition
from rilbench_study.cells import make_cells
from rilbench_study.graph import Graph

TOYS = {"red": "toy:Redness", "dark": "toy:Darkness", "blue": "toy:Blueness", "nan": "toy:NaNReward"}
TOYS["toy_contrast"] = "toy:Contrast"
MORTALS = {"mortal": "mortal:Mortal", "fragile": "mortal:Fragile"}
PLUGINS = [text for name, value in (TOYS | MORTALS).items() for text in ("--plugin", f"{name}={value}")]
SMALL = ["train.samples=4", "evaluate.images_per_prompt=1", "evaluate.metrics=[]"]
TWO = ["--strategies", "rid,baseline", "--rewards", "red,dark", "--orders", "all", "--seeds", "1", *SMALL]


def study_file(folder: Path, extra: str = "", section: str = "") -> Path:
    """A study on the tiny model with the store `runs` in a folder."""
    toy.config(folder)
    file = folder / "toy_study.yaml"
    file.write_text(f"study:\n  name: toy\n  base: {folder}/toy.yaml\n{section}\nstore: {folder}/runs\n{extra}\n")
    return file


def planned(folder: Path, *overrides: str, section: str = "", **options: Any) -> Graph:
    """The graph of a study on the tiny model."""
    asked = definition.load(str(study_file(folder, section=section)), [*SMALL, *overrides], **options)
    return Graph(make_cells(asked, toy.catalog(), Reporter(quiet=True).warn))


def command(folder: Path, *arguments: str) -> Done:
    """`rilbench study` in this process."""
    return rilbench("study", "--config", study_file(folder), *PLUGINS, *arguments, cwd=folder)


def started(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    """`rilbench study` in a process group of its own, which hears Ctrl-C even if these tests run in the background."""
    line = [sys.executable, "-m", "rilbench.cli", "study", "--config", str(study_file(folder)), *PLUGINS, *arguments]
    pipe = subprocess.PIPE
    return subprocess.Popen(
        line, cwd=folder, text=True, start_new_session=True, stdout=pipe, stderr=pipe, preexec_fn=_hear_ctrl_c
    )


def forked(folder: Path, *arguments: str) -> int:
    """The number of a process, leader of its group, that does `rilbench study` and has everything loaded already."""
    child = os.fork()
    if child == 0:
        try:
            os.setsid()
            command(folder, *arguments)
        finally:
            os._exit(0)
    return child


def _hear_ctrl_c() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def numbers(folder: Path) -> dict[str, Any]:
    """What every finished run says, but for how long it took and which command it was part of."""
    results = {}
    for path in folder.glob("runs/*/result.json"):
        values = json.loads(path.read_text())
        del values["command"], values["checksum"]
        for stage in values["stages"]:
            del stage["train_seconds"], stage["evaluate_seconds"]
        results[path.parent.name] = values
    return results


def weights(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("runs/stages/*/adapter_model.safetensors")}
