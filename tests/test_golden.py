"""What rilbench plans and measures stays what it was: names, identities and what they are made of, and numbers.

`tests/golden/plans.json` has the plan of some forty configurations, `tests/golden/results.json` the `result.json` of
a small run of four strategies. Both are made anew, in a process of their own, and compared. When a number or an
identity is meant to change, record it anew, look at the diff, and commit it by itself:

    python tests/golden/record.py

Plans are the same everywhere. Numbers are the same to the last bit on the machine they were recorded on, and on
others with the same processor and libraries. Elsewhere sums are taken in another order. With fewer vector
instructions or a second thread, what training logs moved by up to 0.006 % (`LOGGED`), the distillation, a tiny
difference of images, by up to 0.21 % (`DRIFT`), and results by up to 0.19 % of their metric's level (`MEASURED`).
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

GOLDEN = Path(__file__).parent / "golden"
LOGGED, DRIFT, MEASURED = 2e-4, 5e-3, 4e-3  # how far numbers may be apart on another machine
AGAIN = "python tests/golden/record.py records it anew, if this is meant to change"


def both(what: str, folder: Path) -> tuple[Any, Any]:
    """The record, and the same made now."""
    known, found = (json.loads((place / f"{what}.json").read_text("utf-8")) for place in (GOLDEN, folder))
    assert list(found["runs"]) == list(known["runs"])
    return known, found


def flat(value: Any, *path: str) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every leaf of nested values, and every empty mapping or list, under the way to it."""
    if not isinstance(value, dict | list) or not value:
        yield path, value
        return
    for key, part in value.items() if isinstance(value, dict) else enumerate(value):
        yield from flat(part, *path, str(key))


def differences(known: Any, found: Any, levels: Mapping[str, float] | None = None) -> list[str]:
    """What is not the same; `levels`, of each metric, are given when the machine is another one."""
    old, new = dict(flat(known)), dict(flat(found))
    return [
        f"{'/'.join(path)}: was {old.get(path, 'absent')!r}, is {new.get(path, 'absent')!r}"
        for path in {**old, **new}
        if not same(path, old.get(path, "absent"), new.get(path, "absent"), levels)
    ]


def same(path: tuple[str, ...], old: Any, new: Any, levels: Mapping[str, float] | None) -> bool:
    if levels is not None and isinstance(old, float) and isinstance(new, float):
        return abs(old - new) <= allowed(path, old, levels)
    return type(old) is type(new) and bool(old == new)


def allowed(path: tuple[str, ...], old: float, levels: Mapping[str, float]) -> float:
    if path[0] == "logs":
        return abs(old) * (DRIFT if path[-1].endswith("/distillation") else LOGGED)
    return MEASURED * next(levels[key] for key in path if key in levels)


def levels_of(run: Mapping[str, Any]) -> dict[str, float]:
    """The largest value of each metric."""
    values = [stage["values"] for stage in run["stages"]]
    return {name: max(abs(v[name]) for v in values) for name in values[0]}


def told(lines: list[str]) -> str:
    return "\n".join([f"this is not the same any more ({len(lines)}); {AGAIN}", *lines[:20]])


@pytest.mark.slow
def test_plans_and_results_of_small_runs(tmp_path: Path) -> None:
    """Names, identities and documents of plans, and the numbers of runs; one process imports everything once."""
    done = subprocess.run([sys.executable, str(GOLDEN / "record.py"), str(tmp_path)], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    lines = differences(*both("plans", tmp_path))
    known, found = both("results", tmp_path)
    exact = known["machine"] == found["machine"]
    for strategy, run in known["runs"].items():
        levels = None if exact else levels_of(run)
        lines += [f"{strategy}: {line}" for line in differences(run, found["runs"][strategy], levels)]
    assert not lines, told(lines)


@pytest.mark.parametrize(
    "found",
    [
        {"id": "b", "values": {"hps": 2.0}},
        {"id": "a", "values": {"hps": 2.02}},
        {"id": "a", "values": {"hps": 2}},
        {"id": "a", "values": {"hps": None}},
        {"id": "a", "values": {}},
        {"id": "a", "values": {"hps": 2.0}, "more": []},
    ],
)
def test_a_change_is_told_within_any_tolerance(found: Any) -> None:
    known = {"id": "a", "values": {"hps": 2.0}}
    assert differences(known, found, {"hps": 2.0})
    assert not differences(known, known)
