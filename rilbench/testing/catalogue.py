"""Which checks there are for which kind of component."""

from __future__ import annotations

from rilbench.contracts.components import Component, Metric, Reward
from rilbench.contracts.strategy import Strategy
from rilbench.testing import common, gradients, metrics, own_plan, parts, plans, resources, rewards, training
from rilbench.testing.check import Check

CHECKS: dict[type[Component], tuple[Check, ...]] = {
    Reward: (*common.COMMON, *rewards.CHECKS, *gradients.CHECKS, *resources.CHECKS),
    Metric: (*common.COMMON, *metrics.CHECKS),
    Strategy: (*common.COMMON, *plans.CHECKS, *training.CHECKS, *parts.CHECKS, *own_plan.CHECKS),
}
