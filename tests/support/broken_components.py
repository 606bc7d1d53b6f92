"""Every component that breaks exactly one demand, with the name of the check that must fail."""

from __future__ import annotations

import broken_gradients
import broken_metrics
import broken_rewards
import broken_settings
import broken_strategies

from rilbench.contracts.components import Component

MODULES = (broken_settings, broken_rewards, broken_gradients, broken_metrics, broken_strategies)
BREAKERS: list[tuple[type[Component], str]] = [
    (thing, thing.breaks)
    for module in MODULES
    for thing in vars(module).values()
    if "breaks" in getattr(thing, "__dict__", {})
]
