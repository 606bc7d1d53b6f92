"""A folder that nobody may write in, not even root, for as long as a block runs."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

VERSION = 0x20080522  # of Linux' capability calls, with two words of 32 capabilities each
OVERRIDE, READ_SEARCH, OWNER = 1 << 1, 1 << 2, 1 << 3  # what lets root pass by a file's mode


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    paths = [folder, *folder.rglob("*")]
    modes = {path: path.stat().st_mode for path in paths}
    for path in paths:
        path.chmod(modes[path] & ~0o222)
    try:
        with _unprivileged():
            yield
    finally:
        for path, mode in modes.items():
            path.chmod(mode)


@contextmanager
def closed(folder: Path) -> Iterator[None]:
    """The same for a folder that nobody may enter."""
    mode = folder.stat().st_mode
    folder.chmod(0)
    try:
        with _unprivileged():
            yield
    finally:
        folder.chmod(mode)


@contextmanager
def _unprivileged() -> Iterator[None]:
    if os.geteuid() != 0:
        yield
        return
    libc = ctypes.CDLL(None, use_errno=True)
    header, before = (ctypes.c_uint32 * 2)(VERSION, 0), (ctypes.c_uint32 * 6)()
    if libc.capget(header, before):
        pytest.skip("root's capabilities cannot be read")
    less = (ctypes.c_uint32 * 6)(*before)
    less[0] &= ~(OVERRIDE | READ_SEARCH | OWNER)  # the effective ones; the permitted ones give them back
    if libc.capset(header, less):
        pytest.skip("root's capabilities cannot be given up")
    try:
        yield
    finally:
        libc.capset(header, before)
