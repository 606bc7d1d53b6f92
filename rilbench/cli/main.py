"""The program `rilbench` and its error messages."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Any

import typer

from rilbench.cli.group import Commands
from rilbench.cli.output import warn
from rilbench.cli.run import run
from rilbench.cli.streams import lasting
from rilbench.contracts.errors import ConfigError, RilbenchError, is_out_of_memory, reason
from rilbench.host.import_threads import not_awaited
from rilbench.model.libraries import quiet_libraries

app = typer.Typer(
    cls=Commands,
    no_args_is_help=True,
    add_completion=False,
    rich_markup_mode=None,  # rich takes longer to import than all of this
    pretty_exceptions_enable=False,
)
app.command()(run)
ERRORS = {  # of a path that the user gave: what is wrong and what to do
    errno.ENAMETOOLONG: "a name in the path is too long for the file system; use a shorter one",
    errno.ENOENT: "there is no such file or folder; correct the path",
    errno.ENOTDIR: "a part of the path is a file, not a folder; correct the path",
    errno.EISDIR: "is a folder; give the path of a file",
    errno.EACCES: "cannot be read or written; change its permissions or use another path",
    errno.ELOOP: "its links form a circle; use another path",
}


@app.callback()
def rilbench() -> None:
    """Tune a text-to-image model on one reward after another and measure what it forgets."""


def main() -> None:
    """Run a command. A user's mistake is one line on stderr and an exit code, without a traceback.

    A plugin's mistake shows the plugin's own traceback above the line. RILBENCH_DEBUG=1 shows every traceback.
    """
    signal.signal(signal.SIGTERM, _terminate)
    quiet_libraries()
    with lasting(), not_awaited(warn):
        _run()


def _run() -> None:
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a failure can be reported
    except Exception as error:
        if os.environ.get("RILBENCH_DEBUG") or (message := _message(error)) is None:
            raise
        _print(error, message)
        raise SystemExit(_exit_code(error)) from None


def _message(error: Exception) -> str | None:
    """The line about an error of the user or the machine; None for an error of rilbench."""
    if isinstance(error, OSError) and error.errno in ERRORS:
        return f"{str(error.filename)[:200]}: {ERRORS[error.errno]}"
    if isinstance(error, RilbenchError | OSError):
        return str(error)
    if is_out_of_memory(error):
        remedy = "use smaller batches, model.precision=bf16 or another model.device"
        return f"out of memory: {remedy} ({reason(error)[:200]})"
    return None


def _print(error: Exception, message: str) -> None:
    from rich.markup import escape

    from rilbench.cli.output import plugin_traceback
    from rilbench.contracts.redact import redacted
    from rilbench.engine.terminal import Terminal

    console = Terminal(stderr=True)
    console.print(redacted(plugin_traceback(error)), end="", markup=False, highlight=False, soft_wrap=True)
    console.print(f"[red]error:[/red] {escape(redacted(message))}", soft_wrap=True, highlight=False)


def _exit_code(error: Exception) -> int:
    code = ConfigError.exit_code if isinstance(error, OSError) and error.errno in ERRORS else 1
    return int(getattr(error, "exit_code", code))


def _terminate(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt
