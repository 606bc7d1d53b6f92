"""The command line. Results go to stdout, progress and errors to stderr; heavy imports wait for the command."""

from rilbench.cli.main import app, main

__all__ = ["app", "main"]
