"""What `rilbench plugins show` prints about a plugin."""

from __future__ import annotations

import dataclasses
import inspect
from importlib import import_module
from importlib.metadata import PackageNotFoundError, metadata
from typing import Any

from rilbench.contracts.hooks import NAMES
from rilbench.host.contract_check import CONTRACTS
from rilbench.host.discovery import field
from rilbench.host.plugin import Plugin
from rilbench_explain.reference import setting_infos


def described(plugin: Plugin) -> dict[str, Any]:
    """Origin, licence, contract, documentation and settings of a plugin, which is imported."""
    loaded = plugin.load()
    shown: dict[str, Any] = {"name": plugin.name, "kind": plugin.kind, "distribution": plugin.origin}
    shown |= {"object": plugin.value, "licence": _licence(plugin.distribution)}
    if plugin.kind == "command":
        about = loaded if inspect.isfunction(loaded) else import_module(plugin.value.partition(":")[0])
        return shown | {"contract": "rilbench.commands", "about": _doc(about), "settings": []}
    shown |= {"api_version": getattr(loaded, "api_version", "not declared")}
    if plugin.kind == "hook":
        shown |= {"contract": "rilbench.hooks", "hooks": [name for name in NAMES if hasattr(loaded, name)]}
    else:
        contract = CONTRACTS[plugin.kind]
        shown |= {"contract": f"rilbench.{contract.__name__}: {_doc(contract)}"}
        shown |= {name: getattr(loaded, name) for name in inspect.get_annotations(contract)}  # its required attributes
        shown |= {"settings_doc": inspect.getdoc(loaded.Settings) or ""}
    declared = setting_infos(loaded.Settings) if hasattr(loaded, "Settings") else ()
    settings = [
        {"name": one.key, "type": one.type, "meaning": one.declared.meaning, "range": one.allowed}
        | {"default": "required" if one.default is dataclasses.MISSING else repr(one.default)}
        for one in declared
    ]
    return shown | {"about": _doc(loaded), "settings": settings}


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
