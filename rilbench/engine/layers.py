"""Settings as plain nested values, before their types are known: files with their `base`, `key=value`, and how layers
are merged.

A scalar is left as it was written (`rilbench.contracts.yaml_text`), because its type is known where its setting is
declared.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.yaml_text import parse, plain
from rilbench.files.resources import config_file

BASE = "base"  # the key of a file that starts from another one
MODEL, TRAIN, RECIPES = "model", "train", "recipes"
SECTIONS = dict.fromkeys((MODEL, "adapter", TRAIN, "evaluate"), 1)
COMPONENTS = {kind: f"{kind}_settings" for kind in ("reward", "metric", "strategy")}  # kind -> section of its plugins
NAMED = dict.fromkeys(COMPONENTS.values(), 2) | {RECIPES: 3}  # mappings by name; depth of their settings
DEPTHS = SECTIONS | NAMED
LONGEST_KEY = 200
LARGEST = 2**20  # bytes of a file


def read(config: str, above: Sequence[Path] = ()) -> dict[str, Any]:
    """The unchecked values of a configuration file, given by name or path.

    The key `base` names another file, whose values are used where this one sets none. `above` are the files that led
    here.
    """
    file = config_file(config)
    if file in above:
        raise ConfigError(f"{above[-1]}: base leads back to {file}; remove one of the two")
    values = parse(_text(file), str(file))
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: contains no settings; write them as `key: value`")
    base = values.pop(BASE, None)
    if base is None:
        return values
    if not isinstance(base, str):
        raise ConfigError(f"{file}: base must be the name or path of a configuration file")
    return merged([read(base, (*above, file)), values])


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > LARGEST:
            raise ConfigError(f"{file}: is larger than {LARGEST} bytes, so it is not a configuration file")
        return file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigError(f"{file}: is not UTF-8 text at byte {error.start}; save it as UTF-8") from None
    except OSError as error:
        raise ConfigError(f"{file}: cannot be read ({error.strerror}); name another file") from None


def values_of(overrides: Sequence[str]) -> dict[str, Any]:
    """`key=value` strings as nested values; later ones win. A section may be given whole: `recipes={}`."""
    values: dict[str, Any] = {}
    for text in overrides:
        key, equals, value = text.partition("=")
        if not equals:
            raise ConfigError(f"{text[:70]!r} is not a setting; write key=value, for example train.lr=1e-3")
        *parents, last = _parts(key)
        section: Any = values
        for parent in parents:
            section = section.setdefault(parent, {})
            if not isinstance(section, dict):
                raise ConfigError(f"{key}: {parent} is also given a value of its own; give one or the other")
        if isinstance(section.get(last), dict):
            raise ConfigError(f"{key}: settings inside it are given in the same command; give one or the other")
        if len(parents) < DEPTHS.get(key.partition(".")[0], 0):
            section[last] = parse(value, key)
        else:  # whether `null` is a text is known where the setting is declared
            section[last] = value if (read := plain(value)) is None else read
    return values


def _parts(key: str) -> list[str]:
    parts = key.split(".")
    if "[" in key:
        raise ConfigError(f"{key[:70]!r} is not a key; its parts are joined by dots, as in train.lr=1e-3")
    if not all(part.strip() == part != "" for part in parts) or len(key) > LONGEST_KEY:
        raise ConfigError(f"{key[:70]!r} is not a key; write key=value, for example train.lr=1e-3")
    return parts


def merged(layers: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Layers of values; later ones win.

    The `train` of a layer also wins over the recipes of the layers below it. In the mappings by name (`NAMED`) null or
    an empty mapping clears the values of the layers below.
    """
    found: dict[str, Any] = {}
    for layer in layers:
        found = _over(_without(found, layer), layer, ())
    return found


def _without(below: dict[str, Any], layer: Mapping[str, Any]) -> dict[str, Any]:
    """The values below a layer, without recipe settings that its `train` sets and without another model's revision."""
    train, old, model = layer.get(TRAIN), below.get(MODEL), layer.get(MODEL)
    if isinstance(train, Mapping) and RECIPES in below:
        below = {**below, RECIPES: _struck(below[RECIPES], train, NAMED[RECIPES])}
    if isinstance(old, Mapping) and isinstance(model, Mapping) and model.get("path") not in (None, old.get("path")):
        below = {**below, MODEL: _struck(old, ["revision"], SECTIONS[MODEL])}
    return below


def _struck(values: Any, names: Container[str], depth: int) -> Any:
    """Nested mappings without the keys of these names at a depth."""
    if not isinstance(values, Mapping):
        return values
    if depth == 1:
        return {key: value for key, value in values.items() if key not in names}
    return {key: _struck(part, names, depth - 1) for key, part in values.items()}


def _over(below: Mapping[str, Any], layer: Mapping[str, Any], path: tuple[str, ...]) -> dict[str, Any]:
    """One mapping over another, `path` being their place."""
    result = dict(below)
    for key, value in layer.items():
        place = (*path, key)
        named = NAMED.get(place[0], 0)
        if isinstance(value, Mapping) and (value or not named):
            old = result.get(key)
            result[key] = _over(old if isinstance(old, Mapping) else {}, value, place)
        elif value is None and len(place) <= named:
            result[key] = {}
        else:
            result[key] = value
    return result
