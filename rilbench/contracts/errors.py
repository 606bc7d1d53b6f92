"""Errors that a user's input causes. The command line prints the message and exits with the code of the class."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

OUT_OF_MEMORY = (  # torch's messages, where its error has no class of its own or caused another one
    "can't allocate memory",
    "Cannot allocate memory",
    "CUDA out of memory",
    "CUDA error: out of memory",
    "CUBLAS_STATUS_ALLOC_FAILED",
)
AGAIN = "Rerun the run's command to have it made again."  # heals most damaged files of a store


class RilbenchError(Exception):
    """A failed run: exit code 1. The message says what is wrong, where, and what to do next."""

    exit_code = 1


class UsageError(RilbenchError):
    """A wrong command line: exit code 2."""

    exit_code = 2


class ConfigError(RilbenchError):
    """A wrong configuration, prompt file, weight file or plugin: exit code 3."""

    exit_code = 3


class PluginError(ConfigError):
    """A plugin that is missing, broken or breaks its contract: exit code 3. Its cause is the plugin's own error."""


class DamagedError(ConfigError):
    """A damaged file of the store: exit code 3. The message names the remedy."""


class MemoryFullError(ConfigError):
    """The device or the host is out of memory: exit code 3. The message names the cause and settings that need less."""


class DivergedError(RilbenchError):
    """A reward, loss, gradient or image that is not finite (NaN or infinite)."""


def is_out_of_memory(error: BaseException) -> bool:
    """Whether torch, which is not imported here, or Python found no memory on a GPU or on the host."""
    stated = any(text in reason(error) for text in OUT_OF_MEMORY)
    return stated or isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def reason(error: BaseException) -> str:
    """Class and message of an error on one line; the message of a plugin's error may itself raise."""
    try:
        message = " ".join(str(error).split())
    except Exception:
        message = "its message cannot be read"
    return f"{type(error).__name__}: {message}"


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """One line about an unknown name, with the nearest known one and the whole choice."""
    names = sorted(known)
    close = difflib.get_close_matches(name[:80], names, n=1, cutoff=0.5)
    hint = f" Did you mean {close[0]!r}?" if close else ""
    return f"unknown {kind} {name[:80]!r}.{hint} Known: {', '.join(names) or 'none'}."
