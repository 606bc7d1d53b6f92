"""torch's modes around a call from a notebook."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from rilbench.host import global_state


@contextmanager
def usual_modes() -> Iterator[None]:
    """Within, torch's modes are its initial ones, whatever a notebook has set; at the end they are the notebook's."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    watched = global_state.modes()
    with torch.inference_mode(False), global_state.restored(watched):
        global_state.restore(watched, global_state.defaults())
        yield
