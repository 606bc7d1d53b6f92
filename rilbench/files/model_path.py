"""What `model.path` names on this disk: a diffusers folder, or an error with the remedy."""

from __future__ import annotations

from pathlib import Path

from rilbench.contracts.errors import ConfigError
from rilbench.files.hub import INDEX, is_hub_id
from rilbench.files.resources import WEIGHTS, resolve


def check_local(path: str) -> None:
    """Raises ConfigError unless the path is a Hub id or a folder with the model_index.json of a pipeline."""
    place = Path(resolve(path))
    if is_hub_id(str(place)):
        return
    if not place.exists():
        raise ConfigError(f"model.path: no folder at {path!r}; correct the path, or give a Hub id, OWNER/REPO")
    if (place / INDEX).is_file():
        return
    from rilbench.files.conversion import conversion

    if place.is_file():
        raise ConfigError(f"model.path: {path!r} is a file, not a diffusers folder; {conversion(place)}")
    files = sorted(file for file in place.iterdir() if file.suffix in WEIGHTS)
    remedy = conversion(files[0]) if files else "name the folder that `save_pretrained` of a pipeline wrote"
    raise ConfigError(f"model.path: the folder {path!r} has no {INDEX}, so it is not a diffusers pipeline; {remedy}")
