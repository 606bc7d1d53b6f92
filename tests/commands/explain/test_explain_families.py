"""`rilbench explain` for a tiny pipeline of every family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_pipelines
import toy

from rilbench.engine import run as engine
from rilbench_explain.explain import explain

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # in diffusers' Euler


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(tiny_pipelines.FAMILIES))
def test_time_and_memory_are_estimated(family: str, tmp_path: Path) -> None:
    tiny_pipelines.save(family, tmp_path / "pipeline")
    work = ("train.samples=1000", "evaluate.images_per_prompt=1000")  # enough that seconds are not rounded to none
    config = toy.config(tmp_path, "model.resolution=16", "model.spacing=trailing", "model.guidance=3", *work)
    told = json.loads(json.dumps(explain(config, *engine.prepare(config, toy.catalog(), print))))
    assert told["memory"]["fits"]
    assert told["memory"]["needed_gb"] > 0
    assert 0 < told["estimate"]["seconds"] < 60_000
    assert [stage["seconds"] > 0 for stage in told["stages"]] == [True, True, True]
