"""One definition of what makes two runs comparable: compare, the report and the groups in MLflow say the same."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from stores import save

from rilbench.analysis.methods import check, settings_of, telling
from rilbench.analysis.sources import load_runs
from rilbench.contracts.result import RunResult
from rilbench.contracts.settings import flat
from rilbench_mlflow.study import labels
from rilbench_report.study import Study

SAME = (
    {"label": "mine"},
    {"check_memory": False},
    {"model": {"steps": 10, "device": "cuda:1"}},
    {"model": {"steps": 10, "vae_slicing": True}},
    {"train": {"lr": 0.001, "micro_batch": 2}},
    {"evaluate": {"seed": 0, "batch_size": 2}},
    {"evaluate": {"seed": 0, "metrics": ["fid"]}},
    {"strategy_settings": {"soup": {"by": "rid"}}},
    {"recipes": {"soup": {"hps": {"lr": 0.5}}}},
)
OTHER = (
    {"train": {"lr": 0.1}},
    {"evaluate": {"seed": 0, "prompts": "other.txt"}},
    {"strategy_settings": {"rid": {"lam": 3}}},
    {"recipes": {"any": {"hps": {"lr": 0.5}}}},
    {"reward": {"hps": {"version": "2.0"}}},
)


def judged(tmp_path: Path, settings: dict[str, Any]) -> tuple[bool, bool, bool]:
    """Whether compare, the report and MLflow tell a run with these settings from one without."""
    for seed, own in enumerate(({}, settings)):
        save(tmp_path, "rid", seed=seed, settings=own)
    runs = load_runs([str(tmp_path)], lambda source: [])
    warnings: list[str] = []
    check(runs, settings_of(runs), warnings.append)
    plain, changed = runs
    study = Study.about([plain, RunResult(**{**vars(changed), "label": "other"})])
    told = study.variant("other") != "Differs from rid in: no recorded setting."
    grouped = labels(runs)
    return bool(warnings), told, len(set(grouped)) == 2


@pytest.mark.parametrize("settings", SAME, ids=str)
def test_runs_that_may_be_averaged(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert judged(tmp_path, settings) == (False, False, False)


@pytest.mark.parametrize("settings", OTHER, ids=str)
def test_runs_that_may_not(tmp_path: Path, settings: dict[str, Any]) -> None:
    assert judged(tmp_path, settings) == (True, True, True)


def test_settings_of_the_strategy_that_trains_the_stages_count() -> None:
    settings = {
        "strategy": "soup",
        "strategy_settings": {"soup": {"by": "rid"}, "rid": {"lam": 1}, "joint": {"balance": 1}},
    }
    assert list(telling(flat(settings))) == ["strategy", "strategy_settings.soup.by", "strategy_settings.rid.lam"]


def test_so_do_those_of_the_strategy_that_does_so_by_default(tmp_path: Path) -> None:
    """`by` of soup is baseline where no setting says so: the result names it."""
    for seed, lr in enumerate((0.1, 0.2)):
        settings = {"recipes": {"baseline": {"any": {"lr": lr}}, "joint": {"any": {"lr": lr}}}}
        save(tmp_path, "soup", seed=seed, settings=settings)
    runs = load_runs([str(tmp_path)], lambda source: [])
    used = [replace(run, plugins={"strategy/soup": "rilbench 1", "strategy/baseline": "rilbench 1"}) for run in runs]
    for given, expected in ((runs, []), (used, ["runs of soup differ in recipes.baseline.any.lr (0.1 and 0.2)"])):
        warnings: list[str] = []
        check(given, settings_of(given), warnings.append)
        assert [text.partition(";")[0] for text in warnings] == expected
    assert labels(runs) == ["soup", "soup"]
    assert labels(used) == ["soup lr=0.1", "soup lr=0.2"]
