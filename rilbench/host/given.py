"""Components given for one command or call, which are not installed."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import warnings
from importlib import import_module
from pathlib import Path

from rilbench.contracts.errors import PluginError, UsageError, reason
from rilbench.host import global_state, threads
from rilbench.host.class_source import MAIN, source_digest
from rilbench.host.contract_check import CONTRACTS
from rilbench.host.control import BY_HAND
from rilbench.host.discovery import NAME, Entry


def given(plugin: str | type) -> Entry:
    """The entry of a class, or of `module:Class` or `name=module:Class` in the working folder or on the path.

    The name is the class's in lower case with underscores; the version is a hash of the source, so that changed code
    is trained again.
    """
    if not isinstance(plugin, str):
        return _of_class(plugin)
    name, _, value = plugin.rpartition("=")
    module, _, attribute = value.partition(":")
    if module.endswith(".py"):
        raise UsageError(
            f"--plugin {plugin!r}: name the module, not its file: {module.removesuffix('.py')}:{attribute}"
        )
    if not module or not attribute:
        raise UsageError(f"--plugin {plugin[:80]!r} is not of the form module:Class, for example my_rewards:Redness")
    if module == MAIN:
        raise UsageError(f"--plugin {plugin}: is a class of a notebook or script; move it to a module and name that")
    if name and not NAME.fullmatch(name):
        raise UsageError(f"--plugin {plugin!r}: the name {name!r} is not of letters, digits and any of . _ -")
    loaded = _imported(plugin, module, attribute)
    return Entry(
        kind=_kind(plugin, loaded),
        name=name or _named(attribute),
        value=value,
        distribution=BY_HAND,
        version=_version(loaded, module),
    )


def _of_class(cls: type) -> Entry:
    """Like `module:Class`; the version of a class of a notebook or script is a hash of the class alone."""
    if not isinstance(cls, type):
        raise UsageError(f"{cls!r:.80} is not a plugin; give a class, or a text such as my_rewards:Redness")
    value = f"{cls.__module__}:{cls.__qualname__}"
    return Entry(
        kind=_kind(value, cls),
        name=_named(cls.__name__),
        value=value,
        distribution=BY_HAND,
        version=_version(cls, cls.__module__),
        loaded=cls,
    )


def _named(cls: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls).lower()


def _imported(text: str, module: str, attribute: str) -> object:
    if os.getcwd() not in sys.path:
        sys.path.insert(0, os.getcwd())  # as `python -m` does: the module lies where the user works
    try:
        who = f"--plugin {text}"
        with contextlib.redirect_stdout(sys.stderr), global_state.kept(who, warnings.warn), threads.owned(who):
            loaded: object = import_module(module)
            for part in attribute.split("."):
                loaded = getattr(loaded, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        raise PluginError(f"--plugin {text} cannot be imported: {reason(error)}") from error
    return loaded


def _kind(text: str, loaded: object) -> str:
    for kind, contract in CONTRACTS.items():
        if isinstance(loaded, type) and issubclass(loaded, contract):
            return kind
    if any(hasattr(value, "rilbench_impl") for value in getattr(loaded, "__dict__", {}).values()):
        return "hook"
    raise PluginError(f"--plugin {text} is not a subclass of Reward, Metric or Strategy and implements no hook")


def _version(loaded: object, module: str) -> str:
    """A hash of the module, or of a class of a notebook or script."""
    file = getattr(sys.modules.get(module), "__file__", None)
    if isinstance(loaded, type) and (file or module == MAIN):
        return f"source-{source_digest(loaded, [Path(file)] if file else [])[:8]}"
    return f"source-{hashlib.sha256(Path(file).read_bytes()).hexdigest()[:8]}" if file else "unknown"
