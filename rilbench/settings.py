"""Typed settings from plain mappings: unknown keys and wrong types are errors that name the place and a remedy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, TypeVar

from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import ConfigKeyError, OmegaConfBaseException, ValidationError

from rilbench.errors import ConfigError, PluginError, reason, unknown

T = TypeVar("T")


def flat(values: Mapping[Any, Any], prefix: str = "") -> dict[str, Any]:
    """Nested mappings as one of dotted keys; lists and empty mappings are values."""
    found: dict[str, Any] = {}
    for key, value in values.items():
        name = f"{prefix}{key}"
        found |= flat(value, f"{name}.") if isinstance(value, Mapping) and value else {name: value}
    return found


def build(cls: type[T], values: Mapping[str, Any] | DictConfig, where: str) -> T:
    """A frozen dataclass `cls` from a mapping; ConfigError names `where` the wrong key or value stands."""
    try:
        merged = OmegaConf.merge(OmegaConf.structured(cls), values)
        built = OmegaConf.to_object(merged)
    except ConfigError as error:  # of a dataclass that checks itself
        raise ConfigError(f"{where}.{error}" if where else str(error)) from None
    except ConfigKeyError as error:
        raise ConfigError(_unknown_key(error, cls, where)) from None
    except (ValidationError, OmegaConfBaseException) as error:
        key = ".".join(part for part in (where, error.full_key) if part)
        said = str(error.msg or error).splitlines()[0]
        raise ConfigError(f"{key or 'configuration'}: {said}") from None
    except NameError as error:  # an annotation that only the type checker can see
        said = str(error).splitlines()[0]
        raise ConfigError(f"{where or 'configuration'}: the types of {cls.__name__} cannot be read: {said}") from None
    except (ValueError, TypeError) as error:
        raise ConfigError(f"{where or 'configuration'}: {error}") from None
    except (Exception, SystemExit) as error:  # whatever a stranger's __post_init__ raises
        raise PluginError(f"{where or 'configuration'}: {cls.__name__} failed: {reason(error)}") from error
    assert isinstance(built, cls)
    return built


def _unknown_key(error: ConfigKeyError, cls: type, where: str) -> str:
    full_key = error.full_key or str(error.key)
    owner = error.object_type if dataclasses.is_dataclass(error.object_type) else cls
    known = [field.name for field in dataclasses.fields(owner)]
    parent = ".".join(part for part in (where, *full_key.split(".")[:-1]) if part)
    place = f" in {parent}" if parent else ""
    return unknown(f"setting{place}", full_key.split(".")[-1], known)
