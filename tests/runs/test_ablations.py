"""The ablations and controls as the engine runs them, on the tiny pipeline."""

from __future__ import annotations

import json
import statistics
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from rilbench.cli.output import print_outcome
from rilbench.contracts.result import RunResult
from rilbench.engine import run as engine_run
from rilbench.engine.progress import Reporter
from rilbench.model.files import load_pair
from rilbench.testing import check_component
from rilbench_joint import Joint
from rilbench_rid import RID

pytestmark = pytest.mark.slow
LAST = "train.last_steps=2"


def run(workplace: Path, *overrides: str) -> RunResult:
    return toy.run(workplace, "train.samples=4", *overrides).result


def stage(workplace: Path, result: RunResult, index: int) -> Path:
    return workplace / "runs" / "stages" / result.matrix.rows[index].stage_id


def document(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "stage.json").read_text())["document"]
    return found


@pytest.mark.parametrize("strategy", ["rid", "baseline"])
def test_a_single_pair_goes_on_where_it_was_and_is_replaced(workplace: Path, strategy: str) -> None:
    recipe = f"recipes={{{strategy}: {{dark: {{lr: 1e-7, weight_decay: 0}}}}}}"
    result = run(workplace, f"strategy={strategy}", f"strategy_settings.{strategy}.group=false", recipe)
    first, second = (stage(workplace, result, i) for i in (1, 2))
    assert document(second)["initial"] == first.name
    assert document(second)["chain"] == []
    pairs = load_pair(first), load_pair(second)
    assert all(torch.allclose(a, b, atol=1e-6) for a, b in zip(pairs[0].factors, pairs[1].factors, strict=True))
    assert not all(map(torch.equal, pairs[0].factors, pairs[1].factors))
    # the model is W + A B, not W + 2 A B
    assert result.matrix.values("red")[2] == pytest.approx(result.matrix.values("red")[1], abs=1e-5)
    assert result.matrix.values("red")[1] != pytest.approx(result.matrix.values("red")[0], abs=1e-5)
    grouped = run(workplace, f"strategy={strategy}", recipe)
    assert grouped.matrix.rows[2].stage_id != result.matrix.rows[2].stage_id


def test_a_teacher_never_reset_hands_on_its_lag(workplace: Path) -> None:
    kept = run(workplace, "strategy_settings.rid={reset: false, alpha: 0.9, lam: 10.0}")
    reset = run(workplace, "strategy_settings.rid={reset: true, alpha: 0.9, lam: 10.0}")
    assert (stage(workplace, kept, 1) / "carry.safetensors").exists()
    assert not (stage(workplace, reset, 1) / "carry.safetensors").exists()
    first, second = ([load_pair(stage(workplace, r, i)).factors for r in (kept, reset)] for i in (1, 2))
    assert all(map(torch.equal, *first))  # one stage knows no difference
    assert not all(map(torch.equal, *second))


def test_full_steps_and_the_last_step_teach_differently(workplace: Path) -> None:
    taught = [
        run(workplace, f"strategy_settings.rid={{distil: {how}, lam: 10.0, alpha: 0.9}}") for how in ("last", "full")
    ]
    first, second = (load_pair(stage(workplace, r, 1)).factors for r in taught)
    assert not all(map(torch.equal, first, second))


def test_rid_without_a_teacher_is_the_baseline(workplace: Path) -> None:
    """They differ by the teacher alone: to the last bit, clipped, with decay, in parts, with a shorter last batch."""
    train = {"samples": 7, "micro_batch": 1, "clip_grad": 0.1, "weight_decay": 0.1, "reward_scale": 0.5}
    settings = [LAST, *(f"train.{key}={value}" for key, value in train.items())]
    one = run(workplace, "strategy=rid", "strategy_settings.rid.lam=0", *settings)
    other = run(workplace, "strategy=baseline", *settings)
    for i in (1, 2):
        assert stage(workplace, one, i) != stage(workplace, other, i)
        assert all(map(torch.equal, *(load_pair(stage(workplace, r, i)).factors for r in (one, other))))


def test_a_result_tells_the_influence_of_the_distillation(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    outcome = toy.run(workplace, "train.log_gradients_every=1", "strategy_settings.rid.lam=1e4")
    base, red, dark = outcome.result.matrix.rows
    log = json.loads((stage(workplace, outcome.result, 1) / "stage.json").read_text())["log"]
    assert base.training == {}
    assert red.training["ratio/distillation"] == pytest.approx(
        statistics.median(entry["gradient/distillation"] / entry["gradient/reward"] for entry in log[1:])
    )
    read = RunResult.from_json(json.loads((outcome.folder / "result.json").read_text()))
    assert [row.training for row in read.matrix.rows] == [row.training for row in outcome.result.matrix.rows]
    print_outcome(outcome)
    first, second = (f"{row.training['ratio/distillation']:.2g} of reward" for row in (red, dark))
    printed = " ".join(capsys.readouterr().out.split())
    assert f"gradient norms 1 red: distillation {first} 2 dark: distillation {second} result" in printed


def test_a_scaled_sequence_lies_between_base_and_end(workplace: Path) -> None:
    whole, half, none = (
        run(workplace, "rewards=[red]", "strategy=wise_ft", f"strategy_settings.wise_ft.scale={s}")
        for s in (1.0, 0.5, 0.0)
    )
    base, last, scaled = whole.matrix.values("red")
    assert scaled == pytest.approx(last, abs=1e-5)
    assert none.matrix.values("red")[-1] == pytest.approx(base, abs=1e-5)
    between = sorted((base, half.matrix.values("red")[-1], last))[1]
    assert between == half.matrix.values("red")[-1]
    assert half.matrix.rows[1].stage_id == run(workplace, "strategy=baseline").matrix.rows[1].stage_id


def test_the_stages_of_a_soup_are_counted(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Both begin at the base model, so both have the index 1."""
    engine_run.run(toy.config(workplace, "strategy=soup"), catalog=toy.catalog(), reporter=Reporter())
    said = capsys.readouterr().err
    assert "stage 1 of 2: red: update 4 of 4" in said
    assert "stage 2 of 2: dark: update 4 of 4" in said


def test_the_soup_of_factors_is_made_once_and_is_another(workplace: Path) -> None:
    changes, factors = (
        run(workplace, "strategy=soup", f"strategy_settings.soup.average={a}") for a in ("changes", "factors")
    )
    assert changes.matrix.rows[1] == factors.matrix.rows[1]
    made = load_pair(stage(workplace, factors, 3))
    a, b = (load_pair(stage(workplace, factors, i)) for i in (1, 2))
    name = next(iter(made.a))
    assert torch.allclose(made.a[name], (a.a[name] + b.a[name]) / 2)
    assert torch.allclose(made.b[name], (a.b[name] + b.b[name]) / 2)
    assert changes.matrix.values("red")[3] != pytest.approx(factors.matrix.values("red")[3], abs=1e-6)
    other = run(workplace, "strategy=soup", "rewards=[dark,red]")
    assert other.matrix.rows[3].stage_id == changes.matrix.rows[3].stage_id  # a soup has no order


def test_the_balanced_joint_trains_itself(workplace: Path) -> None:
    result = run(workplace, "strategy=joint", "strategy_settings.joint={balance: gradients, weights: {red: 1.0}}")
    log = json.loads((stage(workplace, result, 1) / "stage.json").read_text())["log"]
    assert {"loss/red", "loss/dark", "reward"} <= set(log[0])
    assert result.plugins["strategy/joint"].startswith("rilbench ")
    assert "strategy/baseline" not in result.plugins


@pytest.mark.parametrize("settings", [{"distil": "full"}, {"group": False}, {"reset": False}])
def test_every_variant_of_rid_keeps_the_contract(settings: dict[str, Any]) -> None:
    """Without a teacher it is the baseline, see above, which is checked as all that rilbench brings."""
    results = check_component(RID, settings)
    assert [r for r in results if not r.ok] == []


def test_the_balanced_joint_keeps_the_contract() -> None:
    results = check_component(Joint, {"balance": "gradients"})
    assert [r for r in results if not r.ok] == []
