"""The commands put together, and what a mistake looks like."""

from __future__ import annotations

import errno
import os
import signal
import sys
from typing import Any

import typer
from rich.markup import escape

from rilbench.cli import run as runs
from rilbench.cli.group import Commands
from rilbench.cli.output import plugin_traceback
from rilbench.cli.streams import lasting
from rilbench.contracts.errors import ConfigError, RilbenchError, is_out_of_memory, reason
from rilbench.contracts.redact import redacted
from rilbench.engine.terminal import Terminal
from rilbench.host.threads import left_behind
from rilbench_compare import command as compare
from rilbench_explain import settings_command as settings
from rilbench_fetch import command as fetch
from rilbench_plugins import command as plugins
from rilbench_release import evaluate_command as evaluate
from rilbench_release import export_command as export
from rilbench_release import generate_command as generate
from rilbench_report import command as report
from rilbench_runs import command as kept
from rilbench_study import command as study

app = typer.Typer(
    cls=Commands,
    help="Tune a text-to-image model on one reward after another, and see what it forgets.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command()(runs.run)
app.command()(study.study)
app.command()(runs.explain)
app.command()(settings.settings)
app.command()(fetch.fetch)
app.command()(compare.compare)
app.command()(report.report)
app.command()(generate.generate)
app.command()(export.export)
app.command()(evaluate.evaluate)
app.add_typer(kept.app, name="runs")
app.add_typer(plugins.app, name="plugins")


FILES = {  # errors of a place that a user named, and what to do
    errno.ENAMETOOLONG: "a name in it is too long for the file system; use a shorter one",
    errno.ENOENT: "there is no such file or folder; correct the path",
    errno.ENOTDIR: "a part of it is a file, not a folder; name another place",
    errno.EISDIR: "is a folder, not a file; name a file",
    errno.EACCES: "may not be read or written; change its permissions or name another place",
    errno.ELOOP: "its links lead in a circle; name another place",
}


def main() -> None:
    """Run a command; a user's mistake is one line on stderr and an exit code, never a traceback.

    A plugin's mistake shows the plugin's own traceback above the line. RILBENCH_DEBUG=1 shows every traceback.
    """
    signal.signal(signal.SIGTERM, _terminate)
    with left_behind(), lasting():
        _run()


def _run() -> None:
    try:
        try:
            app()
        finally:
            sys.stdout.flush()  # here, where a failure can be told
    except Exception as error:
        if os.environ.get("RILBENCH_DEBUG") or (told := _told(error)) is None:
            raise
        console = Terminal(stderr=True)
        console.print(redacted(plugin_traceback(error)), end="", markup=False, highlight=False, soft_wrap=True)
        console.print(f"[red]error:[/red] {escape(redacted(told))}", soft_wrap=True, highlight=False)
        raise SystemExit(_exit_code(error)) from None


def _told(error: Exception) -> str | None:
    """The line about an error that is the user's or the machine's; None for one of ours."""
    if isinstance(error, OSError) and error.errno in FILES:
        return f"{str(error.filename)[:200]}: {FILES[error.errno]}"
    if isinstance(error, RilbenchError | OSError):
        return str(error)
    if is_out_of_memory(error):
        told = "smaller batches, model.precision=bf16 or another model.device take less"
        return f"out of memory: {told} ({reason(error)[:200]})"
    return None


def _exit_code(error: Exception) -> int:
    code = ConfigError.exit_code if isinstance(error, OSError) and error.errno in FILES else 1
    return int(getattr(error, "exit_code", code))


def _terminate(signum: int, frame: Any) -> None:
    raise KeyboardInterrupt
