"""Single values as people write them, read as the declared type; a ConfigError names the `key`.

A number is decimal: `010` is refused rather than read as 8 or 10. A text is the text given, whatever it looks like.
Interpolation (`${...}`) is off, and no number is NaN or infinite.
"""

from __future__ import annotations

import math
import re
from collections.abc import Collection, Mapping
from typing import Any, Literal, get_args, get_origin

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.yaml_text import NUMBER, WHOLE

LEADING_ZERO = re.compile(r"[-+]?0\d")
NOT_FINITE = re.compile(r"[-+]?\.?(nan|inf|infinity)", re.I)
BOOLS = dict.fromkeys(("true", "yes", "on"), True) | dict.fromkeys(("false", "no", "off"), False)
MOST = 2**63 - 1  # of a whole number, as torch counts
LONGEST = 4096  # characters of a text that declares no other length
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]")


def number(value: Any, key: str, kind: type = float) -> Any:
    """A decimal number, `kind` being int or float; neither too large for torch nor NaN nor infinite."""
    given = shown(value)
    if isinstance(value, str) and NUMBER.fullmatch(value):
        if LEADING_ZERO.match(value):
            raise ConfigError(f"{key}: {given} has a leading zero; write the decimal number without it")
        value = float(value) if kind is float else int(value[:40]) if WHOLE.fullmatch(value) else value
    elif isinstance(value, str) and kind is float and NOT_FINITE.fullmatch(value):
        value = math.nan
    if not isinstance(value, int | float if kind is float else int) or isinstance(value, bool):
        raise ConfigError(f"{key}: {given} is not a {'whole ' if kind is int else ''}number")
    if isinstance(value, int) and abs(value) > MOST:
        raise ConfigError(f"{key}: {given} is larger than {MOST}, the largest allowed")
    if not math.isfinite(value):
        raise ConfigError(f"{key}: {given} is not a finite number")
    return kind(value)


def truth(value: Any, key: str) -> bool:
    """True or false; yes, no, on and off are accepted too."""
    read = value if isinstance(value, bool) else BOOLS.get(value.lower()) if isinstance(value, str) else None
    if read is None:
        raise ConfigError(f"{key}: {shown(value)} is neither true nor false")
    return read


def text(value: Any, key: str) -> str:
    """The text given; a number, true or false in a file is taken as text."""
    if not isinstance(value, str | int | float):
        raise ConfigError(f"{key}: {shown(value)} is not a text")
    read = str(value).lower() if isinstance(value, bool) else str(value)
    if "${" in read:
        raise ConfigError(f"{key}: {shown(read)} contains ${{...}}, which is not filled in; write the value itself")
    if read == "???":
        raise ConfigError(f"{key}: ??? means a missing value; give the value or leave the setting out")
    if odd := CONTROL.search(read):
        raise ConfigError(f"{key}: {shown(read)} contains the character {odd[0]!a}, which is not allowed; remove it")
    return read


def choice(value: Any, known: Collection[Any], key: str) -> Any:
    """The known value with this text."""
    for one in known:
        if one == value or str(one) == str(value):
            return one
    raise ConfigError(f"{key}: {shown(value)} is not one of {', '.join(map(str, known))}")


def choices(kind: Any) -> tuple[Any, ...]:
    """The values of the `Literal` in an annotation; none without one."""
    parts = get_args(kind)
    return parts if get_origin(kind) is Literal else next(filter(None, map(choices, parts)), ())


def anything(value: Any, key: str, *, numbers: bool = True) -> Any:
    """A value without a declared type, checked as others are; `numbers`: texts may be numbers."""
    if isinstance(value, Mapping):
        return {name: anything(part, f"{key}.{name}", numbers=numbers) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [anything(part, f"{key}[{i}]", numbers=numbers) for i, part in enumerate(value)]
    if isinstance(value, str):
        read = text(value, key)
        if not numbers or LEADING_ZERO.match(read) or not NUMBER.fullmatch(read):
            return read
        return number(read, key, int if WHOLE.fullmatch(read) else float)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return number(value, key, type(value))
    return value


def split_names(names: str) -> list[str]:
    """`a, b` as a list; commas in parentheses belong to a name, as in `max(a,b), c`."""
    depth, found = 0, [""]
    for character in names:
        depth += {"(": 1, ")": -1}.get(character, 0)
        if character == "," and depth <= 0:
            found.append("")
        else:
            found[-1] += character
    return [name.strip() for name in found if name.strip()]


def shown(value: Any) -> str:
    """The value for a message, shortened."""
    if isinstance(value, Mapping | list | tuple):
        return "a mapping" if isinstance(value, Mapping) else "a list"
    if value is None or isinstance(value, bool):
        return "null" if value is None else str(value).lower()
    if isinstance(value, int) and abs(value) > MOST:
        return "the number"
    return ascii(value[:70]) if isinstance(value, str) and CONTROL.search(value) else repr(value)[:80]
