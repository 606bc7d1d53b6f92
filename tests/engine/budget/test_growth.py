"""A resolution that cannot work is refused by what smaller images need, before it is tried."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import toy
from test_memory_check import MEMORY

from rilbench.contracts.errors import ConfigError, MemoryFullError
from rilbench.engine import run as engine
from rilbench.engine.budget import growth
from rilbench.engine.budget.memory import Memory
from rilbench_explain.explain import explain


def linear(sides: list[int]) -> Callable[[int], Memory]:
    def count(side: int) -> Memory:
        sides.append(side)
        return replace(MEMORY, denoising=0, decoding=7 * side**2, scoring=10**5)

    return count


def check(count: Callable[[int], Memory], wanted: int, free: int) -> None:
    growth.check(count, own=16, wanted=wanted, free=free, place="cpu", remedy="take another")


def test_the_bound_is_exact_for_a_power_and_only_sides_below_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(growth, "SECONDS", float("inf"))
    sides: list[int] = []
    check(linear(sides), 160, 4 * 7 * 160**2 + 1)
    assert sides == [16, 32, 64, 128]
    with pytest.raises(MemoryFullError, match=r"1600 pixels .*0\.0\d* GB .*cpu"):
        check(linear(sides), 1600, 4 * 7 * 1600**2 - 1000)
    assert sides[4:] == [16, 32]
    check(linear(sides), 16, 0)
    assert sides[6:] == []


def test_time_that_grows_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 1.0, 1.0, 5.0])  # 1 s, then 4 s: 64 s for a side of 128
    monkeypatch.setattr("rilbench.engine.budget.growth.time.monotonic", lambda: next(clock))
    with pytest.raises(MemoryFullError, match=r"128 pixels .*1 min .*cpu"):
        check(linear([]), 128, 10**12)


def test_explain_refuses_a_resolution_at_once(workplace: Path) -> None:
    config = toy.config(workplace, "model.resolution=16384", "rewards=[red]")
    with pytest.raises(ConfigError, match=r"16384 pixels .*model\.resolution"):
        explain(config, *engine.prepare(config, toy.catalog(), print))
