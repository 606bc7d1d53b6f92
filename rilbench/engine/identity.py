"""A stage's identity: the hash of everything that determines its weights. It names the stage's folder."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

from rilbench.contracts.settings import is_unset
from rilbench.engine.config import RunConfig
from rilbench.files.fingerprints import fingerprint, walked
from rilbench.files.hub import commit_of, is_hub_id
from rilbench.files.loras import loras_of
from rilbench.files.pipelines import half_parts
from rilbench.files.resources import resolve
from rilbench.model.config import ModelConfig

VERSION = 2  # raised when a change of the engine changes the numbers
BOOKKEEPING = (  # settings that change no weight
    "log_gradients_every",
    "checkpoint_every",
    "checkpoint_minutes",
    "validate_every",
    "validate_prompts",
    "validate_images",
    "validate_metrics",
)

_ROUNDING = ("device", "gradient_checkpointing", "vae_slicing")  # of the model, that change nothing but rounding


def digest(document: Any) -> str:
    """16 hexadecimal digits of a JSON-able document."""
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]


def base_document(config: RunConfig) -> dict[str, Any]:
    """What determines the untouched model's images."""
    model = without(config.model, _ROUNDING) | weights_document(config.model)
    return {"version": VERSION, "model": model}


def weights_document(model: ModelConfig) -> dict[str, Any]:
    """What determines the weights that loading reads: contents of a folder, or id and commit on the Hub, and of LoRAs.

    half: the parts that the cache has in half precision only; full precision may be fetched later.
    """
    path = resolve(model.path)
    loras = {"lora": [lora.document for lora in loras_of(model.lora)]} if model.lora else {}
    if not is_hub_id(path):
        return {"path": fingerprint(path) if Path(path).exists() else path, "revision": None, "half": []} | loras
    commit = commit_of(path, model.revision or "main")
    return {"path": path, "revision": commit, "half": half_parts(path, commit)} | loras


def pinned(config: RunConfig) -> RunConfig:
    """The configuration with the commit that a branch or tag of a model on the Hub now names, so that the planned model
    is the one that is loaded."""
    if not is_hub_id(config.model.path):
        return config
    commit = commit_of(config.model.path, config.model.revision or "main")
    return replace(config, model=replace(config.model, revision=commit))


def merge_document(base: Mapping[str, Any], chain: Sequence[tuple[str, float]], average: str) -> dict[str, Any]:
    """What determines a merge: the `base_document`, the pairs and their coefficients, and what is averaged."""
    return {**base, "merge": [list(link) for link in chain], "average": average}


def without(section: Any, names: Sequence[str] = ()) -> dict[str, Any]:
    """The settings of a section that determine weights or numbers: all but these, and but those added later that have
    their default."""
    unset = [field.name for field in fields(section) if is_unset(field, getattr(section, field.name))]
    return {key: value for key, value in asdict(section).items() if key not in (*names, *unset)}


def source(component: type) -> str:
    """The hash of the Python files of the package, or of the single module, that defines a component; for a class of a
    notebook or script, the hash of the class alone."""
    from rilbench.host.class_source import source_digest  # of third-party components only

    top = sys.modules.get(component.__module__.partition(".")[0])
    folders = [Path(folder) for folder in getattr(top, "__path__", ())]
    file = getattr(top, "__file__", None)
    files = [path for folder in folders for path in walked(folder) if path.suffix == ".py"]
    files = sorted(files) or ([Path(file)] if file else [])
    return source_digest(component, files)[:16]
