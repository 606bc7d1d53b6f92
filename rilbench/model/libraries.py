"""What the libraries underneath are told."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


def quiet_libraries() -> None:
    """Keep the chatter and progress bars of the libraries off the user's screen."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    os.environ.setdefault("HF_HUB_VERBOSITY", "critical")  # errors are told by us, retries need not be
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    os.environ.setdefault("DIFFUSERS_VERBOSITY", "error")
    logging.getLogger().setLevel(logging.ERROR)
    warnings.formatwarning = lambda message, *_, **__: f"warning: {message}\n"


@contextmanager
def silent() -> Iterator[None]:
    """Within: nothing from diffusers' and transformers' loggers, about faults that we tell ourselves."""
    import diffusers
    import transformers

    loggers = diffusers.utils.logging, transformers.utils.logging
    before = [logger.get_verbosity() for logger in loggers]
    for logger in loggers:
        logger.set_verbosity(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, verbosity in zip(loggers, before, strict=True):
            logger.set_verbosity(verbosity)
