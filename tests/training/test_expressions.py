"""The scores and gradients of expressions over rewards, and a run on one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from torch import Tensor

from rilbench.contracts.errors import ConfigError, DivergedError, PluginError
from rilbench.contracts.expression import parse
from rilbench.engine.components import Components
from rilbench.engine.parts import Parts
from rilbench.engine.plan import make_plan
from rilbench.engine.run import run_name
from rilbench.store import stage_record
from rilbench.store.layout import Store
from rilbench.training.expressions import evaluated
from rilbench.training.step import WeightedReward
from rilbench_study.orders import read_orders

NAMES = ("red", "dark", "blue")


def images(n: int = 3) -> Tensor:
    return torch.rand(n, 3, 4, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def reward(item: str, **more: Any) -> WeightedReward:
    made = {"red": toy.Redness, "dark": toy.Darkness, "blue": toy.Blueness, "nan": toy.NaNReward}
    made |= {"shape": toy.WrongShape, "flat": toy.NoGradient}
    components = {name: cls(cls.Settings()) for name, cls in made.items()}
    return WeightedReward(components, {item: 1.0}, **more)


def scores(item: str, x: Tensor, **more: Any) -> Tensor:
    return reward(item, **more).each(x, ["a"] * len(x))[item]


def parts(x: Tensor) -> Sequence[Tensor]:
    return [scores(name, x) for name in NAMES]


@pytest.mark.parametrize(
    "item",
    [
        "red+0.5*dark",
        "2*(red+blue)+-1*dark",
        "max(red,blue)",
        "min(red,blue,2*dark)",
        "hinge(red,0.5)",
        "ramp(red,1,3)",
    ],
)
def test_values_and_gradients(item: str) -> None:
    x = images()
    red, dark, blue = parts(x)
    expected = {
        "red+0.5*dark": red + 0.5 * dark,
        "2*(red+blue)+-1*dark": 2 * (red + blue) - dark,
        "max(red,blue)": torch.maximum(red, blue),
        "min(red,blue,2*dark)": torch.minimum(torch.minimum(red, blue), 2 * dark),
        "hinge(red,0.5)": red.clamp(max=0.5),
        "ramp(red,1,3)": 1.5 * red,
    }[item]
    assert torch.allclose(scores(item, x, progress=0.25), expected, atol=1e-12)
    torch.autograd.gradcheck(lambda x: scores(item, x, progress=0.25).sum(), x.requires_grad_())


def test_above_the_threshold_there_is_no_gradient() -> None:
    x = images().requires_grad_()
    (gradient,) = torch.autograd.grad(scores("hinge(red,-1)", x).sum(), x)
    assert not gradient.any()


def test_unit_keeps_the_value_and_scales_the_gradient_of_each_image() -> None:
    x = images().requires_grad_()
    (plain,) = torch.autograd.grad(scores("dark", x).sum(), x)
    values = scores("unit(1000*dark)", x)
    assert torch.equal(values, 1000 * scores("dark", x))
    (gradient,) = torch.autograd.grad(values.sum(), x)
    assert torch.allclose(gradient.flatten(1).norm(dim=1), torch.ones(3, dtype=x.dtype))
    assert torch.allclose(gradient, plain / plain.flatten(1).norm(dim=1)[:, None, None, None])
    (alone,) = torch.autograd.grad(scores("unit(dark)", x[:1]).sum(), x)
    assert torch.allclose(alone[:1], gradient[:1])
    (none,) = torch.autograd.grad(scores("unit(hinge(red,-1))", x).sum(), x)
    assert not none.any()


def test_a_gradient_that_is_not_finite_is_named() -> None:
    def score(name: str, x: torch.Tensor) -> torch.Tensor:
        return (0 * x).flatten(1).sum(1).sqrt()

    with pytest.raises(DivergedError, match=r"the gradient of 2\*red is not finite"):
        evaluated(parse("unit(2*red)"), images().requires_grad_(), score, progress=0)


def test_a_schedule_goes_from_the_first_update_to_the_last() -> None:
    scheduled = reward("red+ramp(blue,0,2)")
    assert [scheduled.at(update, 5).progress for update in range(5)] == [0, 0.25, 0.5, 0.75, 1]
    assert scheduled.at(0, 1).progress == 0
    plain = reward("red+blue")
    assert plain.at(3, 5) is plain


@pytest.mark.parametrize("function", ["red+{}", "max(red,{})", "unit({})", "hinge({},9)"])
@pytest.mark.parametrize(
    ("name", "kind", "why"),
    [("nan", DivergedError, "not finite"), ("flat", PluginError, "no gradient"), ("shape", PluginError, "shape")],
)
def test_a_faulty_part_is_named(function: str, name: str, kind: type[Exception], why: str) -> None:
    with pytest.raises(kind, match=f"reward '{name}'.*{why}"):
        scores(function.format(name), images().requires_grad_())


def planned(folder: Path, *settings: str) -> tuple[str, Any, Parts]:
    config = toy.config(folder, *settings)
    parts = Parts(config, toy.catalog())
    parts.check()
    plan = make_plan(config, Components(parts))
    return run_name(config, parts, plan), plan, parts


def test_identity_and_names(workplace: Path) -> None:
    """However an expression is written it is one stage; a single name is what it was."""
    name, plan, parts = planned(workplace, "rewards=red+0.5*dark, max(red,blue)")
    _, same, _ = planned(workplace, "rewards=[red + .50*dark, 'max( red, blue )']")
    _, other, _ = planned(workplace, "rewards=red+0.6*dark,max(red,blue)")
    assert [stage.id for stage in plan] == [stage.id for stage in same]
    assert plan[1].id != other[1].id
    assert [stage.stage.label for stage in plan[1:]] == ["red+0.5*dark", "max(red,blue)"]
    assert name.startswith("rid-red+0.5_dark-max_red_blue-seed0-")
    assert parts.columns() == ["red", "dark", "blue", "toy_contrast", "likeness"]
    _, single, own = planned(workplace, "rewards=red,dark")
    assert single[1].document["rewards"] == [own.get("reward", "red").document | {"weight": 1.0}]


@pytest.mark.parametrize("item", ["red-blue", "red - blue", "0.5*red-blue"])
def test_a_difference_is_told_how_it_is_written(workplace: Path, item: str) -> None:
    with pytest.raises(ConfigError, match=r"To subtract, write red\+-1\*blue\."):
        planned(workplace, f"rewards=[{item}]")


def test_joint_and_recipes_and_orders(workplace: Path) -> None:
    settings = ("strategy=joint", "rewards=red+dark,hinge(blue,0.4)", "recipes.any.dark+red+blue.lr=0.25")
    _, plan, _ = planned(workplace, *settings)
    assert dict(plan[1].stage.rewards) == {"hinge(blue,0.4)": 1.0, "red+dark": 1.0}
    assert plan[1].train.lr == 0.25
    orders = read_orders("all", ["max(red", "blue)", "dark"])
    assert orders == (("max(red,blue)", "dark"), ("dark", "max(red,blue)"))
    assert read_orders(["dark,max(red, blue)"], ["max(red,blue)", "dark"]) == (("dark", "max(red,blue)"),)


@pytest.mark.slow
def test_a_run(workplace: Path) -> None:
    """Each part is a target of the stage; the run can be continued with a reward of another weight."""
    settings = ("strategy=baseline", "train.log_gradients_every=1", "rewards=red+ramp(dark,0,2)")
    done = toy.run(workplace, *settings)
    row, matrix = done.result.matrix.rows[1], done.result.matrix
    assert (row.label, row.rewards) == ("red+ramp(dark,0,2)", ("red", "dark"))
    assert {info.name: info.target_of for info in matrix.metrics if info.target_of} == {
        "red": ("red",),
        "dark": ("dark",),
        "toy_contrast": ("dark",),
    }
    late = toy.run(workplace, "strategy=baseline", "rewards=0.25*red", f"after={done.result.name}").result
    assert late.order == "red+ramp(dark,0,2) > 0.25*red"
    assert [row.rewards for row in late.matrix.rows] == [(), ("red", "dark"), ("red",)]
    record = stage_record.read(Store(workplace / "runs").stage(late.matrix.rows[2].stage_id).folder)
    assert record["document"]["rewards"][0]["expression"] == "0.25*red"
    assert parse("0.25*red").names == ("red",)
