"""Components given for one command or call, which are not installed."""

from __future__ import annotations

import hashlib
import os
import re
import sys
from pathlib import Path

from rilbench.contracts.errors import PluginError, UsageError
from rilbench.host.class_source import MAIN, source_digest
from rilbench.host.contract_check import CONTRACTS
from rilbench.host.discovery import NAME
from rilbench.host.plugin import BY_HAND, UNKNOWN, Plugin, imported


def given(plugin: str | type) -> Plugin:
    """The plugin of a class, or of `module:Class` or `name=module:Class` in the working folder or on the path.

    The name is the class's in lower case with underscores; the version is a hash of the source, so that changed code
    is trained again.
    """
    if isinstance(plugin, str):
        name, value = _named(plugin)
        loaded = _imported(value, f"--plugin {plugin}")
    elif isinstance(plugin, type):
        name, value, loaded = "", f"{plugin.__module__}:{plugin.__qualname__}", plugin
    else:
        raise UsageError(f"{plugin!r:.80} is not a plugin; give a class, or a text such as my_rewards:Redness")
    module, _, attribute = value.partition(":")
    return Plugin(
        kind=_kind(f"--plugin {plugin if isinstance(plugin, str) else value}", loaded),
        name=name or re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", attribute.rpartition(".")[2]).lower(),
        value=value,
        distribution=BY_HAND,
        version=_version(loaded, module),
        loaded=None if isinstance(plugin, str) else plugin,
    )


def _named(text: str) -> tuple[str, str]:
    """The name, which may be empty, and `module:Class`."""
    name, _, value = text.rpartition("=")
    module, _, attribute = value.partition(":")
    if module.endswith(".py"):
        raise UsageError(f"--plugin {text!r}: name the module, not its file: {module.removesuffix('.py')}:{attribute}")
    if not re.fullmatch(r"[\w.]+:[\w.]+", value):
        raise UsageError(f"--plugin {text[:80]!r} is not of the form module:Class, for example my_rewards:Redness")
    if module == MAIN:
        raise UsageError(f"--plugin {text}: is a class of a notebook or script; move it to a module and give that")
    if name and not NAME.fullmatch(name):
        raise UsageError(f"--plugin {text!r}: the name {name!r} may contain only letters, digits and . _ -")
    return name, value


def _imported(value: str, who: str) -> object:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does: the module is in the working folder
    return imported(value, who)


def _kind(who: str, loaded: object) -> str:
    for kind, contract in CONTRACTS.items():
        if isinstance(loaded, type) and issubclass(loaded, contract):
            return kind
    if any(hasattr(value, "rilbench_impl") for value in getattr(loaded, "__dict__", {}).values()):
        return "hook"
    raise PluginError(f"{who} is not a subclass of Reward, Metric or Strategy and implements no hook")


def _version(loaded: object, module: str) -> str:
    """A hash of the module, or of a class of a notebook or script."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if isinstance(loaded, type) and (file or module == MAIN):
        return f"source-{source_digest(loaded, [Path(file)] if file else [])[:8]}"
    return f"source-{hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8]}" if file else UNKNOWN
