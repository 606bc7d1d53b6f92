"""What `rilbench plugins show` prints about a plugin."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from rilbench.contracts.components import Component, Metric, Reward
from rilbench.contracts.hooks import NAMES
from rilbench.contracts.settings import declared
from rilbench.host.catalog import Plugin
from rilbench.host.contract_check import CONTRACTS
from rilbench.host.discovery import field


def described(plugin: Plugin) -> dict[str, Any]:
    """Origin, licence, contract, documentation and settings of a plugin, which is imported."""
    loaded = plugin.load()
    shown = {"name": plugin.name, "kind": plugin.kind, "distribution": plugin.origin, "object": plugin.value}
    shown |= {"licence": _licence(plugin.distribution)}
    if plugin.kind == "command":
        about = loaded if inspect.isfunction(loaded) else import_module(plugin.value.partition(":")[0])
        return shown | {"contract": "rilbench.commands", "about": _doc(about), "settings": []}
    shown |= {"api_version": getattr(loaded, "api_version", "not declared")}
    shown |= _hook(loaded) if plugin.kind == "hook" else _contract(plugin.kind, loaded)
    return shown | {"about": _doc(loaded), "settings": _settings(getattr(loaded, "Settings", None))}


def _contract(kind: str, loaded: type[Component]) -> dict[str, Any]:
    contract = CONTRACTS[kind]
    shown: dict[str, Any] = {"contract": f"rilbench.{contract.__name__}: {_doc(contract)}"}
    if issubclass(loaded, Reward):
        shown |= {"differentiable": loaded.differentiable, "uses_prompts": loaded.uses_prompts}
        shown |= {"precision": loaded.precision, "metrics": list(loaded.metrics)}
    if issubclass(loaded, Metric):
        shown |= {"higher_is_better": loaded.higher_is_better, "unit": loaded.unit, "needs_base": loaded.needs_base}
    settings = inspect.getdoc(loaded.Settings) or ""
    return shown | {"settings_doc": settings}


def _hook(loaded: Any) -> dict[str, Any]:
    return {"contract": "rilbench.hooks", "hooks": [name for name in NAMES if hasattr(loaded, name)]}


def _settings(cls: Any) -> list[dict[str, str]]:
    fields = dataclasses.fields(cls) if cls is not None else ()
    return [{"name": f.name, "type": _type(f.type), "default": _default(f)} | _declared(f) for f in fields]


def _declared(field: dataclasses.Field[Any]) -> dict[str, str]:
    """What a setting means and may be, where `rilbench.setting` declares it."""
    found = declared(field)
    return {"meaning": found.meaning, "range": found.allowed}


def _type(annotation: Any) -> str:
    return annotation if isinstance(annotation, str) else getattr(annotation, "__name__", str(annotation))


def _default(field: dataclasses.Field[Any]) -> str:
    if field.default is not dataclasses.MISSING:
        return repr(field.default)
    return repr(field.default_factory()) if field.default_factory is not dataclasses.MISSING else "required"


def _doc(thing: Any) -> str:
    return inspect.getdoc(thing) or "no documentation"


def _licence(distribution: str) -> str:
    try:
        found = metadata(distribution)
    except PackageNotFoundError:
        return "unknown"
    classifiers = [c.split(" :: ")[-1] for c in found.get_all("Classifier") or () if c.startswith("License ::")]
    named = field(found, "License-Expression") or field(found, "License")
    return named or ", ".join(classifiers) or "not declared"
