"""Strict loading of a transformers CLIP model and its tokenizer, from folders or from the Hub."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from rilbench import ConfigError
from rilbench.encoders import brief, check_sha256
from rilbench.resources import resolve

WEIGHTS = "model.safetensors"


def load_model(model: str, sha256: str | None, device: str) -> Any:
    """A CLIPModel in float32, frozen and in eval mode; ConfigError unless every weight is there and fits."""
    from transformers import CLIPModel

    name = _locate(model, "model", ("config.json", WEIGHTS))
    if sha256 is not None:
        _check(name, sha256)
    options = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    clip, report = _load(CLIPModel.from_pretrained, name, "model", **options)
    if faults := _faults(report):
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise ConfigError(f"model: {model} is not a CLIPModel: {faults[0]}{more}; name the folder of PickScore v1")
    return clip.to(device).eval().requires_grad_(False)


def load_tokenizer(processor: str, vocabulary: int) -> Any:
    """The tokenizer of a model with so many tokens; ConfigError for any other."""
    from transformers import CLIPTokenizer

    name = _locate(processor, "processor", ())
    tokenizer = _load(CLIPTokenizer.from_pretrained, name, "processor")
    if len(tokenizer) != vocabulary:  # offline, transformers makes an empty one of a name it does not find
        found = f"processor: {processor} was not found or is another: has {len(tokenizer)} tokens, not {vocabulary}"
        raise ConfigError(f"{found}; download the model's tokenizer and give the path of its folder")
    return tokenizer


def _faults(report: Mapping[str, Any]) -> list[str]:
    """What `from_pretrained` only logs."""
    shapes = {
        f"{key} has shape {tuple(found)}, not {tuple(wanted)}" for key, found, wanted in report["mismatched_keys"]
    }
    absent = {f"{key} is {kind}" for kind in ("missing", "unexpected") for key in report[f"{kind}_keys"]}
    return [*sorted(absent), *sorted(shapes)]


def _locate(name: str, setting: str, needed: tuple[str, ...]) -> str:
    """A folder with the needed files, or a Hub id."""
    path = Path(resolve(name))
    if not path.is_dir():
        if name.startswith((".", "/", "~")) or name.count("/") != 1:
            raise ConfigError(f"{setting}: no folder at {path}; download it or correct the path")
        return name
    for file in needed:
        if not (path / file).is_file():
            raise ConfigError(f"{setting}: the folder {path} has no {file}; download the folder again")
    return str(path)


def _check(name: str, sha256: str) -> None:
    if not Path(name).is_dir():
        raise ConfigError(f"sha256: {name} is not a local folder; leave `sha256` out or download the folder")
    check_sha256(Path(name) / WEIGHTS, sha256)


def _load(load: Callable[..., Any], name: str, setting: str, **options: Any) -> Any:
    """Whatever `from_pretrained` gives; ConfigError with a remedy when it fails."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return load(name, **options)
    except Exception as error:  # transformers passes on whatever json, safetensors, torch or the Hub raise
        remedy = "fetch its files again" if Path(name).is_dir() else "download it and give the path of its folder"
        raise ConfigError(f"{setting}: cannot load {name} ({brief(error)}); {remedy}") from None
