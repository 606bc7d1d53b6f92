"""open_clip's own architectures and tags, and where the weights of a tag are.

open_clip downloads the file of a tag when it creates the model. Here the file is only looked up, so that a run makes no
request to the Hub.
"""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Any

import open_clip

from rilbench.contracts.errors import ConfigError, unknown
from rilbench.contracts.files import NeededFile, hub_files
from rilbench.files.published import place_of, require_published
from rilbench.files.resources import WEIGHTS, checked


def tag_files(architecture: str, tag: str) -> list[NeededFile]:
    """The file of an open_clip tag: safetensors on the Hub, or a plain address for a few old tags. Empty for no tag."""
    if tag not in open_clip.list_pretrained_tags_by_model(architecture):
        return []
    place = open_clip.get_pretrained_cfg(architecture, tag)
    if not place.get("hf_hub"):
        hashed = re.search(r"/clip/models/([0-9a-f]{64})/", place["url"])  # OpenAI's addresses hold the hash
        return [NeededFile(place["url"], sha256=hashed[1] if hashed else None)]
    repo, _, file = place["hf_hub"].rpartition("/")
    return hub_files(repo, [file or "open_clip_model.safetensors"])


def weights_of(architecture: str, pretrained: str | None, setting: str) -> tuple[str, dict[str, Any]]:
    """The weight file of an architecture, and the preprocessing that open_clip lists for its tag."""
    known = open_clip.list_models()
    if architecture not in known:
        close = difflib.get_close_matches(architecture, known, n=1)
        hint = f" Did you mean {close[0]!r}?" if close else ""
        raise ConfigError(f"{setting}: {architecture!r} is neither a folder nor an open_clip architecture.{hint}")
    if pretrained is None:
        raise ConfigError(f"{setting}: {architecture} needs `pretrained`, a weight file or an open_clip tag")
    if files := tag_files(architecture, pretrained):
        require_published(files)
        return str(place_of(files[0])), _preprocessing(architecture, pretrained, setting)
    path = checked(pretrained)
    if Path(path).is_file():
        return path, {}
    if "/" in path or path.endswith(WEIGHTS):
        raise ConfigError(f"pretrained: no weight file at {path}; download it or correct the path")
    tags = open_clip.list_pretrained_tags_by_model(architecture)
    raise ConfigError(unknown(f"pretrained weights of {architecture}", path, tags))


def _preprocessing(architecture: str, tag: str, setting: str) -> dict[str, Any]:
    """Preprocessing of a tag's weights. Raises ConfigError if they were trained with another activation."""
    known = open_clip.get_pretrained_cfg(architecture, tag)
    if bool(known.get("quick_gelu")) != bool(open_clip.get_model_config(architecture).get("quick_gelu")):
        other = architecture.removesuffix("-quickgelu") + ("-quickgelu" if known.get("quick_gelu") else "")
        raise ConfigError(f"{setting}: {architecture} uses another activation than the weights {tag!r}; use {other}")
    return {key: known[key] for key in ("mean", "std", "interpolation", "resize_mode") if key in known}
