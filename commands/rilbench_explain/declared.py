"""What a settings dataclass declares, for references and `rilbench plugins show`."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

from rilbench.contracts.settings import Declared, declared, types_of
from rilbench.contracts.values import choices


@dataclasses.dataclass(frozen=True, kw_only=True)
class SettingInfo:
    """One setting, for a reference: `key` is dotted, `default` as in Python, MISSING when it must be given."""

    key: str
    kind: Any
    default: Any
    declared: Declared

    @property
    def type(self) -> str:
        """The type in words."""
        return type_name(self.kind)

    @property
    def allowed(self) -> str:
        """The choices or the range in words."""
        known = choices(self.kind)
        return f"one of {', '.join(map(str, known))}" if known else self.declared.allowed


def setting_infos(cls: type, prefix: str = "") -> Iterator[SettingInfo]:
    """Every setting of a dataclass, nested sections included, in the order of declaration."""
    for field in dataclasses.fields(cls):
        key, kind = f"{prefix}{field.name}", types_of(cls)[field.name]
        if dataclasses.is_dataclass(kind) and isinstance(kind, type):
            yield from setting_infos(kind, f"{key}.")
        else:
            default = field.default if field.default_factory is dataclasses.MISSING else field.default_factory()
            yield SettingInfo(key=key, kind=kind, default=default, declared=declared(field))


def type_name(kind: Any) -> str:
    """An annotation in words."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        return " or ".join("null" if part is NoneType else type_name(part) for part in inner)
    if origin in (list, tuple, Sequence):
        return f"list of {type_name(inner[0])}s"
    names: dict[Any, str] = {str: "text", int: "whole number", float: "number", bool: "true or false", Any: "any"}
    named = "mapping" if origin in (dict, Mapping) else "text" if origin is Literal else names.get(kind)
    return named or str(getattr(kind, "__name__", kind))
