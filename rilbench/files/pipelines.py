"""The files of a diffusers pipeline that a run reads: safetensors, no pickles; half precision only if there is no full
precision."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.files import NeededFile, hub_files
from rilbench.files.hub import INDEX
from rilbench.files.published import is_present, place_of

CARD = "README.md"
SKIPPED = ("safety_checker", "feature_extractor", "image_encoder")  # parts no run uses
SMALL = re.compile(r"[^/]+\.(json|txt|model)")  # configurations, vocabularies
WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(-\d{5}-of-\d{5})?\.safetensors")
HALF = "fp16"  # what diffusers calls the variant
HALF_WEIGHTS = re.compile(r"(model|diffusion_pytorch_model)(\.fp16)?(-\d{5}-of-\d{5})?(\.fp16)?\.safetensors")
TOKENIZER = re.compile(r"(vocab|merges|tokenizer[\w.-]*|added_tokens|special_tokens_map|config)\.(json|txt)|.+\.model")
WITHOUT_WEIGHTS = re.compile(r".*(Scheduler|Tokenizer|TokenizerFast|Processor|FeatureExtractor)")


def wanted(index: Mapping[str, Any], names: Iterable[str]) -> list[str]:
    """The file names of a repository that belong to the pipeline of its model_index.json.

    A part without weights among `names` is listed with the expected name.
    """
    known = sorted(names)
    chosen = [name for name in (INDEX, CARD) if name in known]
    for part, origin in _parts(index):
        inside = [name.removeprefix(f"{part}/") for name in known if name.startswith(f"{part}/")]
        half = variant_of(inside) == HALF
        weights = HALF_WEIGHTS if half else WEIGHTS
        files = [n for n in inside if weights.fullmatch(n) or (SMALL.fullmatch(n) and (half or HALF not in n))]
        chosen += [f"{part}/{name}" for name in (files or ["config.json"])]
        if not WITHOUT_WEIGHTS.fullmatch(str(origin[1])) and not any(map(weights.fullmatch, files)):
            library = "diffusion_pytorch_model" if origin[0] == "diffusers" else "model"
            chosen.append(f"{part}/{library}.safetensors")
    return chosen


def _parts(index: Mapping[str, Any]) -> Iterator[tuple[str, list[Any]]]:
    """Name, library and class of the parts that a run uses."""
    for part, origin in index.items():
        if isinstance(origin, list) and len(origin) == 2 and origin[0] and part not in SKIPPED:
            yield part, origin


def read_files(folder: Path) -> list[str]:
    """The names of the files that loading reads of the pipeline in a folder.

    Raises ConfigError if its model_index.json, or the index of weights in several files, cannot be read.
    """
    found = [INDEX]
    for part, (library, kind) in _parts(_read_json(folder / INDEX)):
        inside = sorted(path.name for path in (folder / part).iterdir()) if (folder / part).is_dir() else []
        if "Scheduler" in str(kind):
            names = ["scheduler_config.json"]
        elif WITHOUT_WEIGHTS.fullmatch(str(kind)):
            names = [name for name in inside if TOKENIZER.fullmatch(name)]
        else:
            names = ["config.json", *_weights(folder / part, inside, library)]
        found += [f"{part}/{name}" for name in names if (folder / part / name).is_file()]
    return found


def _weights(folder: Path, names: Iterable[str], library: str) -> list[str]:
    """The files from which the library of a network reads its weights."""
    whole = "diffusion_pytorch_model.safetensors" if library == "diffusers" else "model.safetensors"
    index = f"{whole}.index.json"
    if half := variant_of(names):
        whole = whole.replace(".safetensors", f".{half}.safetensors")
        index = index.replace(".index.json", f".index.{half}.json")
    first = (index, whole) if library == "diffusers" else (whole, index)  # as each of them looks
    chosen = next((name for name in first if (folder / name).is_file()), whole)
    weight_map = _read_json(folder / chosen).get("weight_map") if chosen == index else None
    return [chosen, *sorted(set(map(str, weight_map.values())) if isinstance(weight_map, dict) else ())]


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
    folder = place_of(index).parent
    names = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
    listed = wanted(read_index(index), names)
    return hub_files(
        f"{repo}@{revision}", list(dict.fromkeys([*listed, *_shards(index, listed)])), licence_of(repo, revision)
    )


def licence_of(repo: str, revision: str) -> str:
    """The licence that a repository's card in the cache declares; `NAME (other)` for one the Hub has no name for."""
    card = NeededFile(f"hub:{repo}/{CARD}@{revision}")
    text = place_of(card).read_text(encoding="utf-8") if is_present(card) else ""
    head = re.match(r"---\n.*?^---$", text, re.S | re.M)
    facts = dict(re.findall(r"^(license|license_name): *['\"]?([^'\"\n]*\w)", head[0], re.M)) if head else {}
    licence = facts.get("license", "")
    return f"{facts['license_name']} (other)" if licence == "other" and "license_name" in facts else licence


def _shards(index: NeededFile, names: Iterable[str]) -> list[str]:
    """The files that the indices of weights in several files name."""
    found = []
    for name in names:
        if re.search(r"\.safetensors\.index(\.fp16)?\.json$", name):
            folder, _, _ = name.rpartition("/")
            shards = _read_json(place_of(index).parent / name).get("weight_map", {}).values()
            found += [f"{folder}/{shard}" for shard in sorted(set(shards))]
    return found


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
