"""The files of a diffusers pipeline that a run reads: safetensors, no pickles; half precision only if there is no full
precision."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.files import NeededFile, hub_files
from rilbench.files.hub import INDEX
from rilbench.files.published import is_present, place_of

CARD = "README.md"
SKIPPED = ("safety_checker", "feature_extractor", "image_encoder")  # parts no run uses
WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d{5}-of-\d{5})?\.safetensors")
HALF = "fp16"  # what diffusers calls the variant
HALF_WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(\.fp16)?(-\d{5}-of-\d{5})?(\.fp16)?\.safetensors")
TOKENIZER = re.compile(r"(vocab|merges|tokenizer[\w.-]*|added_tokens|special_tokens_map|config)\.(json|txt)|.+\.model")
WITHOUT_WEIGHTS = re.compile(r".*(Scheduler|Tokenizer|TokenizerFast|Processor|FeatureExtractor)")


def wanted(index: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """Of the files with these names, those that loading reads of the pipeline of a model_index.json, and its card.

    Files that every part has, such as its weights, are listed also if they are missing.
    """
    known = set(names)
    chosen = [name for name in (INDEX, CARD) if name in known]
    for part, origin in index.items():
        if isinstance(origin, list) and len(origin) == 2 and origin[0] and part not in SKIPPED:
            inside = sorted(name.removeprefix(f"{part}/") for name in known if name.startswith(f"{part}/"))
            chosen += [f"{part}/{name}" for name in _of_part(str(origin[0]), str(origin[1]), inside)]
    return chosen


def _of_part(library: str, kind: str, names: Sequence[str]) -> list[str]:
    if "Scheduler" in kind:
        return ["scheduler_config.json"]
    if WITHOUT_WEIGHTS.fullmatch(kind):
        return [name for name in names if TOKENIZER.fullmatch(name)] or ["tokenizer_config.json"]
    stem, half = "diffusion_pytorch_model" if library == "diffusers" else "model", variant_of(names)
    whole = f"{stem}.{half}.safetensors" if half else f"{stem}.safetensors"
    several = f"{stem}.safetensors.index.{half}.json" if half else f"{stem}.safetensors.index.json"
    first = (several, whole) if library == "diffusers" else (whole, several)  # as each of them looks
    chosen = next((name for name in first if name in names), whole)
    shards = [name for name in names if "-of-" in name and (HALF_WEIGHTS if half else WEIGHTS).fullmatch(name)]
    return ["config.json", chosen, *(shards if chosen == several else ())]


def wanted_in(folder: Path) -> list[str]:
    """The same for the pipeline in a folder, with the missing ones of weights in several files.

    Raises ConfigError if its model_index.json, or the index of weights in several files, cannot be read.
    """
    paths = [*folder.glob("*"), *folder.glob("*/*")]
    names = wanted(_read_json(folder / INDEX), [p.relative_to(folder).as_posix() for p in paths if p.is_file()])
    for name in [name for name in names if ".safetensors.index." in name]:
        weight_map = _read_json(folder / name).get("weight_map")
        shards = set(map(str, weight_map.values())) if isinstance(weight_map, dict) else ()
        names += [f"{name.partition('/')[0]}/{shard}" for shard in sorted(shards)]
    return list(dict.fromkeys(names))


def read_files(folder: Path) -> list[str]:
    """The names of the files that loading reads of the pipeline in a folder. Raises ConfigError as `wanted_in` does."""
    return [name for name in wanted_in(folder) if name != CARD and (folder / name).is_file()]


def variant_of(names: Iterable[str]) -> str | None:
    """`fp16` if a part's weights exist in half precision only; None for full precision."""
    known = list(names)
    if any(map(WEIGHTS.fullmatch, known)):
        return None
    return HALF if any(map(HALF_WEIGHTS.fullmatch, known)) else None


def half_parts(repo: str, revision: str) -> list[str]:
    """The parts in the Hub's cache that exist in half precision only."""
    folder = place_of(index_of(repo, revision)).parent
    parts = sorted(p for p in folder.iterdir() if p.is_dir() and p.name not in SKIPPED) if folder.is_dir() else []
    return [part.name for part in parts if variant_of(path.name for path in part.iterdir())]


def index_of(repo: str, revision: str) -> NeededFile:
    """The file that lists the parts of a pipeline."""
    return NeededFile(f"hub:{repo}/{INDEX}@{revision}")


def in_cache(repo: str, revision: str) -> list[NeededFile]:
    """The files of a pipeline in the Hub's cache; only the index if it is missing there."""
    index = index_of(repo, revision)
    if not is_present(index):
        return [index]
    return hub_files(f"{repo}@{revision}", wanted_in(place_of(index).parent), licence_of(repo, revision))


def licence_of(repo: str, revision: str) -> str:
    """The licence that a repository's card in the cache declares; `NAME (other)` for one the Hub has no name for."""
    card = NeededFile(f"hub:{repo}/{CARD}@{revision}")
    text = place_of(card).read_text(encoding="utf-8") if is_present(card) else ""
    head = re.match(r"---\n.*?^---$", text, re.S | re.M)
    facts = dict(re.findall(r"^(license|license_name): *['\"]?([^'\"\n]*\w)", head[0], re.M)) if head else {}
    licence = facts.get("license", "")
    return f"{facts['license_name']} (other)" if licence == "other" and "license_name" in facts else licence


def read_index(index: NeededFile) -> dict[str, Any]:
    """The model_index.json in the cache."""
    return _read_json(place_of(index))


def _read_json(path: Any) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot read {path}: {error}; delete it and fetch it again") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{path} is not a JSON object; delete it and fetch it again")
    return values
