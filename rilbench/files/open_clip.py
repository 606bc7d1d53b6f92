"""The files of an open_clip model and their paths: folders, weight files and open_clip's own tags.

open_clip downloads the file of a tag when it creates the model. Here the file is only looked up, so that a run makes no
request to the Hub.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import ConfigError, unknown
from rilbench.contracts.files import NeededFile, hub_files, is_reference
from rilbench.files.published import place_of, require_published
from rilbench.files.resources import checked, resolve

WEIGHTS = (".safetensors", ".bin", ".pth", ".pt")
Published = dict[str, Any]  # the preprocessing open_clip knows of a tag


def clip_files(model: str, pretrained: str | None = None) -> list[NeededFile]:
    """The published files that a `ClipEncoder` with these arguments reads, for `files` of a component."""
    if pretrained is not None and is_reference(pretrained):
        return [NeededFile.parse(pretrained)]
    if model.startswith("hf-hub:"):
        return hub_files(model.removeprefix("hf-hub:"), ("open_clip_config.json", "open_clip_model.safetensors"))
    if pretrained is None or pretrained.endswith(WEIGHTS):
        return []
    import open_clip

    known = open_clip.list_pretrained_tags_by_model(model)
    return [_tag_file(model, pretrained)] if pretrained in known else []


def _tag_file(architecture: str, tag: str) -> NeededFile:
    """The file of an open_clip tag: safetensors on the Hub, for a few old tags a plain address."""
    import open_clip

    place = open_clip.get_pretrained_cfg(architecture, tag)
    if not place.get("hf_hub"):
        hashed = re.search(r"/clip/models/([0-9a-f]{64})/", place["url"])  # OpenAI's addresses hold the hash
        return NeededFile(place["url"], sha256=hashed[1] if hashed else None)
    repo, _, file = place["hf_hub"].rpartition("/")
    return hub_files(repo, [file or "open_clip_model.safetensors"])[0]


def locate(model: str, pretrained: str | None, setting: str) -> tuple[str, str | None, Published]:
    """open_clip's name of a model, the file of its weights, and what is published about them."""
    name = resolve(model)
    if name.startswith("hf-hub:") or Path(name).is_dir():
        if pretrained is not None:
            raise ConfigError(f"{setting}: {model} brings its own weights; leave `pretrained` out")
        if name.startswith("hf-hub:"):
            return name, None, {}
        if not (Path(name) / "open_clip_config.json").is_file():
            raise ConfigError(f"{setting}: the folder {name} has no open_clip_config.json; name an open_clip folder")
        return f"local-dir:{name}", None, {}
    return name, *_weights_of(name, pretrained, setting)


def _weights_of(architecture: str, pretrained: str | None, setting: str) -> tuple[str, Published]:
    """The weight file of an architecture, and open_clip's configuration of the tag."""
    import open_clip

    known = open_clip.list_models()
    if architecture not in known:
        close = difflib.get_close_matches(architecture, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"{setting}: {architecture!r} is neither a folder nor an open_clip architecture.{hint}")
    if pretrained is None:
        raise ConfigError(f"{setting}: {architecture} needs `pretrained`, a weight file or an open_clip tag")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    if pretrained in tags:
        file = _tag_file(architecture, pretrained)
        require_published([file])
        return str(place_of(file)), _published(architecture, pretrained, setting)
    path = checked(pretrained)
    if Path(path).is_file():
        return path, {}
    if "/" in path or path.endswith(WEIGHTS):
        raise ConfigError(f"pretrained: no weight file at {path}; download it or correct the path")
    raise ConfigError(unknown(f"pretrained weights of {architecture}", path, tags))


def _published(architecture: str, tag: str, setting: str) -> Published:
    """Preprocessing of a tag's weights. Raises ConfigError if they were trained with another activation."""
    import open_clip

    known = open_clip.get_pretrained_cfg(architecture, tag)
    if bool(known.get("quick_gelu")) != bool(open_clip.get_model_config(architecture).get("quick_gelu")):
        other = architecture.removesuffix("-quickgelu") + ("-quickgelu" if known.get("quick_gelu") else "")
        raise ConfigError(f"{setting}: {architecture} has another activation than the weights {tag!r}; name {other}")
    return {key: known[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in known}
