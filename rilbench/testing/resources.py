"""Checks of what a reward keeps between calls: frozen models, and nothing that grows."""

from __future__ import annotations

import gc
import types
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn

from rilbench.testing.check import check, require, require_none
from rilbench.testing.gradients import not_differentiable, there_is_a_gradient
from rilbench.testing.rewards import RewardSubject, captions, score, scores_are_finite

CALLS = 50
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
    """The outermost torch modules that an object refers to."""
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
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@check(scores_are_finite)
def parameters_are_frozen(subject: RewardSubject) -> None:
    """No parameter requires a gradient, which would cost memory and time and could train it by mistake."""
    score(subject, subject.pictures(2))
    named = [(type(m).__name__, *each) for m in modules(subject.instance) for each in m.named_parameters()]
    loose = [f"{module}.{name}" for module, name, parameter in named if parameter.requires_grad]
    tensors = [item for item in held(subject.instance) if isinstance(item, Tensor)]
    loose += [f"a tensor of shape {tuple(t.shape)}" for t in tensors if t.requires_grad and t.is_leaf]
    require_none(loose, "{} parameters require a gradient")


@check(scores_are_finite)
def modules_are_in_eval_mode(subject: RewardSubject) -> None:
    """Dropout and batch statistics are off; a new torch module starts in train mode."""
    score(subject, subject.pictures(2))
    training = [type(m).__name__ for top in modules(subject.instance) for m in top.modules() if m.training]
    require_none(training, "{} modules are in train mode")


@check(there_is_a_gradient, parameters_are_frozen, not_for=not_differentiable)
def no_graph_is_kept(subject: RewardSubject) -> None:
    """Nothing of a call's autograd graph stays in memory; a graph holds the activations of a whole UNet."""
    with newborn():
        alive = _call_and_forget(subject)
        gc.collect()
    require(alive() is None, "the graph of a call is still alive after its scores are gone; detach stored tensors")


def _call_and_forget(subject: RewardSubject) -> weakref.ref[Any]:
    """A hook that the graph of a call keeps alive."""
    images, hook = subject.pictures(2).requires_grad_().clone(), lambda gradient: None
    images.register_hook(hook)  # type: ignore[no-untyped-call]
    subject.instance(images, captions(subject, 2)).sum().backward()  # type: ignore[no-untyped-call]
    return weakref.ref(hook)


@check(scores_are_finite)
def memory_does_not_grow(subject: RewardSubject) -> None:
    """Repeated calls with the same prompts do not leave more and more tensors and objects in memory."""
    images, found = subject.pictures(2), []
    with newborn():
        for calls in (10, CALLS // 2, CALLS // 2):  # a cache that fills up grows in one half only
            for _ in range(calls):
                score(subject, images.clone().requires_grad_(subject.component.differentiable))
            found.append(amounts(subject.instance))
    for unit in found[0]:
        start, middle, end = (amount[unit] for amount in found)
        require(not start < middle < end, f"{CALLS} calls leave {end - start} more {unit} behind")
