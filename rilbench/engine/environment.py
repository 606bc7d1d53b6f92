"""The environment of a run: versions, commit, device, and what the numbers of a CPU depend on."""

from __future__ import annotations

import importlib.metadata
import platform
import re
import subprocess
from pathlib import Path
from typing import Any

PACKAGES = ("rilbench", "torch", "diffusers", "peft", "transformers", "open_clip_torch", "kornia", "mlflow")


def describe(device: str) -> dict[str, Any]:
    """Package versions, commit of the source checkout if there is one, platform, device and CPU."""
    import torch

    name = torch.cuda.get_device_name(device) if device.startswith("cuda") else cpu()
    blas = re.search(r"BLAS_INFO=(\w+)", torch.__config__.show())
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": device,
        "device_name": name,
        "cpu": cpu(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
        "blas": blas[1] if blas else None,
        "threads": torch.get_num_threads(),
        "commit": commit(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def cpu() -> str:
    """The model of the CPU, as the system names it."""
    info = Path("/proc/cpuinfo")  # of Linux
    names = re.findall(r"^model name\s*: (.+)$", info.read_text(), re.M) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def commit() -> str | None:
    """The commit of the checkout rilbench runs from, with `+` when it has changes; None outside a checkout."""
    folder = Path(__file__).resolve().parents[2]
    if not (folder / ".git").exists():
        return None
    try:
        head = subprocess.run(["git", "rev-parse", "HEAD"], cwd=folder, capture_output=True, text=True, check=True)
        status = subprocess.run(["git", "status", "--porcelain"], cwd=folder, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return head.stdout.strip() + ("+" if status.stdout.strip() else "")


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None
