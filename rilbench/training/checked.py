"""Calls of a strategy: errors name it, and what it returns is checked."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any, TypeVar

import torch
from torch import Tensor

from rilbench.contracts.errors import DivergedError, PluginError
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.strategy import Stage, Step, Strategy
from rilbench.host.guard import blamed

T = TypeVar("T")


class CheckedStrategy:
    """The methods of a strategy that training calls. Raises PluginError if one breaks the contract."""

    def __init__(self, strategy: Strategy) -> None:
        self.strategy, self.who = strategy, f"strategy {type(strategy).__name__}"
        self.combines = type(strategy).combine is not Strategy.combine

    def begin(self, stage: Stage, pair: LoraPair, carry: Mapping[str, Tensor] | None) -> None:
        """Begin a stage with the tensors of the previous stage, if any."""
        self._call(self.strategy.begin, stage, pair)
        if carry:
            self._call(self.strategy.load_carry, carry)

    def loss(self, step: Step) -> Tensor:
        """A finite scalar with gradient. Raises DivergedError if it is not finite."""
        loss = self._call(self.strategy.loss, step)
        if not isinstance(loss, Tensor) or loss.ndim or not loss.requires_grad:
            raise PluginError(f"{self.who}: the loss must be a scalar tensor with gradient, it is {_kind(loss)}")
        return finite("the loss", loss)

    def backward(self) -> AbstractContextManager[None]:
        """Within, errors of a backward pass name the strategy."""
        return blamed(f"{self.who} or a reward, in its backward pass,")

    def combine(self, gradients: dict[str, Tensor], size: int) -> Tensor:
        """The combined gradient (size,), detached."""
        if not gradients:
            raise PluginError(f"{self.who}: combine needs the gradients of terms; record them in loss with step.term")
        row = self._call(self.strategy.combine, gradients)
        if not isinstance(row, Tensor) or row.shape != (size,):
            raise PluginError(f"{self.who}: combine must return a tensor of shape ({size},), it returned {_kind(row)}")
        return row.detach()

    def after_update(self, step: Step) -> None:
        self._call(self.strategy.after_update, step)

    def state(self) -> dict[str, Tensor]:
        return self._call(self.strategy.state)

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self._call(self.strategy.load_state, state)

    def carry(self) -> dict[str, Tensor]:
        """Tensors for the next stage."""
        carry = self._call(self.strategy.carry)
        if not isinstance(carry, dict) or not all(isinstance(value, Tensor) for value in carry.values()):
            raise PluginError(f"{self.who}: carry must return a dictionary of tensors")
        return carry

    def _call(self, method: Callable[..., T], *arguments: Any) -> T:
        with blamed(self.who):
            return method(*arguments)


def finite(what: str, value: Tensor) -> Tensor:
    """The value. Raises DivergedError unless all its numbers are finite."""
    if not torch.isfinite(value).all():
        raise DivergedError(f"{what} is not finite (NaN or infinite)")
    return value


def _kind(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
