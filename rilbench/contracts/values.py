"""Values as people write them, read by the type they are meant for.

A number is decimal: `010` is refused rather than read as 8 or 10. A text is the text given, whatever it looks like.
Interpolation (`${...}`) is off, and no number is NaN or infinite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.yaml_text import DEEPEST, NULL, NUMBER, WHOLE, parse

LEADING_ZERO = re.compile(r"[-+]?0\d")
BOOLS = dict.fromkeys(("true", "yes", "on"), True) | dict.fromkeys(("false", "no", "off"), False)
MOST = 2**63 - 1  # of a whole number, as torch counts
LONGEST = 4096  # characters of a text that declares no other length
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def as_type(value: Any, kind: Any, key: str, *, raw: bool = False) -> Any:
    """A value as `kind`, an annotation; ConfigError names `key`. Types not known here are left to OmegaConf.

    raw: texts inside mappings stay texts where the annotation says Any.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(value, inner, key)
    if origin is Literal:
        return _choice(value, inner, key)
    if kind is bool:
        return _bool(value, key)
    if kind is int or kind is float:
        return _number(value, kind, key)
    if kind is str:
        return _str(value, key)
    if kind in (list, tuple) or origin in (list, tuple, Sequence):
        return _list(value, inner, key)
    if kind is dict or origin in (dict, Mapping):
        return _mapping(value, inner[1] if len(inner) == 2 else Any, key, raw)
    return checked(value, key, numbers=kind is Any and not raw)


def choices(kind: Any) -> tuple[Any, ...]:
    """The values of the `Literal` in an annotation; none without one."""
    parts = get_args(kind)
    return parts if get_origin(kind) is Literal else next(filter(None, map(choices, parts)), ())


def checked(value: Any, key: str, *, numbers: bool = False, depth: int = 0) -> Any:
    """A value of no declared type without anything that no setting may hold; `numbers`: texts may be numbers."""
    if depth > DEEPEST:
        raise ConfigError(f"{key}: nested deeper than {DEEPEST} levels")
    if isinstance(value, Mapping):
        return {k: checked(part, f"{key}.{k}", numbers=numbers, depth=depth + 1) for k, part in value.items()}
    if isinstance(value, list | tuple):
        return [checked(part, f"{key}[{i}]", numbers=numbers, depth=depth + 1) for i, part in enumerate(value)]
    if isinstance(value, str):
        text = _str(value, key)
        if not numbers or LEADING_ZERO.match(text) or not NUMBER.fullmatch(text):
            return text
        return _number(text, int if WHOLE.fullmatch(text) else float, key)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return _number(value, type(value), key)
    return value


def _one_of(value: Any, kinds: Sequence[Any], key: str) -> Any:
    """The first type that takes the value; text, which takes all, comes last."""
    if NoneType in kinds and (value is None or (isinstance(value, str) and value in NULL)):
        return None
    others = sorted((kind for kind in kinds if kind is not NoneType), key=lambda kind: kind is str)
    for kind in others[:-1]:
        try:
            return as_type(value, kind, key)
        except ConfigError:
            continue
    return as_type(value, others[-1], key)


def _choice(value: Any, known: Sequence[Any], key: str) -> Any:
    for choice in known:
        if choice == value or str(choice) == str(value):
            return choice
    raise ConfigError(f"{key}: {_shown(value)} is not one of {', '.join(map(str, known))}")


def _bool(value: Any, key: str) -> bool:
    read = value if isinstance(value, bool) else BOOLS.get(value.lower()) if isinstance(value, str) else None
    if read is None:
        raise ConfigError(f"{key}: {_shown(value)} is neither true nor false")
    return read


def _number(value: Any, kind: type, key: str) -> Any:
    """A decimal number, `kind` being int or float; neither too large for torch nor NaN nor infinite."""
    if isinstance(value, str) and LEADING_ZERO.match(value) and NUMBER.fullmatch(value):
        raise ConfigError(f"{key}: {_shown(value)} has a leading zero; write the decimal number without it")
    if isinstance(value, str) and (WHOLE if kind is int else NUMBER).fullmatch(value):
        value = int(value[:40]) if kind is int else float(value)
    if isinstance(value, str) and kind is float and re.fullmatch(r"[-+]?\.?(nan|inf|infinity)", value, re.I):
        raise ConfigError(f"{key}: {_shown(value)} is not a finite number")
    if not isinstance(value, int | float if kind is float else int) or isinstance(value, bool):
        raise ConfigError(f"{key}: {_shown(value)} is not a {'whole ' if kind is int else ''}number")
    if isinstance(value, int) and abs(value) > MOST:
        raise ConfigError(f"{key}: {_shown(value)} is larger than {MOST}")
    if not math.isfinite(value):
        raise ConfigError(f"{key}: {_shown(value)} is not a finite number")
    return kind(value)


def _str(value: Any, key: str) -> str:
    if not isinstance(value, str | int | float):
        raise ConfigError(f"{key}: {_shown(value)} is not a text")
    text = str(value).lower() if isinstance(value, bool) else str(value)
    if "${" in text:
        raise ConfigError(f"{key}: {_shown(text)} holds ${{...}}, which is not filled in; write the value itself")
    if text == "???":
        raise ConfigError(f"{key}: ??? stands for a missing value; give the value or leave the setting out")
    if odd := CONTROL.search(text):
        raise ConfigError(f"{key}: {_shown(text)} holds the character {odd[0]!a}, which no setting may hold")
    return text


def _list(value: Any, inner: Sequence[Any], key: str) -> list[Any]:
    """Of one type of elements, or of a type for each; a text is its parts between commas, or a list in brackets."""
    if isinstance(value, str):
        value = parse(value, key) if value.startswith("[") else split_names(value)
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{key}: {_shown(value)} is not a list, which is written a,b")
    uniform = len(inner) == 1 or (len(inner) == 2 and inner[1] is ...)
    kinds = [inner[0]] * len(value) if uniform else list(inner) or [Any] * len(value)
    if len(kinds) != len(value):
        raise ConfigError(f"{key}: has {len(value)} values, it needs {len(kinds)}")
    return [as_type(part, kind, f"{key}[{i}]") for i, (part, kind) in enumerate(zip(value, kinds, strict=True))]


def _mapping(value: Any, kind: Any, key: str, raw: bool) -> Any:
    if isinstance(value, str) and value.startswith("{"):
        value = parse(value, key)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}: {_shown(value)} is not a mapping, whose keys are written {key}.KEY=value")
    return {name: as_type(part, kind, f"{key}.{name}", raw=raw) for name, part in value.items()}


def split_names(text: str) -> list[str]:
    """`a, b` as a list."""
    return [name.strip() for name in text.split(",") if name.strip()]


def _shown(value: Any) -> str:
    """The value in a message, cut."""
    if isinstance(value, Mapping | list | tuple):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int) and abs(value) > MOST:
        return "the number"
    return ascii(value[:70]) if isinstance(value, str) and CONTROL.search(value) else repr(value)[:80]
