"""The command line in this process: seconds faster than a process of its own, which imports torch first."""

from __future__ import annotations

import io
import logging
import os
import re
import signal
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from unittest import mock

import pytest

from rilbench.cli import main

# the warning of every toy run, which has few prompts
FEW = re.compile(r"warning: .* different prompts; 95 % intervals are not reliable with fewer than 30\n")


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    code: int
    out: str
    err: str


def rilbench(*arguments: object, cwd: Path | None = None) -> Done:
    """`rilbench` with these arguments, in a working folder."""
    out, err = io.StringIO(), io.StringIO()
    with _untouched() as patched:
        patched.setattr(sys, "argv", ["rilbench", *map(str, arguments)])
        patched.setattr(sys, "stdout", out)
        patched.setattr(sys, "stderr", err)
        if cwd is not None:
            patched.chdir(cwd)
        code = exit_code()
    return Done(code, out.getvalue(), err.getvalue())


def exit_code() -> int:
    """Runs the command that `sys.argv` holds."""
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@contextmanager
def _untouched() -> Iterator[pytest.MonkeyPatch]:
    """What a command sets for its whole process is put back."""
    level, handler = logging.getLogger().level, signal.getsignal(signal.SIGTERM)
    with mock.patch.dict(os.environ), pytest.MonkeyPatch.context() as patched:
        patched.setattr(warnings, "formatwarning", warnings.formatwarning)
        yield patched
    logging.getLogger().setLevel(level)
    signal.signal(signal.SIGTERM, handler)
