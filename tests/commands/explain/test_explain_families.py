"""`rilbench explain` for a tiny pipeline of every family."""

from __future__ import annotations

import json
from pathlib import Path

import command
import pytest
import tiny_pipelines
import torch
import toy
from safetensors.torch import save_file

from rilbench.engine import run as engine
from rilbench.files.hub import digest
from rilbench_explain.explain import explain
from rilbench_explain.view import show

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
    base, *trained = [stage["gradients"] for stage in told["stages"]]
    assert base is None
    assert all(found.keys() == {"distillation / reward"} for found in trained)


@pytest.mark.slow
def test_the_influence_of_a_teacher_is_tried_or_read(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def ratios(*overrides: str) -> list[float]:
        config = toy.config(workplace, *overrides)
        told = explain(config, *engine.prepare(config, toy.catalog(), print))
        show(told)
        return [stage["gradients"]["distillation / reward"] for stage in told["stages"] if stage["gradients"]]

    weak, strong = (ratios(f"strategy_settings.rid.lam={lam}") for lam in (1.0, 100.0))
    assert min(weak) > 0
    assert strong[0] == pytest.approx(100 * weak[0], rel=0.5)
    assert f"1 red: distillation / reward {weak[0]:.2g}, in the first updates" in capsys.readouterr().out
    assert ratios("strategy=baseline") == []
    outcome = toy.run(workplace, "strategy_settings.rid.lam=100")
    trained = [row.training["ratio/distillation"] for row in outcome.result.matrix.rows[1:] if row.training]
    assert ratios("strategy_settings.rid.lam=100") == trained


def test_the_loras_of_the_base_model_are_named(workplace: Path) -> None:
    """With hash, or as missing; nothing is loaded."""
    toy.config(workplace)
    (workplace / "style").mkdir()
    save_file({"unet.a.lora_A.weight": torch.ones(1, 1)}, workplace / "style" / "style.safetensors")
    loras = f"model.lora={workplace}/style@0.5,hub:some/thing@{'c' * 40}"
    changed = loras, "rewards=sharpness", "evaluate.metrics=structure"
    done = command.rilbench("explain", "--config", workplace / "toy.yaml", "--json", *changed)
    found = json.loads(done.out)["base_loras"]
    assert [(lora["name"], lora["scale"]) for lora in found] == [("style", 0.5), ("thing", 1.0)]
    assert found[0]["sha256"] == digest(workplace / "style" / "style.safetensors")
    assert found[1]["sha256"] is None
