"""A LoRA of the base model as an export describes it, without paths of this machine."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.files import is_reference
from rilbench.contracts.redact import public
from rilbench.files.loras import Lora
from rilbench.store.layout import StageFiles


@dataclass(frozen=True)
class BaseLora:
    """source: its reference if it is published. sha256: of its file, empty if that is not on this machine."""

    name: str
    file: str
    scale: float
    sha256: str
    source: str

    @classmethod
    def of(cls, lora: Lora) -> BaseLora:
        try:
            file, digest = lora.file.name, lora.digests[0]
        except ConfigError:
            file, digest = lora.name, ""
        return cls(lora.name, file, lora.scale, digest, public(lora.place) if is_reference(lora.place) else "")

    @property
    def record(self) -> Mapping[str, str | float]:
        """As JSON."""
        return asdict(self)

    @property
    def setting(self) -> str:
        """As `model.lora` takes it."""
        return f"{self.source or self.file}@{self.scale:g}"

    @property
    def arguments(self) -> str:
        """Those of `load_lora_weights`; empty for a file in PEFT's format, which it does not read."""
        if self.file == StageFiles.WEIGHTS:
            return ""
        hub = next((file.hub for file in Lora(self.source).needed), None)
        if hub is None:
            return f'"{self.file}"'
        repo, file, revision = hub
        return f'"{repo}", weight_name="{file}"' + ("" if revision == "main" else f', revision="{revision}"')
