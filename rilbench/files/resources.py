"""Paths of files: shipped configurations, `package:` paths into an installed package, fetched files."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
from pathlib import Path

from rilbench.contracts.errors import ConfigError, unknown
from rilbench.contracts.files import NeededFile, is_reference
from rilbench.files.published import is_present, missing, place_of, require_published

WEIGHTS = (".safetensors", ".ckpt", ".pt", ".pth", ".bin", ".sft")  # endings of files of weights


def resolve(path: str) -> str:
    """`package:NAME/FOLDER` as a path in the installed package NAME, a reference (`rilbench.contracts.files`) as the
    path of the fetched file; anything else unchanged. Raises ConfigError for a missing file."""
    if is_reference(path):
        file = NeededFile.parse(path)
        if not is_present(file):
            raise missing([file])
        return str(place_of(file))
    if not path.startswith("package:"):
        return os.path.expanduser(path)
    name, _, inside = path.removeprefix("package:").partition("/")
    if not re.fullmatch(r"[^\W\d]\w*", name):
        raise ConfigError(f"{path}: {name!r} is not the name of a package; write package:NAME/FOLDER")
    spec = importlib.util.find_spec(name)
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(f"{path}: the package {name!r} is not installed; install it or correct the path")
    found = Path(spec.submodule_search_locations[0]) / inside
    if not found.exists():
        raise ConfigError(f"{path}: the package {name!r} has no {inside!r} (looked for {found})")
    return str(found)


def checked(path: str) -> str:
    """Like `resolve`, and raises ConfigError if the file of a reference is not the published one."""
    if is_reference(path):
        require_published([NeededFile.parse(path)])
    return resolve(path)


def config_file(name: str) -> Path:
    """The file of a configuration, given as a path or as the name of a shipped one."""
    if name.endswith((".yaml", ".yml")) or os.sep in name:
        try:
            there = Path(name).is_file()
        except OSError:  # of a name too long for the file system
            there = False
        if not there:
            raise ConfigError(f"no configuration file at {name[:200]!r}; correct the path")
        return Path(name)
    shipped = shipped_configs()
    if name not in shipped:
        raise ConfigError(f"{unknown('configuration', name, shipped)} Or give the path of a .yaml file.")
    return shipped[name]


def shipped_configs() -> dict[str, Path]:
    """Name to file of the shipped configurations, in a source checkout or in the installed distribution."""
    checkout = Path(__file__).resolve().parents[2]
    if (checkout / "pyproject.toml").is_file():
        return {path.stem: path for path in sorted((checkout / "configs").glob("*.yaml"))}
    files = importlib.metadata.files("rilbench") or []
    found = [Path(str(f.locate())) for f in files if "rilbench/configs/" in str(f) and f.suffix == ".yaml"]
    return {path.stem: path for path in sorted(found)}
