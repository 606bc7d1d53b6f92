"""What a reward holds on to between calls: frozen models, and nothing that grows."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import torch
from torch import Tensor

from rilbench.testing.check import check, require, require_none
from rilbench.testing.gradients import not_differentiable, there_is_a_gradient
from rilbench.testing.holdings import amounts, held, modules, newborn
from rilbench.testing.rewards import scores_are_finite
from rilbench.testing.scoring import RewardSubject, pictures, score

CALLS = 50


@check(scores_are_finite)
def parameters_are_frozen(subject: RewardSubject) -> None:
    """No parameter requires a gradient, which would cost memory and time and could train it by mistake."""
    score(subject, pictures(subject, 2))
    named = [(type(m).__name__, *each) for m in modules(subject.instance) for each in m.named_parameters()]
    loose = [f"{module}.{name}" for module, name, parameter in named if parameter.requires_grad]
    tensors = [item for item in held(subject.instance) if isinstance(item, Tensor)]
    loose += [f"a tensor of shape {tuple(t.shape)}" for t in tensors if t.requires_grad and t.is_leaf]
    require_none(loose, "{} parameters require a gradient")


@check(scores_are_finite)
def modules_are_in_eval_mode(subject: RewardSubject) -> None:
    """Dropout and batch statistics are off; a new torch module starts in train mode."""
    score(subject, pictures(subject, 2))
    training = [type(m).__name__ for top in modules(subject.instance) for m in top.modules() if m.training]
    require_none(training, "{} modules are in train mode")


class _Canary(torch.autograd.Function):
    """The identity; the graph it is part of keeps `token` alive."""

    @staticmethod
    def forward(ctx: Any, images: Tensor, token: object) -> Tensor:
        ctx.token = token
        return images.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0], None


class _Token:
    pass


@check(there_is_a_gradient, parameters_are_frozen, not_for=not_differentiable)
def no_graph_is_kept(subject: RewardSubject) -> None:
    """Nothing of a call's autograd graph stays in memory; a graph holds the activations of a whole UNet."""
    with newborn():
        alive = _call_and_forget(subject)
        gc.collect()
    require(alive() is None, "the graph of a call is still alive after its scores are gone; detach what is stored")


def _call_and_forget(subject: RewardSubject) -> weakref.ref[_Token]:
    token = _Token()
    images = _Canary.apply(pictures(subject, 2).requires_grad_(), token)
    subject.instance(images, list(subject.prompts[:2])).sum().backward()  # type: ignore[no-untyped-call]
    return weakref.ref(token)


@check(scores_are_finite)
def memory_does_not_grow(subject: RewardSubject) -> None:
    """Repeated calls with the same prompts do not leave more and more tensors and objects in memory."""
    found = []
    with newborn():
        for calls in (10, CALLS // 2, CALLS // 2):  # a cache that fills up grows in one half only
            _call(subject, calls)
            found.append(amounts(subject.instance))
    for unit in found[0]:
        start, middle, end = (amount[unit] for amount in found)
        require(not start < middle < end, f"{CALLS} calls leave {end - start} more {unit} behind")


def _call(subject: RewardSubject, times: int) -> None:
    images = pictures(subject, 2)
    for _ in range(times):
        variable = images.clone().requires_grad_(subject.component.differentiable)
        score(subject, variable)
