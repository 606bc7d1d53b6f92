"""Validation while a stage trains: its images and numbers, that it changes nothing, and that no kill loses anything."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import toy
from killed import Death, forked

from rilbench.contracts.errors import ConfigError
from rilbench.engine import live, validation
from rilbench.engine.live import StageHookEvents
from rilbench.store import stage_record
from rilbench.store.layout import Store
from rilbench.training import stage as trainer

SMALL = ("rewards=[red]", "train.samples=8", "evaluate.images_per_prompt=1", "evaluate.metrics=[]")
ON = ("train.validate_every=2", "train.validate_images=2")


def trained(workplace: Path, *overrides: str) -> tuple[bytes, list[dict[str, float]], dict[str, bytes], Path]:
    """The pair, the log and the validation images of the only stage, and the store."""
    result = toy.run(workplace, *SMALL, *overrides).result
    store = Store(workplace / "runs")
    files = store.stage(result.matrix.rows[1].stage_id)
    pictures = {path.name: path.read_bytes() for path in sorted(files.validation.glob("*"))}
    return files.weights.read_bytes(), stage_record.read(files.folder)["log"], pictures, store.folder


@pytest.mark.slow
def test_training_is_the_same_bit_by_bit_with_and_without(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[int, dict[str, float], list[str]]] = []
    stage = live.StageEvents()
    monkeypatch.setattr(
        stage, "validated", lambda update, values, shown: heard.append((update, values, [p.prompt for p in shown]))
    )
    pair, log, pictures, store = trained(workplace)
    assert not pictures
    store.rename(workplace / "without")
    monkeypatch.setattr(live.NO_EVENTS.__class__, "stage", lambda *_: stage)
    monkeypatch.setattr(live.HookEvents, "stage", lambda *_: stage)
    with_pair, with_log, with_pictures, _ = trained(workplace, *ON)
    assert with_pair == pair
    assert [{k: v for k, v in entry.items() if not k.startswith("validate/")} for entry in with_log] == log
    assert sorted(with_pictures) == ["000002-0.png", "000002-1.png", "000004-0.png", "000004-1.png"]
    assert with_pictures["000002-0.png"] != with_pictures["000004-0.png"]
    assert [update for update, *_ in heard] == [2, 4]
    assert [values["red"] for _, values, _ in heard] == [e["validate/red"] for e in with_log if "validate/red" in e]
    assert all(len(prompts) == 2 for *_, prompts in heard)


@pytest.mark.slow
def test_twenty_kills_during_validation_and_checkpointing_lose_nothing(workplace: Path) -> None:
    """Before and after each validation, image and checkpoint, and before a written file gets its name."""
    more = ("train.keep_best=red", "train.lr_schedule=cosine", "train.lr_warmup=2")
    settings = (*ON, *more, "train.samples=12", "train.checkpoint_every=1", "train.validate_every=1")
    whole = trained(workplace, *settings)
    whole[3].rename(workplace / "whole")
    kills = 0
    for attempt in range(40):
        killed, _ = forked(lambda: trained(workplace, *settings), _Moments(1 + (attempt * 5) % 13))
        kills += killed
        if not killed:
            break
    assert kills >= 20
    assert trained(workplace, *settings)[:3] == whole[:3]


def test_an_error_in_a_validation_loses_no_update(workplace: Path) -> None:
    from dataclasses import replace

    from rilbench.engine import run as engine
    from rilbench.engine.loaded_model import LoadedModel
    from rilbench.engine.progress import Reporter
    from rilbench.engine.training import stage_training
    from rilbench.store.tensors import load_checkpoint

    def broken(update: int) -> dict[str, float]:
        raise MemoryError

    config = toy.config(workplace, *SMALL, *ON, "train.samples=6")
    components, plan = engine.prepare(config, toy.catalog(), print)
    loaded, train = LoadedModel(config, components, plan, Reporter(quiet=True)), plan[1].train
    assert train is not None
    loaded.load(())
    with pytest.raises(MemoryError):
        replace(stage_training(loaded, plan[1], train), validate=broken).run()
    saved = load_checkpoint(loaded.files(plan[1]).checkpoint)
    assert saved is not None
    assert saved["update"] == len(saved["log"]) == 2


class _Moments(Death):
    """Those of validations and checkpoints."""

    def install(self) -> None:
        from rilbench.store import files, tensors

        for module, name in ((validation, "save_picture"), (trainer, "save_checkpoint"), (tensors, "seal")):
            setattr(module, name, self.around(getattr(module, name)))
        files.share = self.around(files.share)  # type: ignore[assignment]
        validation.Validation.after = self.around(validation.Validation.after)  # type: ignore[method-assign]


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (("train.validate_images=3",), r"train\.validate_images has no effect: train\.validate_every is 0"),
        (("train.eps=1e-9", "train.optimiser=sgd"), r"train\.eps has no effect: train\.optimiser is sgd"),
        (("trackers=jsonl", "tracking=false"), "trackers has no effect: tracking is false"),
        (("train.validate_every=1", "train.validate_metrics=likeness", "evaluate.metrics=likeness"), "base model's"),
        (("train.validate_every=1", "train.validate_metrics=blue"), "'blue' is not measured; add it to evaluate"),
        (("train.validate_every=1", "train.validate_prompts=none.txt"), "no prompt file at 'none.txt'"),
        (("train.validate_every=1", "train.validate_prompts=weights.csv"), "'weights.csv' has weights, which only"),
    ],
)
def test_settings_that_cannot_work_are_errors_before_anything_is_loaded(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, overrides: tuple[str, ...], message: str
) -> None:
    from rilbench.engine import run as engine
    from rilbench.engine.layers import values_of

    monkeypatch.chdir(workplace)
    Path("weights.csv").write_text("prompt,weight\na red circle,2\na blue square,1\n")
    with pytest.raises(ConfigError, match=message):
        engine.prepare(toy.config(workplace, *overrides), toy.catalog(), print, values_of(overrides))


@pytest.mark.parametrize(
    "overrides", [("train.validate_every=0",), ("train.eps=1e-9",), ("trackers=[]", "tracking=false")]
)
def test_settings_at_their_default_are_accepted(workplace: Path, overrides: tuple[str, ...]) -> None:
    from rilbench.engine import run as engine
    from rilbench.engine.layers import values_of

    assert engine.prepare(toy.config(workplace, *overrides), toy.catalog(), print, values_of(overrides))


def test_prompts_that_are_measured_too_are_a_warning(workplace: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(toy_prompts(workplace), workplace / "same.txt")
    config = toy.config(workplace, *SMALL, "train.validate_every=1", f"train.validate_prompts={workplace}/same.txt")
    from rilbench.engine import run as engine
    from rilbench.engine.loaded_model import LoadedModel
    from rilbench.engine.progress import Reporter

    components, plan = engine.prepare(config, toy.catalog(), print)
    train = plan[1].train
    assert train is not None
    validation.Validation(LoadedModel(config, components, plan, Reporter(quiet=True)), plan[1], train)
    assert "3 of the 3 validation prompts are in evaluate.prompts too" in " ".join(capsys.readouterr().err.split())


def toy_prompts(workplace: Path) -> Path:
    toy.config(workplace)
    return workplace / "prompts.txt"


def test_speed_leaves_out_what_hooks_and_validations_take(monkeypatch: pytest.MonkeyPatch) -> None:
    times = iter([0.0, 2.0, 10.0, 13.0, 13.0])
    told: list[Any] = []

    class Told:
        folder, result = Path(), None

        class hooks:
            @staticmethod
            def call(hook: str, **values: Any) -> None:
                told.append(values["progress"].values)

        class loaded:
            class components:
                device = "cpu"

    from rilbench import Stage
    from rilbench.engine.planned import PlannedStage
    from rilbench.training.config import TrainConfig

    planned = PlannedStage(stage=Stage(rewards={"red": 1.0}), id="s", document={}, below=(), chain=())
    train = TrainConfig(samples=32, batch_size=8)
    stage = StageHookEvents(Told, planned, train, 1, 0, clock=lambda: next(times))  # type: ignore[arg-type]
    stage.update(1, {"loss": 1.0})  # took 2 s; its hooks took 8
    stage.update(2, {"loss": 0.5})  # took 3 s
    assert [values["images_per_second"] for values in told] == [4.0, pytest.approx(8 / 3)]
    assert [values["seconds_left"] for values in told] == [6.0, 5.0]
