"""Distributions made up in a folder: metadata, entry points and modules, as pip would leave them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

GOOD = """
from rilbench import Reward

class Good(Reward):
    '''The mean of the green channel.'''
    api_version = 1
    uses_prompts = False

    def __call__(self, images, prompts):
        return images[:, 1].mean((1, 2))
"""


def distribution(
    folder: Path, name: str, points: str, modules: Mapping[str, str] | None = None, *, version: str | None = "1.2"
) -> None:
    """Write a distribution with the text of its entry_points.txt; without a version, also without metadata."""
    module = name.replace("-", "_")
    info = folder / f"{module}-{version or '0'}.dist-info"
    info.mkdir(parents=True)
    (info / "entry_points.txt").write_text(points)
    if version is not None:
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\nLicense: MIT\n")
    for stem, source in (modules or {}).items():
        (folder / f"{stem}.py").write_text(source)


def reward(folder: Path, name: str, source: str, *, cls: str = "Broken", version: str | None = "1.2") -> None:
    """A distribution `NAME` with one reward `NAME`, the class `cls` of `source`."""
    module = name.replace("-", "_")
    distribution(folder, name, f"[rilbench.rewards]\n{name} = {module}:{cls}\n", {module: source}, version=version)


def hook(folder: Path, name: str, source: str) -> None:
    """A distribution with one hook plugin, the class `Hook` of `source`, which may use `hookimpl`."""
    module = name.replace("-", "_")
    text = f"from rilbench import hookimpl\n{source}"
    distribution(folder, name, f"[rilbench.hooks]\n{name} = {module}:Hook\n", {module: text})


def command(folder: Path, name: str, source: str, *, attribute: str = "command", distribution_name: str = "") -> None:
    """A distribution with one command `NAME`, the object `attribute` of `source`."""
    owner = distribution_name or name
    module = owner.replace("-", "_")
    points = f"[rilbench.commands]\n{name} = {module}:{attribute}\n"
    distribution(folder, owner, points, {module: source})
