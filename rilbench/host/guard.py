"""Calls of plugin code: errors name the plugin, and results and changes are checked."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import TYPE_CHECKING, Any

from rilbench.contracts.errors import PluginError, RilbenchError, is_out_of_memory, reason
from rilbench.host.global_state import kept, modes_kept

if TYPE_CHECKING:
    from torch import Tensor


@contextmanager
def blamed(
    what: str, fault: str = "failed", *, passed_on: tuple[type[Exception], ...] = (RilbenchError,)
) -> Iterator[None]:
    """Within, plugin code runs: an exception becomes a PluginError that names the plugin, and changed modes of torch
    are restored with a warning. Ctrl-C is not converted, nor is what is `passed_on`."""
    try:
        with modes_kept(what):
            yield
    except (KeyboardInterrupt, GeneratorExit):
        raise
    except BaseException as error:  # a plugin may even call sys.exit, and libraries cancel with other BaseExceptions
        if isinstance(error, passed_on) or (passed_on and is_out_of_memory(error)):  # whose turn it was says little
            raise
        raise PluginError(f"{what} {fault}: {reason(error)}") from error


@contextmanager
def made(what: str, fault: str) -> Iterator[None]:
    """Within, a plugin is imported or created: its output goes to stderr, and its errors name it."""
    with redirect_stdout(sys.stderr), kept(what), blamed(what, fault, passed_on=()):
        yield


def scores_of(what: str, scores: Any, n: int) -> Tensor:
    """The scores of n images. Raises PluginError if `what` returned anything but a tensor (n,)."""
    from torch import Tensor

    if not isinstance(scores, Tensor) or scores.shape != (n,):
        got = tuple(scores.shape) if isinstance(scores, Tensor) else type(scores).__name__
        raise PluginError(f"{what} must return a tensor of scores of shape ({n},), it returned {got}")
    return scores


@contextmanager
def images_kept(what: str, *images: Tensor) -> Iterator[None]:
    """Within, `what` receives images. Raises PluginError if it changes them in any way, because others use the same
    ones."""
    import torch

    before = [image.detach().clone() for image in images]
    yield
    for image, known in zip(images, before, strict=True):
        same = image.shape == known.shape and torch.allclose(image.detach(), known, rtol=0, atol=0, equal_nan=True)
        if not same:
            raise PluginError(f"{what} changes the images in place; it must work on a copy")
