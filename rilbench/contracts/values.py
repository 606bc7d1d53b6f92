"""Values as people write them, read by the type they are meant for.

A number is decimal: `010` is refused rather than read as 8 or 10. A text is the text given, whatever it looks like.
Interpolation (`${...}`) is off, and no number is NaN or infinite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.yaml_text import DEEPEST, NULL, NUMBER, WHOLE, parse

LEADING_ZERO = re.compile(r"[-+]?0\d")
BOOLS = dict.fromkeys(("true", "yes", "on"), True) | dict.fromkeys(("false", "no", "off"), False)
MOST = 2**63 - 1  # of a whole number, as torch counts
LONGEST = 4096  # characters of a text that declares no other length
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def as_type(value: Any, kind: Any, key: str, *, as_written: bool = False) -> Any:
    """A value as `kind`, an annotation; ConfigError names `key`. Types not known here are left to OmegaConf.

    as_written: texts inside mappings stay texts where the annotation says Any.
    """
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(value, inner, key)
    if origin is Literal:
        return next((choice for choice in inner if choice == value or str(choice) == _text(value, key)), value)
    if isinstance(kind, type) and kind in SCALARS:
        return SCALARS[kind](value, key)
    if kind in (list, tuple) or origin in (list, tuple, Sequence):
        return _list(value, inner, key)
    if kind is dict or origin in (dict, Mapping):
        return _mapping(value, inner[1] if len(inner) == 2 else Any, key, as_written)
    return checked(value, key, _number if kind is Any and not as_written else _as_is)


def checked(value: Any, key: str, text: Callable[[str, str], Any] | None = None, depth: int = 0) -> Any:
    """A value of no declared type without anything that no setting may hold; `text` reads its texts."""
    if depth > DEEPEST:
        raise ConfigError(f"{key}: nested deeper than {DEEPEST} levels")
    if isinstance(value, Mapping):
        return {name: checked(part, f"{key}.{name}", text, depth + 1) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [checked(part, f"{key}[{i}]", text, depth + 1) for i, part in enumerate(value)]
    if isinstance(value, str):
        return (text or _as_is)(_str(value, key), key)
    if isinstance(value, float):
        return _float(value, key)
    return _int(value, key) if isinstance(value, int) and not isinstance(value, bool) else value


def _as_is(text: str, key: str) -> str:
    return text


def _number(text: str, key: str) -> Any:
    """The number that a text is, if it is one."""
    if LEADING_ZERO.match(text) or not NUMBER.fullmatch(text):
        return text
    return _int(text, key) if WHOLE.fullmatch(text) else _float(text, key)


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


def _bool(value: Any, key: str) -> bool:
    found = value if isinstance(value, bool) else BOOLS.get(value.lower()) if isinstance(value, str) else None
    if found is None:
        raise ConfigError(f"{key}: {_shown(value)} is neither true nor false")
    return found


def _int(value: Any, key: str) -> int:
    _refuse_leading_zero(value, key)
    if isinstance(value, str) and WHOLE.fullmatch(value):
        value = int(value) if len(value) < 40 else MOST + 1
    if not isinstance(value, int) or isinstance(value, bool):
        raise ConfigError(f"{key}: {_shown(value)} is not a whole number")
    if abs(value) > MOST:
        raise ConfigError(f"{key}: {_shown(value)} is larger than {MOST}")
    return value


def _float(value: Any, key: str) -> float:
    _refuse_leading_zero(value, key)
    read = value
    if isinstance(value, str) and (
        NUMBER.fullmatch(value) or value.lower().lstrip("+-.") in ("nan", "inf", "infinity")
    ):
        read = float(value.lower().replace(".nan", "nan").replace(".inf", "inf"))
    if not isinstance(read, int | float) or isinstance(read, bool):
        raise ConfigError(f"{key}: {_shown(value)} is not a number")
    if isinstance(read, int) and abs(read) > MOST:
        raise ConfigError(f"{key}: {_shown(value)} is larger than {MOST}")
    if not math.isfinite(read):
        raise ConfigError(f"{key}: {_shown(value)} is not a finite number")
    return float(read)


def _refuse_leading_zero(value: Any, key: str) -> None:
    if isinstance(value, str) and LEADING_ZERO.match(value) and NUMBER.fullmatch(value):
        raise ConfigError(f"{key}: {_shown(value)} has a leading zero; write the decimal number without it")


def _str(value: Any, key: str) -> str:
    text = _text(value, key)
    if "${" in text:
        raise ConfigError(f"{key}: {_shown(text)} holds ${{...}}, which is not filled in; write the value itself")
    if text == "???":
        raise ConfigError(f"{key}: ??? stands for a missing value; give the value or leave the setting out")
    if found := CONTROL.search(text):
        raise ConfigError(f"{key}: {_shown(text)} holds the character {found[0]!a}, which no setting may hold")
    return text


def _text(value: Any, key: str) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str | int | float):
        return str(value)
    raise ConfigError(f"{key}: {_shown(value)} is not a text")


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


def _mapping(value: Any, kind: Any, key: str, as_written: bool) -> Any:
    if isinstance(value, str) and value.startswith("{"):
        value = parse(value, key)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}: {_shown(value)} is not a mapping, whose keys are written {key}.KEY=value")
    return {name: as_type(part, kind, f"{key}.{name}", as_written=as_written) for name, part in value.items()}


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


SCALARS: dict[type, Any] = {bool: _bool, int: _int, float: _float, str: _str}
