"""Reads a LoRA file of diffusers, PEFT or kohya: for each layer, the two factors of its weight change, complete,
finite and of one rank.

Files with any other tensor than factors and alphas are refused; the error names the tensor.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rilbench.contracts.errors import ConfigError

FACTOR = re.compile(
    r"(?P<layer>.+?)[._](lora_linear_layer|lora)[._](?P<factor>A|B|down|up)(\.(?P<adapter>[^.]+))?\.weight"
)
KNOWN = {  # settings of PEFT's LoraConfig that are read here, or do not affect the output of a trained adapter
    *("r", "lora_alpha", "rank_pattern", "alpha_pattern", "use_rslora", "target_modules", "exclude_modules"),
    *("layers_to_transform", "layers_pattern", "task_type", "auto_mapping", "peft_version", "runtime_config"),
    *("base_model_name_or_path", "revision", "inference_mode", "lora_dropout", "megatron_core", "qalora_group_size"),
    *("loftq_config", "eva_config", "ensure_weight_tying"),
}
PLAIN_STARTS = (True, False, "gaussian", "eva", "orthogonal")  # of a training that leaves the base weights alone


class Factors(NamedTuple):
    """float32: `down` (r, in) or (r, in, k, k) and `up` (out, r) or (out, r, 1, 1); alpha / r is part of `up`."""

    down: Tensor
    up: Tensor

    @property
    def squared_norm(self) -> float:
        """The squared Frobenius norm of the weight change up @ down."""
        down, up = (factor.flatten(1).double() for factor in self)
        return float(((up.T @ up) * (down @ down.T)).sum())


@dataclass(frozen=True)
class LoraFile:
    """A file's tensors, and the settings (next to it or inside) that define their scale.

    settings: PEFT's of the network, by the pipeline's name of it, `unet` or `text_encoder`; under "" those of any.
    """

    path: Path
    tensors: Mapping[str, Tensor]
    settings: Mapping[str, Mapping[str, Any]]

    @classmethod
    def read(cls, path: Path, config: Path | None) -> LoraFile:
        """config: PEFT's adapter_config.json. Raises ConfigError when a file is damaged or not a LoRA."""
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 - it is no mapping
                inside = json.loads((file.metadata() or {}).get("lora_adapter_metadata", "{}"))
            beside = json.loads(config.read_text(encoding="utf-8")) if config else {}
            settings: dict[str, dict[str, Any]] = {"": dict(beside)} if config else {}
            for name, value in () if config else dict(inside).items():  # `unet.r`, as diffusers writes them
                network, _, setting = name.partition(".")
                settings.setdefault(network, {})[setting] = value
        except (OSError, ValueError, TypeError, SafetensorError) as error:
            raise ConfigError(f"cannot read the LoRA {path}: {error}; download it again") from None
        for values in settings.values():
            if fault := _unsupported(values):
                raise ConfigError(f"cannot use the LoRA {path}: {fault}")
        return cls(path, tensors, settings)

    def factors(self) -> dict[str, Factors]:
        """The factors of each layer, by its name in the file. Raises ConfigError naming missing or wrong tensors."""
        halves = self._halves()
        alphas = {key.removesuffix(".alpha"): value for key, value in self.tensors.items() if key.endswith(".alpha")}
        alphas = {name.removesuffix(".lora"): value for name, value in alphas.items()}
        if alone := sorted(alphas.keys() - halves.keys()):
            raise self._refused(f"{alone[0]}.alpha has no weights")
        if alphas and any("lora_alpha" in values for values in self.settings.values()):
            raise self._refused("it has alphas both as tensors and in its settings")
        return {layer: self._pair(layer, found, alphas.get(layer)) for layer, found in halves.items()}

    def _halves(self) -> dict[str, dict[str, Tensor]]:
        """`down` and `up` of each layer, as far as present."""
        halves: dict[str, dict[str, Tensor]] = {}
        adapters = set()
        for key, value in self.tensors.items():
            if key.endswith(".alpha"):
                continue
            match = FACTOR.fullmatch(key)
            if match is None:
                raise self._refused(f"{key} is not a factor or alpha of a plain LoRA, the only supported kind")
            adapters.add(match["adapter"])
            name = {"A": "down", "B": "up"}.get(match["factor"], match["factor"])
            halves.setdefault(match["layer"], {})[name] = value
        if len(adapters) > 1:
            raise self._refused(f"it contains several adapters ({', '.join(sorted(str(name) for name in adapters))})")
        if sum(map(len, halves.values())) + sum(key.endswith(".alpha") for key in self.tensors) != len(self.tensors):
            raise self._refused("two of its tensors are the same factor of a layer")
        return halves

    def _pair(self, layer: str, found: Mapping[str, Tensor], alpha: Tensor | None) -> Factors:
        if missing := [name for name in ("down", "up") if name not in found]:
            names = {"down": "lora_A or lora_down", "up": "lora_B or lora_up"}
            raise self._refused(f"{layer} lacks the factor {names[missing[0]]}; download it again")
        down, up = found["down"].float(), found["up"].float()
        if down.ndim not in (2, 4) or down.ndim != up.ndim or up.shape[1] != len(down) or up[0, 0].numel() != 1:
            raise self._refused(f"the factors of {layer} have shapes {tuple(up.shape)} and {tuple(down.shape)}")
        rank = len(down)
        scale = self._scaling(layer, rank) if alpha is None else float(alpha) / rank if alpha.numel() == 1 else math.nan
        if not (torch.isfinite(down).all() and torch.isfinite(up).all() and math.isfinite(scale)):
            raise self._refused(f"{layer} has weights or an alpha that are not finite (NaN or infinite)")
        return Factors(down, up * scale)

    def _scaling(self, layer: str, rank: int) -> float:
        """alpha / rank, or alpha / sqrt(rank), according to PEFT's settings; 1 without settings."""
        from peft.utils.other import get_pattern_key

        network = next((name for name in self.settings if layer.startswith(f"{name}.") or not name), None)
        values = self.settings[network] if network is not None else {}
        if "lora_alpha" not in values:
            return 1.0
        inside = re.sub(r"^(base_model\.model\.)?((unet|transformer|text_encoder(_\d)?)\.)?", "", layer)
        patterns = values.get("alpha_pattern") or {}
        alpha = patterns.get(get_pattern_key(list(patterns), inside), values["lora_alpha"])
        return float(alpha) / (math.sqrt(rank) if values.get("use_rslora") else rank)

    def _refused(self, why: str) -> ConfigError:
        return ConfigError(f"cannot use the LoRA {self.path}: {why}")


def _unsupported(values: Mapping[str, Any]) -> str:
    """The PEFT setting that needs more than factors and alpha; empty if there is none."""
    allowed: dict[str, Callable[[Any], bool]] = {
        "peft_type": lambda value: value in (None, "LORA"),
        "bias": lambda value: value in (None, "none"),
        "init_lora_weights": lambda value: value in PLAIN_STARTS,
    }
    for name, value in values.items():
        if name not in KNOWN and not allowed.get(name, lambda value: not value)(value):
            return f"its setting {name}={value!r} needs more than a plain LoRA, which rilbench does not support"
    return ""
