"""Typed settings from plain mappings, and their allowed values.

`setting` declares a field of a frozen dataclass with its meaning and range; `build` makes an instance. Unknown keys,
wrong types and values outside the range are errors that name the key and a remedy. The types and ranges of a run's
settings and of every plugin's are checked here and nowhere else.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from functools import cache, partial
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from rilbench.contracts import values as single
from rilbench.contracts.errors import ConfigError, PluginError, reason, unknown
from rilbench.contracts.values import LONGEST, shown, split_names
from rilbench.contracts.yaml_text import NULL, parse

T = TypeVar("T")
DECLARED = "rilbench"  # the key of a field's metadata
MOST_ELEMENTS = 1000  # of a list or mapping
COMPONENT = 255  # bytes of one name in a file system
NONE: Mapping[str, Any] = {}
READERS: Mapping[Any, Callable[[Any, str], Any]] = {
    bool: single.truth,
    int: partial(single.number, kind=int),
    float: single.number,
    str: single.text,
    Path: lambda value, key: Path(single.text(str(value) if isinstance(value, Path) else value, key)),
}


@dataclasses.dataclass(frozen=True)
class Declared:
    """The meaning and range of a setting. The range applies to each element of a list or mapping."""

    meaning: str = ""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    longest: int = LONGEST
    path: bool = False
    secret: bool = False
    raw: bool = False
    added: bool = False

    @property
    def allowed(self) -> str:
        """The range in words; empty if nothing is declared."""
        if self.at_least is not None and self.at_most is not None:
            return f"between {_bound(self.at_least)} and {_bound(self.at_most)}"
        bounds = {"at least": self.at_least, "above": self.above, "at most": self.at_most, "below": self.below}
        stated = [f"{words} {_bound(bound)}" for words, bound in bounds.items() if bound is not None]
        return " and ".join(stated) or (f"at most {self.longest} characters" if self.longest != LONGEST else "")

    def check(self, value: Any, key: str) -> None:
        """ConfigError for a value, or an element of one, outside the range."""
        if isinstance(value, Mapping | list | tuple):
            if len(value) > MOST_ELEMENTS:
                raise ConfigError(f"{key}: has {len(value)} values; at most {MOST_ELEMENTS} are allowed")
            for element in value.values() if isinstance(value, Mapping) else value:
                self.check(element, key)
        elif isinstance(value, str):
            self._check_text(value, key)
        elif isinstance(value, int | float) and not isinstance(value, bool) and not self._holds(value):
            raise ConfigError(f"{key}: {value} is not {self.allowed}")

    def _holds(self, number: float) -> bool:
        low = (self.at_least is None or number >= self.at_least) and (self.above is None or number > self.above)
        return low and (self.at_most is None or number <= self.at_most) and (self.below is None or number < self.below)

    def _check_text(self, text: str, key: str) -> None:
        if len(text) > self.longest:
            raise ConfigError(f"{key}: the text has {len(text)} characters; at most {self.longest} are allowed")
        if self.path and not text.strip():
            raise ConfigError(f"{key}: is empty; name a file or folder")
        if self.path and not text.startswith("url:") and max(len(p.encode()) for p in text.split("/")) > COMPONENT:
            raise ConfigError(f"{key}: {text[:40]!r}... has a name of more than {COMPONENT} bytes; use a shorter one")


def setting(
    default: T,
    meaning: str,
    *,
    at_least: float | None = None,
    above: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
    longest: int = LONGEST,
    path: bool = False,
    secret: bool = False,
    raw: bool = False,
    added: bool = False,
) -> T:
    """A field of a settings dataclass: its default, what it means (one line, with the unit) and its range.

    Numbers have bounds, which are never NaN or infinite; a text has at most `longest` characters, and choices are
    annotated as `Literal["a", "b"]`. path: the text is a file, folder or reference. secret: the value is never
    written, printed or hashed, and is best given as `env:NAME`. raw: values inside keep the form they were given in,
    because another dataclass declares them. added: the setting was added later; at its default it is left out of
    identities, so that earlier results keep theirs.
    """
    about = Declared(meaning, at_least, above, at_most, below, longest, path, secret, raw, added)
    metadata = {DECLARED: about}
    if isinstance(default, dict | list):
        made: Any = dataclasses.field(default_factory=lambda: type(default)(default), metadata=metadata)
    else:
        made = dataclasses.field(default=default, metadata=metadata, repr=not secret)
    field: T = made  # as `dataclasses.field`, which type checkers know
    return field


def _bound(number: float) -> str:
    return f"{number:g}" if isinstance(number, float) else str(number)


def declared(field: dataclasses.Field[Any]) -> Declared:
    """What a field declares; a field without `setting` declares nothing."""
    about = field.metadata.get(DECLARED)
    return about if isinstance(about, Declared) else Declared()


def default_of(field: dataclasses.Field[Any]) -> Any:
    """A field's default; MISSING when it must be given."""
    return field.default if field.default_factory is dataclasses.MISSING else field.default_factory()


def is_unset(field: dataclasses.Field[Any], value: Any) -> bool:
    """Whether a setting that was added later has its default, which identities leave out."""
    return declared(field).added and bool(value == default_of(field))


def flat(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one of dotted keys; lists and empty mappings are values."""
    leaves: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        leaves |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return leaves


def build(cls: type[T], values: Mapping[str, Any], where: str, *, base: T | None = None) -> T:
    """A frozen dataclass `cls` from a mapping; ConfigError names the place, `where`, of a wrong key or value.

    base: the instance that supplies values missing in the mapping; by default the defaults are used.
    """
    place, read = where or "configuration", typed(cls, values, where, _defaults(cls, base))
    if absent := _absent(cls, read):
        raise ConfigError(f"{place}: {', '.join(absent)} must be set; there is no default")
    try:
        return cls(**read)
    except ConfigError as error:  # of a dataclass that checks itself
        raise ConfigError(_placed(str(error), cls, where)) from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{place}: {error}") from None
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # whatever a plugin's __post_init__ raises
        raise PluginError(f"{place}: {cls.__name__} failed: {reason(error)}") from error


def _absent(cls: type, read: Mapping[str, Any]) -> list[str]:
    return [field.name for field in dataclasses.fields(cls) if field.init and field.name not in read]


def _placed(text: str, cls: type, where: str) -> str:
    """A message from a dataclass's own check, with its place; it may begin with the name of a setting."""
    name = text.partition(":")[0].partition(".")[0]
    joint = "." if name in {field.name for field in dataclasses.fields(cls)} else ": "
    return f"{where}{joint}{text}" if where else text


@cache
def types_of(cls: type) -> dict[str, Any]:
    """The types of a dataclass's fields; annotations are texts, which take long to read."""
    return get_type_hints(cls)


def typed(cls: type, values: Mapping[str, Any], where: str, defaults: Mapping[str, Any] = NONE) -> dict[str, Any]:
    """The given values over the defaults, with the types and ranges that `cls` declares; unknown keys are errors."""
    if not isinstance(values, Mapping):
        raise ConfigError(f"{where or 'configuration'}: is not a mapping of settings")
    fields = {field.name: field for field in dataclasses.fields(cls)}
    try:
        kinds = types_of(cls)
    except NameError as error:  # an annotation that only the type checker can see
        said = str(error).splitlines()[0]
        raise ConfigError(f"{where or 'configuration'}: the types of {cls.__name__} cannot be read: {said}") from None
    read: dict[str, Any] = {}
    for name, value in {**defaults, **values}.items():
        if name not in fields:
            raise ConfigError(unknown(f"setting in {where}" if where else "setting", str(name), fields))
        key, about, default = f"{where}.{name}" if where else name, declared(fields[name]), defaults.get(name)
        if dataclasses.is_dataclass(default) and isinstance(value, Mapping):
            read[name] = build(type(default), value, key, base=default)
        elif name not in values and type(value) is kinds[name]:
            read[name] = value
        else:
            read[name] = as_type(value, kinds[name], key, raw=about.raw)
        if name in values:
            about.check(read[name], key)
            if isinstance(default, Mapping):
                read[name] = _over(as_type(default, kinds[name], key, raw=about.raw), read[name])
    return read


def _defaults(cls: type, base: Any) -> dict[str, Any]:
    """The defaults of the fields that have one, or the values of an instance."""
    fields = [field for field in dataclasses.fields(cls) if field.init]
    found = {field.name: default_of(field) if base is None else getattr(base, field.name) for field in fields}
    return {name: value for name, value in found.items() if value is not dataclasses.MISSING}


def _over(below: Any, above: Any) -> Any:
    """A value over a default; keys that are not given in a mapping keep their default."""
    if not isinstance(below, Mapping) or not isinstance(above, Mapping):
        return above
    return {**below, **{key: _over(below.get(key), value) for key, value in above.items()}}


def as_type(value: Any, kind: Any, key: str, *, raw: bool = False) -> Any:
    """A value as `kind`, an annotation; ConfigError names `key`.

    raw: texts inside mappings stay texts where the annotation says Any.
    """
    origin, inner = get_origin(kind) or kind, get_args(kind)
    if origin in (Union, UnionType):
        return _one_of(value, inner, key)
    if origin is Literal:
        return single.choice(value, inner, key)
    if origin in (list, tuple, Sequence):
        return _list(value, inner, key, list if origin is list else tuple)
    if origin in (dict, Mapping):
        return _mapping(value, inner[1] if len(inner) == 2 else Any, key, raw)
    if kind in READERS:
        return READERS[kind](value, key)
    if kind is Any:
        return single.anything(value, key, numbers=not raw)
    if isinstance(kind, type) and isinstance(value, kind):  # a default
        return value
    if dataclasses.is_dataclass(kind) and isinstance(kind, type):
        return build(kind, value, key)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return kind[single.choice(value, list(kind.__members__), key)]
    raise PluginError(
        f"{key}: a setting of type {getattr(kind, '__name__', kind)} cannot be read from a text; use another type"
    )


def _one_of(value: Any, kinds: Sequence[Any], key: str) -> Any:
    """The value as the first type that accepts it; text, which accepts everything, comes last."""
    if NoneType in kinds and (value is None or (isinstance(value, str) and value in NULL)):
        return None
    *others, last = sorted((kind for kind in kinds if kind is not NoneType), key=lambda kind: kind is str)
    for kind in others:
        try:
            return as_type(value, kind, key)
        except ConfigError:
            continue
    return as_type(value, last, key)


def _list(value: Any, inner: Sequence[Any], key: str, made: type) -> Any:
    """A list with one type for all elements or a type for each; a text is split at commas, or is a list in brackets."""
    if isinstance(value, str):
        value = parse(value, key) if value.startswith("[") else split_names(value)
    if not isinstance(value, list | tuple):
        raise ConfigError(f"{key}: {shown(value)} is not a list; write it as a,b")
    uniform = len(inner) == 1 or (len(inner) == 2 and inner[1] is ...)
    kinds = [inner[0]] * len(value) if uniform else list(inner) or [Any] * len(value)
    if len(kinds) != len(value):
        raise ConfigError(f"{key}: has {len(value)} values; it needs {len(kinds)}")
    return made(as_type(part, kind, f"{key}[{i}]") for i, (part, kind) in enumerate(zip(value, kinds, strict=True)))


def _mapping(value: Any, kind: Any, key: str, raw: bool) -> Any:
    if isinstance(value, str) and value.startswith("{"):
        value = parse(value, key)
    if not isinstance(value, Mapping):
        raise ConfigError(f"{key}: {shown(value)} is not a mapping; write its keys as {key}.KEY=value")
    return {name: as_type(part, kind, f"{key}.{name}", raw=raw) for name, part in value.items()}
