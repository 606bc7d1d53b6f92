"""stdout and stderr that do not end a command, whatever the terminal's encoding, and if their reader is gone."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any

from rilbench.contracts.errors import RilbenchError

PLAIN = {"↑": "^", "↓": "v", "†": "#", "±": "+-", "…": "..."}  # signs of our tables where an encoding has none
ERRORS = "rilbench"  # the name of the error handler


class Lasting:
    """A text stream. What its encoding lacks is written in ASCII; once its reader is gone, text goes nowhere.

    data: other failures to write, such as a full disk, are errors; without it they are ignored.
    """

    def __init__(self, stream: Any, *, data: bool) -> None:
        self._stream, self._data = stream, data

    def write(self, text: str) -> int:
        with self._kept():
            self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._kept():
            self._stream.flush()

    @contextmanager
    def _kept(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            self._forget()
            if self._data and not isinstance(error, BrokenPipeError):
                raise RilbenchError(
                    f"cannot write to stdout: {error.strerror}. Finished work is kept; print to another place."
                ) from None

    def _forget(self) -> None:
        """Redirect the descriptor to the null device, also for buffered text."""
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, self._stream.fileno())
        os.close(null)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def lasting() -> Iterator[None]:
    """Within: stdout and stderr are `Lasting`."""
    codecs.register_error(ERRORS, _in_ascii)
    with ExitStack() as stack:
        stdout, stderr = (
            stream or stack.enter_context(open(os.devnull, "w", encoding="utf-8"))
            for stream in (sys.stdout, sys.stderr)
        )
        for stream in (stdout, stderr):
            with suppress(AttributeError):  # a stream that somebody put in its place
                stream.reconfigure(errors=ERRORS)  # type: ignore[union-attr]
        stack.enter_context(redirect_stdout(Lasting(stdout, data=True)))
        stack.enter_context(redirect_stderr(Lasting(stderr, data=False)))
        yield
        sys.stderr.flush()


def _in_ascii(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    signs = (PLAIN.get(sign) for sign in error.object[error.start : error.end])
    text = "".join(plain or "\0" for plain in signs)
    return (text, error.end) if "\0" not in text else codecs.backslashreplace_errors(error)
