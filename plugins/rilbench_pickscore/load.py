"""Strict loading of a transformers CLIP model and its tokenizer, from folders or the Hub's cache."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from rilbench import ConfigError
from rilbench.encoders import brief, check_sha256
from rilbench.files.hub import is_hub_id
from rilbench.files.published import hub_folder
from rilbench.files.resources import resolve

WEIGHTS = "model.safetensors"
MODEL = ("config.json", WEIGHTS)
TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.json", "merges.txt")


def load_model(model: str, sha256: str | None, device: str) -> Any:
    """A CLIPModel in float32, frozen and in eval mode; ConfigError unless every weight is there and fits."""
    from transformers import CLIPModel

    name = _locate(model, "model", MODEL, MODEL)
    if sha256 is not None:
        check_sha256(Path(name) / WEIGHTS, sha256)
    options = {"dtype": torch.float32, "output_loading_info": True, "ignore_mismatched_sizes": True}
    clip, report = _load(CLIPModel.from_pretrained, name, "model", **options)
    if faults := _faults(report):
        more = f" and {len(faults) - 1} more" if len(faults) > 1 else ""
        raise ConfigError(f"model: {model} is not a CLIPModel: {faults[0]}{more}; name the folder of PickScore v1")
    return clip.to(device).eval().requires_grad_(False)


def load_tokenizer(processor: str, vocabulary: int) -> Any:
    """The tokenizer of a model with so many tokens; ConfigError for any other."""
    from transformers import CLIPTokenizer

    name = _locate(processor, "processor", TOKENIZER, ())
    tokenizer = _load(CLIPTokenizer.from_pretrained, name, "processor")
    if len(tokenizer) != vocabulary:  # transformers makes an empty one of a folder without tokenizer
        found = f"processor: {processor} is another: has {len(tokenizer)} tokens, not {vocabulary}"
        raise ConfigError(f"{found}; download the model's tokenizer and give the path of its folder")
    return tokenizer


def _faults(report: Mapping[str, Any]) -> list[str]:
    """What `from_pretrained` only logs."""
    shapes = {
        f"{key} has shape {tuple(found)}, not {tuple(wanted)}" for key, found, wanted in report["mismatched_keys"]
    }
    absent = {f"{key} is {kind}" for kind in ("missing", "unexpected") for key in report[f"{kind}_keys"]}
    return [*sorted(absent), *sorted(shapes)]


def _locate(name: str, setting: str, fetched: tuple[str, ...], needed: tuple[str, ...]) -> str:
    """A folder with the `needed` files, or that of a Hub id in the cache with those that are `fetched`.

    Given a folder, `from_pretrained` asks the Hub nothing: given an id, it asks for a dozen files, and without a
    network it tries each again and again.
    """
    if is_hub_id(name):
        return str(hub_folder(name, fetched))
    path = Path(resolve(name))
    if not path.is_dir():
        raise ConfigError(f"{setting}: no folder at {path}; download it or correct the path")
    for file in needed:
        if not (path / file).is_file():
            raise ConfigError(f"{setting}: the folder {path} has no {file}; download the folder again")
    return str(path)


def _load(load: Callable[..., Any], name: str, setting: str, **options: Any) -> Any:
    """Whatever `from_pretrained` gives; ConfigError with a remedy when it fails."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return load(name, **options)
    except Exception as error:  # transformers passes on whatever json, safetensors, torch or the Hub raise
        raise ConfigError(f"{setting}: cannot load {name} ({brief(error)}); fetch its files again") from None
