"""What an instance holds on to: its torch modules, and how much there is in memory."""

from __future__ import annotations

import gc
import types
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

OPAQUE = (type, types.ModuleType, str, bytes, int, float, complex, bool, type(None), Tensor, nn.Module)


def held(root: Any) -> Iterator[Any]:
    """Everything reachable from an object's attributes, through containers, methods and closures, each once.

    Modules and tensors are given but not entered.
    """
    seen: set[int] = set()
    todo = [root]
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        yield item
        if not isinstance(item, OPAQUE):
            todo.extend(_parts(item))


def _parts(item: Any) -> list[Any]:
    if isinstance(item, dict):
        return [*item.keys(), *item.values()]
    if isinstance(item, list | tuple | set | frozenset | deque):
        return list(item)
    slots = [name for cls in type(item).__mro__ for name in getattr(cls, "__slots__", ())]
    parts = [getattr(item, name) for name in slots if name != "__dict__" and hasattr(item, name)]
    parts += list(getattr(item, "__dict__", {}).values())
    parts += [getattr(item, "__self__", None)]  # of a bound method
    parts += [cell.cell_contents for cell in getattr(item, "__closure__", None) or () if _filled(cell)]
    return parts


def _filled(cell: Any) -> bool:
    try:
        _ = cell.cell_contents
    except ValueError:
        return False
    return True


def modules(root: Any) -> list[nn.Module]:
    """The outermost torch modules an object holds."""
    return [item for item in held(root) if isinstance(item, nn.Module)]


@dataclass(frozen=True)
class Amount:
    """How much there is: living tensors and their bytes made since `newborn`, and objects an instance holds."""

    tensors: int
    bytes: int
    objects: int


def amount(root: Any) -> Amount:
    """What there is now."""
    gc.collect()
    tensors = [item for item in gc.get_objects() if issubclass(type(item), Tensor)]
    size = sum(t.numel() * t.element_size() for t in tensors)
    return Amount(len(tensors), size, sum(1 for _ in held(root)))


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
