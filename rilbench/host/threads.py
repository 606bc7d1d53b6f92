"""Threads that plugins start while they are imported: the command does not wait for them at its end."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress

OWNER = "rilbench_owner"  # the attribute of a thread that names the plugin that started it
POLL = 0.05  # seconds


@contextmanager
def owned(who: str) -> Iterator[None]:
    """Within, code of `who` is imported; threads started within belong to it."""
    before = set(threading.enumerate())
    try:
        yield
    finally:
        for thread in set(threading.enumerate()) - before:
            setattr(thread, OWNER, who)


@contextmanager
def left_behind() -> Iterator[None]:
    """Around a whole command: at its end it does not wait for threads that plugins started during import, but for all
    others."""
    code = 1
    try:
        yield
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        if any(map(_is_owned, _waited_for())):
            threading.Thread(target=_leave, args=(code,), daemon=True).start()


def _waited_for() -> list[threading.Thread]:
    """The threads that Python waits for before it ends."""
    return [t for t in threading.enumerate() if not t.daemon and t is not threading.main_thread()]


def _is_owned(thread: threading.Thread) -> bool:
    return hasattr(thread, OWNER)


def _leave(code: int) -> None:
    """End the process once only threads of plugins are running; for a daemon thread."""
    threading.main_thread().join()  # until Python itself waits for the others
    while not all(map(_is_owned, _waited_for())):
        time.sleep(POLL)
    for thread in _waited_for():
        told = f"{getattr(thread, OWNER)} left the thread {thread.name!r} running; it ends with the command"
        print(f"warning: {told}", file=sys.stderr)
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader has gone
            stream.flush()
    os._exit(code)
