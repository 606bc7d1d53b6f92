"""Which installed plugins are active: two lists in the environment, and plugins given on the command line."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import sys
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import replace
from importlib import import_module
from pathlib import Path

from packaging.utils import canonicalize_name

from rilbench.contracts.components import Metric, Reward
from rilbench.contracts.errors import PluginError, UsageError, reason
from rilbench.contracts.strategy import Strategy
from rilbench.host import global_state, threads
from rilbench.host.class_source import MAIN, source_digest
from rilbench.host.discovery import NAME, OK, Entry

ALLOW, DISABLE, STRICT = "RILBENCH_PLUGINS", "RILBENCH_DISABLE_PLUGINS", "RILBENCH_STRICT_PLUGINS"
BY_HAND = "--plugin"  # what the distribution of a component is called that is not installed
OWN = "rilbench"  # the distribution that an allow-list always contains


def strict() -> bool:
    """True if any broken plugin is an error."""
    return os.environ.get(STRICT, "").lower() not in ("", "0", "false", "no")


def controlled(entries: Iterable[Entry]) -> list[Entry]:
    """The entries, with those that are off marked.

    Both lists hold names of components (`warmth` or `reward/warmth`), of distributions, or both (`acme:warmth`),
    separated by commas. If RILBENCH_PLUGINS is set, even to an empty text, every plugin it does not name is off, except
    those of rilbench.
    """
    allowed, disabled = _listed(ALLOW), _listed(DISABLE) or ()
    return [_controlled(entry, allowed, disabled) for entry in entries]


def not_installed(entries: Sequence[Entry]) -> list[str]:
    """One line for each listed name that is not installed; it is probably misspelt."""
    known = {name for entry in entries for name in _names(entry)}
    return [
        f"{variable} names {name!r}, which is not installed"
        for variable in (ALLOW, DISABLE)
        for name in _listed(variable) or ()
        if not {name, _with_normalised(name)} & known
    ]


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
    for kind, contract in {"reward": Reward, "metric": Metric, "strategy": Strategy}.items():
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


def _controlled(entry: Entry, allowed: Sequence[str] | None, disabled: Sequence[str]) -> Entry:
    if _meant(entry, disabled):
        return replace(entry, status=f"off: by {DISABLE}")
    if allowed is not None and entry.distribution != OWN and not _meant(entry, allowed):
        return replace(entry, status=f"off: not in {ALLOW}")
    return entry


def _meant(entry: Entry, listed: Sequence[str]) -> bool:
    return any(_names(entry) & {text, _with_normalised(text)} for text in listed)


def _with_normalised(text: str) -> str:
    """A listed name, its distribution as pip compares it."""
    distribution, colon, name = text.partition(":")
    return f"{canonicalize_name(distribution)}{colon}{name}"


def _names(entry: Entry) -> set[str]:
    distribution = canonicalize_name(entry.distribution)
    return {entry.name, f"{entry.kind}/{entry.name}", distribution, f"{distribution}:{entry.name}"}


def _listed(variable: str) -> list[str] | None:
    text = os.environ.get(variable)
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def off(entry: Entry) -> bool:
    """True if the user switched the entry off."""
    return entry.status.startswith("off:")


def usable(entry: Entry) -> bool:
    """True if nothing known before the import prevents using the entry."""
    return entry.status == OK
