"""Ctrl-C and SIGTERM while a stage trains: the first waits for the current update and its checkpoint, so that no update
is lost; the second acts at once."""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

SIGNALS = (signal.SIGINT, signal.SIGTERM)
TOLD = b"\nstopping after this update, with a checkpoint; Ctrl-C again stops at once\n"


class Stopping:
    """Within: a signal is passed on to the handler that was there, by default KeyboardInterrupt, only between updates.

    Signals that are ignored or end the process without a handler stay so. Python delivers signals to the main thread,
    so in others this changes nothing.
    """

    def __init__(self) -> None:
        self._before: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._asked: int | None = None

    def __enter__(self) -> Stopping:
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if callable(before := signal.getsignal(number)):
                    self._before[number] = before
                    signal.signal(number, self._heard)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._restore()
        if error is None and self._asked is not None:
            self._pass_on()

    def between(self, save: Callable[[], None]) -> None:
        """To be called between updates: saves and passes on the signal, if there was one."""
        if self._asked is not None:
            save()
            self._restore()
            self._pass_on()

    def _heard(self, number: int, frame: FrameType | None) -> None:
        if self._asked is not None:
            self._before[number](number, frame)
            return
        self._asked = number
        if number == signal.SIGINT and sys.stderr.isatty():
            os.write(2, TOLD)  # a stream may be in the middle of writing

    def _pass_on(self) -> None:
        number, self._asked = self._asked, None
        assert number is not None
        self._before[number](number, None)

    def _restore(self) -> None:
        for number, before in self._before.items():
            signal.signal(number, before)
