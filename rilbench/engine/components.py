"""Instances of rewards, metrics and strategies, created on first use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rilbench.contracts.components import Component, Metric, Reward
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.strategy import Strategy
from rilbench.engine import secret_settings
from rilbench.engine.layers import COMPONENTS
from rilbench.engine.parts import Parts
from rilbench.evaluation.evaluate import RewardMetric
from rilbench.host import global_state
from rilbench.host.guard import blamed


class Components:
    """The instances of one run's components, on its device; `parts` says what they are."""

    def __init__(self, parts: Parts, device: str = "cpu") -> None:
        self.parts, self.device = parts, device
        self._made: dict[tuple[str, str], Component] = {}
        self._secrets: list[str] = []

    def reward(self, name: str) -> Reward:
        made = self._make("reward", name)
        assert isinstance(made, Reward)
        return made

    def strategy(self, name: str) -> Strategy:
        """A new instance for one plan or one stage, so that no state of an earlier stage is left in it."""
        self._made.pop(("strategy", name), None)
        made = self._make("strategy", name)
        assert isinstance(made, Strategy)
        return made

    def metric(self, name: str) -> Metric:
        """A metric, the mean of the reward of that name, or of perturbed images: `REWARD@PERTURBATION`."""
        name, _, perturbation = name.partition("@")
        if perturbation:
            from rilbench.evaluation.perturb import Perturbed

            return Perturbed(name, self.reward(name), perturbation)
        if self.parts.metric_kind(name) == "reward":
            return RewardMetric(name, self.reward(name))
        made = self._make("metric", name)
        assert isinstance(made, Metric)
        return made

    @contextmanager
    def discreet(self) -> Iterator[None]:
        """Removes the secrets of components from errors raised within."""
        try:
            yield
        except BaseException as error:
            secret_settings.mask(error, self._secrets)
            raise

    def _make(self, kind: str, name: str) -> Component:
        if (kind, name) not in self._made:
            part = self.parts.get(kind, name)
            who = f"{kind} {name!r} of {part.plugin.origin}"
            with global_state.kept(who), blamed(who):
                try:
                    known = secret_settings.resolved(part.settings, f"{COMPONENTS[kind]}.{name}")
                    self._secrets += secret_settings.values(known)
                    self._made[kind, name] = part.cls(known, device=self.device)
                except RilbenchError as error:
                    raise type(error)(f"{kind} {name!r}: {error}") from error.__cause__
        return self._made[kind, name]
