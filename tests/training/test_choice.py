"""Optimisers, schedules and accumulation by name, and what validations decide."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
import toy

from rilbench.contracts.errors import ConfigError
from rilbench.engine import run as engine
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.progress import Reporter
from rilbench.engine.training import stage_training
from rilbench.model.files import load_pair
from rilbench.store import stage_record
from rilbench.store.layout import Store
from rilbench.training.choice import Best
from rilbench.training.config import TrainConfig
from rilbench.training.optimiser import make_optimiser, make_schedule
from rilbench.training.target import Target

SMALL = ("strategy=baseline", "rewards=[red]", "evaluate.images_per_prompt=1", "evaluate.metrics=[]")


def ids(workplace: Path, *overrides: str) -> list[str]:
    config = toy.config(workplace, *SMALL, *overrides)
    return [stage.id for stage in engine.prepare(config, toy.catalog(), print)[1]]


def trained(workplace: Path, *overrides: str) -> tuple[list[torch.Tensor], list[dict[str, float]]]:
    """The factors and the log of the only stage."""
    row = toy.run(workplace, *SMALL, *overrides).result.matrix.rows[1]
    folder = Store(workplace / "runs").stage(row.stage_id).folder
    return load_pair(folder, "cpu").factors, stage_record.read(folder)["log"]


def test_accumulation_is_a_name_for_micro_batches(workplace: Path) -> None:
    parts = ids(workplace, "train.batch_size=5", "train.gradient_accumulation=2")
    assert parts == ids(workplace, "train.batch_size=5", "train.micro_batch=3") != ids(workplace, "train.batch_size=5")
    for settings, message in (
        (("train.micro_batch=1",), "train.micro_batch is 1 too"),
        (("train.batch_size=1",), "2 is more than the 1 images of a batch"),
        (("train.batch_size=6", "train.gradient_accumulation=4"), "a batch of 6 has no 4 parts of one size.*; set 3"),
    ):
        with pytest.raises(ConfigError, match=message):
            ids(workplace, "train.gradient_accumulation=2", *settings)


def test_validation_is_in_an_identity_only_where_it_decides(workplace: Path) -> None:
    plain, every = ids(workplace), "train.validate_every=2"
    assert ids(workplace, every, "train.validate_images=1") == plain
    best = ids(workplace, every, "train.keep_best=red")
    assert len({*plain, *best, *ids(workplace, every, "train.until=red>=1")}) == 4, "the base, and three stages"
    assert ids(workplace, every, "train.keep_best=red", "train.validate_images=1") != best


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (("train.keep_best=red",), r"train\.keep_best: nothing is validated; set train\.validate_every too"),
        (("train.validate_every=1", "train.keep_best=rad"), r"^train\.keep_best: unknown validation metric 'rad'"),
        (("train.validate_every=1", "train.until=rad>=1"), r"^train\.until: unknown validation metric 'rad'\. Did you"),
        (("train.validate_every=1", "train.until=red=1"), r"train\.until: 'red=1' is not METRIC>=NUMBER"),
        (("train.validate_every=1", "train.until=red>=much"), r"train\.until: 'red>=much' is not METRIC>=NUMBER"),
        (("train.samples=8", "train.lr_warmup=4"), r"train\.lr_warmup: 4 updates of a stage that has 4"),
    ],
)
def test_choices_that_cannot_be_made_are_errors(workplace: Path, settings: tuple[str, ...], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ids(workplace, *settings)


def test_a_target_in_either_direction() -> None:
    high, low = Target.parse("aesthetic >= 6.5"), Target.parse("png_kb<=-1e-3")
    assert [high.reached({"aesthetic": value}) for value in (6.4, 6.5, 7)] == [False, True, True]
    assert [low.reached({"png_kb": value}) for value in (0.0, -1e-3, -1)] == [False, True, True]
    assert not high.reached({})


@pytest.mark.parametrize("value", ["nan", "inf", "-inf", "1e999", "1_0", "6 5", "٣"])
def test_a_target_is_a_finite_plain_number(value: str) -> None:
    with pytest.raises(ConfigError, match="is not METRIC>=NUMBER"):
        Target.parse(f"aesthetic>={value}")


@pytest.mark.parametrize(("higher", "kept"), [(True, 2), (False, 4)])
def test_the_first_of_the_best_pairs_is_kept(higher: bool, kept: int) -> None:
    best, factor = Best("m", higher), torch.zeros(2)
    for update, value in enumerate((1.0, 3.0, 3.0, 0.5, 0.5), 1):
        best.see(update, {"m": value}, [factor.fill_(update)])
    again = Best("m", higher)
    again.load_state(best.state())
    again.put([factor])
    assert (again.update, factor.tolist()) == (kept, [kept, kept])


@pytest.mark.parametrize(("higher", "kept"), [(True, 4), (False, 3)])
def test_a_value_that_is_not_finite_is_never_the_best(higher: bool, kept: int) -> None:
    best = Best("m", higher)
    for update, value in enumerate((math.nan, math.inf, 1.0, 2.0, math.nan, -math.inf, math.inf), 1):
        best.see(update, {"m": value}, [])
    assert best.update == kept


def test_optimisers_are_torchs_with_the_settings() -> None:
    weight = torch.tensor([2.0], requires_grad=True)
    sgd = make_optimiser([weight], TrainConfig(optimiser="sgd", lr=0.5, weight_decay=0.1))
    for _ in range(2):
        weight.grad = torch.tensor([1.0])
        sgd.step()
    first = 2 - 0.5 * (1 + 0.2)
    assert weight.item() == pytest.approx(first - 0.5 * (0.9 * 1.2 + 1 + 0.1 * first))
    factor = torch.ones(2, 2, requires_grad=True)
    adafactor = make_optimiser([factor], TrainConfig(optimiser="adafactor", lr=0.5, weight_decay=0.0))
    factor.grad = torch.full((2, 2), 1e-9)  # far below torch's own eps
    adafactor.step()
    assert factor.detach().flatten().tolist() == pytest.approx([0.5] * 4, rel=1e-3)


def test_the_schedule_warms_up_and_falls_to_zero() -> None:
    def rates(**settings: Any) -> list[float]:
        config = TrainConfig(samples=8, batch_size=1, lr=2.0, **settings)
        optimiser = make_optimiser([torch.zeros(1, requires_grad=True)], config)
        schedule, found = make_schedule(optimiser, config), []
        for _ in range(8):
            found.append(optimiser.param_groups[0]["lr"])
            optimiser.step()
            if schedule:
                schedule.step()
        return found

    assert rates() == [2.0] * 8
    assert rates(lr_warmup=2) == [0.0, 1.0, *[2.0] * 6]
    assert rates(lr_schedule="linear") == pytest.approx([2 - i / 4 for i in range(8)])
    assert rates(lr_schedule="cosine", lr_warmup=4) == pytest.approx(
        [0, 0.5, 1, 1.5, *(1 + math.cos(math.pi * i / 4) for i in range(4))]
    )


@pytest.mark.slow
def test_keep_best_and_until_give_the_pair_of_their_update(workplace: Path) -> None:
    """With made-up values: 1, 3, 2, 2 at updates 1 to 4."""
    config = toy.config(workplace, *SMALL, "train.samples=8", "train.validate_every=1", "train.until=red>=3")
    components, plan = engine.prepare(config, toy.catalog(), print)
    loaded = LoadedModel(config, components, plan, Reporter(quiet=True))
    seen: list[list[torch.Tensor]] = []

    def validate(update: int) -> Mapping[str, float]:
        assert loaded.group.pair is not None
        seen.append([factor.detach().clone() for factor in loaded.group.pair.factors])
        return {"red": (1.0, 3.0, 2.0, 2.0)[update - 1]}

    from dataclasses import replace

    def run(train: TrainConfig, best: Best | None = None) -> tuple[list[torch.Tensor], int]:
        seen.clear()
        loaded.load(())
        training = replace(stage_training(loaded, plan[1], train), validate=validate, best=best)
        return training.run().factors, len(training.log)

    train = plan[1].train
    assert train is not None
    stopped, updates = run(train)
    assert updates == 2
    assert all(map(torch.equal, stopped, seen[1]))
    kept, updates = run(replace(train, until="", keep_best="red"), Best("red", True))
    assert updates == 4
    assert all(map(torch.equal, kept, seen[1]))
    assert not all(map(torch.equal, seen[3], seen[1]))


@pytest.mark.slow
def test_a_scheduled_rate_is_logged(workplace: Path) -> None:
    _, log = trained(workplace, "train.samples=8", "train.lr_schedule=linear", "train.optimiser=sgd")
    assert [entry["lr"] for entry in log] == pytest.approx([0.05, 0.0375, 0.025, 0.0125])
