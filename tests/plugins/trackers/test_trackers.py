"""The trackers with their real libraries, offline: one run that all installed ones are told of, read back from disk."""

from __future__ import annotations

import json
import os
import shutil
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import toy

from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.store import stage_record
from rilbench.store.layout import Store

NAMES = [name for name in ("wandb", "tensorboard", "trackio") if find_spec(name)]
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the libraries' own


class Done(NamedTuple):
    """A tracked run: its folder, its rewards by step, and its last value of `red`."""

    folder: Path
    rewards: list[tuple[int, float]]
    red: float


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Iterator[Done]:
    place = tmp_path_factory.mktemp("tracked")
    shutil.copytree(pipeline, place / "pipeline")
    environment = {"WANDB_MODE": "offline", "TRACKIO_DIR": str(place / "trackio"), "RILBENCH_DISABLE_PLUGINS": "mlflow"}
    with pytest.MonkeyPatch.context() as patched, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for key, value in environment.items():
            patched.setenv(key, value)
        overrides = ["train.validate_every=4", "train.validate_images=2", "evaluate.images_per_prompt=1"]
        config = toy.config(place, "tracking=true", f"trackers={','.join(NAMES)}", *overrides)
        warned: list[str] = []
        reporter = Reporter(quiet=True)
        reporter.warn = warned.append  # type: ignore[method-assign]
        outcome = engine.run(config, catalog=toy.catalog(), reporter=reporter)
        assert not [text for text in warned if "skipped" in text]
        assert set(NAMES) <= outcome.summary.keys()
        rows = outcome.result.matrix.rows
        logs = [stage_record.read(Store(place / "runs").stage(row.stage_id).folder)["log"] for row in rows[1:]]
        rewards = [entry["reward"] for log in logs for entry in log]
        yield Done(outcome.folder, list(enumerate(rewards, 1)), rows[-1].values["red"])


def test_tensorboard_has_curves_pictures_and_the_table(done: Done) -> None:
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events: Any = EventAccumulator(str(done.folder / "tensorboard"))
    events.Reload()
    assert [(event.step, pytest.approx(event.value)) for event in events.Scalars("train/reward")] == done.rewards
    assert [event.step for event in events.Scalars("validate/red")] == [4, 8]
    assert [event.step for event in events.Scalars("eval/red")] == [0, 4, 8]
    assert events.Scalars("eval/red")[-1].value == pytest.approx(done.red)
    assert {tag.partition("/")[0] for tag in events.Tags()["images"]} == {"eval", "validate"}
    assert [image.step for image in events.Images("eval/1 a red circle")] == [0, 4, 8]
    assert b"2 dark" in events.Tensors("result/text_summary")[-1].tensor_proto.string_val[0]
    assert b"train.lr" in events.Tensors("settings/text_summary")[0].tensor_proto.string_val[0]


def test_wandb_has_curves_pictures_and_the_table(done: Done) -> None:
    pytest.importorskip("wandb")
    (run,) = (done.folder / "wandb").glob("offline-run-*")
    (file,) = run.glob("*.wandb")
    data = file.read_bytes()
    for _, reward in done.rewards:
        assert str(reward).encode() in data
    for text in (b"validate/red", b"eval/likeness", b"forgetting/red", b"a red circle", b"train.lr"):
        assert text in data
    assert len(list(run.glob("files/media/images/eval/*.png"))) == 6
    assert len(list(run.glob("files/media/images/validate/*.png"))) == 4
    tables = [json.loads(path.read_text()) for path in run.glob("files/media/table/*.json")]
    assert sorted(len(table["data"]) for table in tables) == [1, 2, 3]
    (last,) = (table for table in tables if len(table["data"]) == 3)
    assert last["data"][-1][last["columns"].index("red")] == done.red


def test_trackio_has_curves_pictures_and_the_table(done: Done) -> None:
    pytest.importorskip("trackio")
    from trackio.sqlite_storage import SQLiteStorage

    entries = SQLiteStorage.get_logs("rilbench", done.folder.name)
    assert [(e["step"], e["train/reward"]) for e in entries if "train/reward" in e] == done.rewards
    assert [e["step"] for e in entries if "validate/red" in e] == [4, 8]
    pictures = [e["eval/1"] for e in entries if "eval/1" in e]
    assert [picture["caption"] for picture in pictures] == ["a red circle"] * 3
    media = Path(os.environ.get("TRACKIO_DIR", "")) / "media"
    assert all((media / picture["file_path"]).exists() for picture in pictures)
    (table,) = (e["result"]["_value"] for e in entries if "result" in e and e["step"] == 8)
    assert [row["stage"] for row in table] == ["base", "red", "dark"]
    assert table[-1]["red"] == done.red
