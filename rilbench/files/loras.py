"""The LoRAs of a setting: `PLACE` or `PLACE@SCALE`, where they are, and what identifies them.

A place is a safetensors file, a folder with one, a `package:` path, or a reference (`rilbench.contracts.files`). For a
repository of the Hub without a file, `hub:OWNER/REPO`, it is the file that diffusers writes.
"""

from __future__ import annotations

import math
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.files import NeededFile, is_reference
from rilbench.files.fingerprints import published_digest
from rilbench.files.hub import digest
from rilbench.files.published import is_present, place_of, require_published
from rilbench.files.resources import WEIGHTS, resolve
from rilbench.store.layout import StageFiles

DIFFUSERS = "pytorch_lora_weights.safetensors"  # the name `load_lora_weights` looks for in a folder
SAFE = (".safetensors", ".sft")
REPOSITORY = re.compile(r"(hub:[\w.-]+/[\w.-]+)(@[^@/]+)?")  # without a file


@dataclass(frozen=True)
class Lora:
    """A LoRA: its place as given, the factor of its weight change, and the setting or option that names it."""

    place: str
    scale: float = 1.0
    key: str = "model.lora"

    @classmethod
    def parse(cls, text: str, key: str) -> Lora:
        """Read `PLACE` or `PLACE@SCALE`. ConfigError, which names the setting or option `key`, for a wrong scale."""
        place, at, last = text.rpartition("@")
        if not at or _exists(text):
            return cls(text, key=key)
        try:
            scale = float(last)
        except ValueError:
            if is_reference(text):  # a revision
                return cls(text, key=key)
            raise ConfigError(f"{key}: {text!r}: {last!r} is not a scale, and no file has this name") from None
        if not math.isfinite(scale):
            raise ConfigError(f"{key}: {text!r}: the scale {last!r} is not a finite number")
        return cls(place, scale, key)

    @property
    def name(self) -> str:
        """What people call it: the name of its file without ending, of its folder, or of its repository."""
        if not is_reference(self.place):
            path = Path(self.place)
            return path.stem if path.suffix in SAFE else path.resolve().name
        file = self.needed[0]
        stem = Path(file.name).stem
        return file.hub[0].rpartition("/")[2] if file.hub and stem in (Path(DIFFUSERS).stem, "adapter_model") else stem

    @property
    def needed(self) -> list[NeededFile]:
        """The published files that it consists of; none for a place on this disk."""
        if not is_reference(self.place):
            return []
        whole = REPOSITORY.fullmatch(self.place)
        file = NeededFile.parse(f"{whole[1]}/{DIFFUSERS}{whole[2] or ''}" if whole else self.place)
        if not file.hub or Path(file.name).name != StageFiles.WEIGHTS:
            return [file]
        repo, name, revision = file.hub  # PEFT's settings contain alpha
        config = Path(name).with_name(StageFiles.ADAPTER).as_posix()
        return [file, NeededFile(f"hub:{repo}/{config}@{revision}")]

    @property
    def file(self) -> Path:
        """The safetensors file. ConfigError if it is missing, or not the published one, and for other formats."""
        if needed := self.needed:
            require_published(needed)
            return self._safe(place_of(needed[0]))
        path = Path(resolve(self.place))
        if not path.exists():
            raise ConfigError(f"{self.key}: there is no file or folder {self.place!r}; correct the path")
        if path.is_file():
            return self._safe(path)
        known = [path / name for name in (StageFiles.WEIGHTS, DIFFUSERS)]
        found = [file for file in known if file.exists()][:1] or sorted(path.glob("*.safetensors"))
        if len(found) != 1:
            raise ConfigError(
                f"{self.key}: {path} contains {len(found)} safetensors files; give the path of the LoRA file"
            )
        return found[0]

    @property
    def config(self) -> Path | None:
        """PEFT's settings next to the file, which contain alpha; None for the other formats."""
        file = self.file
        beside = file.with_name(StageFiles.ADAPTER)
        whole = not self.needed and Path(resolve(self.place)).is_dir()
        return beside if (whole or file.name == StageFiles.WEIGHTS) and beside.exists() else None

    @property
    def paths(self) -> list[Path]:
        """The places of its files, whether they exist or not; empty if it is missing."""
        try:
            return [self.file, self.file.with_name(StageFiles.ADAPTER)]
        except ConfigError:
            return []

    @property
    def digests(self) -> list[str]:
        """The hashes of its files, which identify it whatever they are called. ConfigError if it is missing."""
        published = [published_digest(file) for file in self.needed if is_present(file)]
        return published or [digest(file) for file in (self.file, self.config) if file]

    @property
    def document(self) -> dict[str, Any]:
        """What determines the weight change."""
        return {"files": self.digests, "scale": self.scale}

    def _safe(self, file: Path) -> Path:
        if file.suffix in WEIGHTS and file.suffix not in SAFE:
            raise ConfigError(f"{self.key}: {file} is not a safetensors file; loading other formats may run code")
        return file


def loras_of(texts: Sequence[str], key: str = "model.lora") -> list[Lora]:
    """The LoRAs of a list of settings, in order."""
    return [Lora.parse(text, key) for text in texts]


def watched(text: str, key: str = "model.lora") -> list[Path]:
    """Where a change can mean another LoRA: its files, its folder, and the place with `@SCALE` in its name."""
    lora = Lora.parse(text, key)
    places = {lora.place, text} if not is_reference(text) else ()
    return [*lora.paths, *(Path(os.path.expanduser(place)).absolute() for place in sorted(places))]


def _exists(text: str) -> bool:
    try:
        return not is_reference(text) and Path(resolve(text)).exists()
    except (ConfigError, OSError, ValueError):
        return False
