"""Threads that a plugin starts while it is imported: a command ends without waiting for them, as Python would."""

from __future__ import annotations

import atexit
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

STARTER = "rilbench_starter"  # the attribute of a thread that names the plugin whose import started it
POLL_SECONDS = 0.05


@contextmanager
def noted(who: str) -> Iterator[None]:
    """Within, `who` is imported; a thread that starts is its own."""
    before = set(threading.enumerate())
    try:
        yield
    finally:
        for thread in set(threading.enumerate()) - before:
            setattr(thread, STARTER, who)


@contextmanager
def not_awaited(warn: Callable[[str], None]) -> Iterator[None]:
    """Around all that a process does: once only noted threads are left, it ends, after a warning for each of them."""
    code = 1
    try:
        yield
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else int(end.code is not None)
        raise
    finally:
        left = [thread for thread in _awaited() if _is_noted(thread)]
        for thread in left:
            warn(f"{getattr(thread, STARTER)} left the thread {thread.name!r} running; it ends with the command")
        if left:
            threading.Thread(target=_end, args=(code,), daemon=True).start()


def _awaited() -> list[threading.Thread]:
    """The threads that Python waits for at its end."""
    return [thread for thread in threading.enumerate() if not thread.daemon and thread is not threading.main_thread()]


def _is_noted(thread: threading.Thread) -> bool:
    return hasattr(thread, STARTER)


def _end(code: int) -> None:
    """End the process once Python waits for nothing but noted threads."""
    threading.main_thread().join()  # returns when Python begins to wait for threads
    while (awaited := _awaited()) and not all(map(_is_noted, awaited)):
        time.sleep(POLL_SECONDS)
    if not awaited:
        return
    atexit._run_exitfuncs()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # its reader is gone
            stream.flush()
    os._exit(code)
