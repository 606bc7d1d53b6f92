"""What an instance holds on to: its torch modules, and how much there is in memory."""

from __future__ import annotations

import gc
import types
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

OPAQUE = (type, types.ModuleType, types.CodeType, Tensor, nn.Module)


def held(root: Any) -> Iterator[Any]:
    """Everything reachable from an object, through attributes, containers, methods and closures, each once.

    Modules and tensors are given but not entered, and neither are the globals of functions.
    """
    seen: set[int] = set()
    todo = [root]
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if isinstance(item, types.FunctionType):
            todo += [item.__closure__, item.__defaults__, item.__kwdefaults__, item.__dict__]
        elif not isinstance(item, OPAQUE):
            todo += gc.get_referents(item)


def modules(root: Any) -> list[nn.Module]:
    """The outermost torch modules an object holds."""
    return [item for item in held(root) if isinstance(item, nn.Module)]


def amounts(root: Any) -> dict[str, int]:
    """How much there is now: living tensors and their bytes made since `newborn`, and objects an instance holds."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if issubclass(type(item), Tensor)]
    size = sum(t.numel() * t.element_size() for t in tensors)
    return {"tensors": len(tensors), "bytes of tensors": size, "objects held": sum(1 for _ in held(root))}


@contextmanager
def newborn() -> Iterator[None]:
    """Within, the garbage collector sees only what is made within: collecting and counting then take no time."""
    ours = gc.get_freeze_count() == 0
    if ours:
        gc.freeze()
    try:
        yield
    finally:
        if ours:
            gc.unfreeze()
