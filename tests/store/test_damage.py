"""Files of a small store damaged in many ways: each command gives the right result, or one line that names the file and
what heals it; never a traceback, and never another result."""

from __future__ import annotations

import os
import random
import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import toy
from PIL import Image
from safetensors.torch import load_file

from rilbench.analysis.comparison import compare
from rilbench.analysis.sources import load_runs
from rilbench.cli.main import main
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.prompt import Prompt
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.engine.saved import open_run
from rilbench_release.export import Export
from rilbench_release.pictures import Pictures
from rilbench_report.page import write_report

pytestmark = pytest.mark.slow
RUN = ("rewards=[red,dark]", "train.samples=4", "strategy_settings.rid.group=true")
SAMPLE = int(os.environ.get("RILBENCH_DAMAGE", "24"))  # cases of the random test; all there are take minutes
REMEDIES = ("Rerun", "Delete", "Remove", "remove", "their commands resume", "`rilbench run` makes one")


def flip(data: bytes, random: random.Random, count: int) -> bytes:
    changed = bytearray(data)
    for _ in range(count):
        changed[random.randrange(len(changed))] ^= 1 << random.randrange(8)
    return bytes(changed)


def put(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def folder(path: Path, random: random.Random) -> None:
    path.unlink()
    (path / "inside").mkdir(parents=True)


DAMAGE: dict[str, Callable[[Path, random.Random], Any]] = {
    "missing": lambda path, _: path.unlink(),
    "empty": lambda path, _: put(path, b""),
    "halved": lambda path, _: put(path, path.read_bytes()[: path.stat().st_size // 2]),
    "cut": lambda path, _: put(path, path.read_bytes()[:-1]),
    "one bit": lambda path, r: put(path, flip(path.read_bytes(), r, 1)),
    "ten bits": lambda path, r: put(path, flip(path.read_bytes(), r, 10)),
    "null": lambda path, _: put(path, b"null"),
    "list": lambda path, _: put(path, b"[1, 2]"),
    "object": lambda path, _: put(path, b"{}"),
    "other object": lambda path, _: put(path, b'{"schema": 1, "values": {"red": "x"}, "document": {}, "seconds": {}}'),
    "not text": lambda path, _: put(path, b"\xff\xfe\x00"),
    "deep": lambda path, _: put(path, b"[" * 100_000),
    "zeros": lambda path, _: put(path, bytes(path.stat().st_size)),
    "folder": folder,
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """A working folder with a finished run."""
    place = tmp_path_factory.mktemp("whole")
    shutil.copytree(pipeline, place / "pipeline")
    toy.run(place, *RUN)
    return place


@pytest.fixture
def place(whole: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The same folder, as it was before and is again afterwards."""
    monkeypatch.chdir(whole)
    yield whole
    restore(whole)


def restore(place: Path) -> None:
    if not (place / "kept").exists():
        shutil.copytree(place / "runs", place / "kept")
        return
    shutil.rmtree(place / "runs")
    shutil.copytree(place / "kept", place / "runs")
    for made in ("exported", "page.html", "picture.png"):
        shutil.rmtree(place / made) if (place / made).is_dir() else (place / made).unlink(missing_ok=True)


def folder_of(place: Path) -> str:
    return str(next(path for path in place.glob("runs/*") if path.name.startswith("rid-")))


def run(place: Path) -> object:
    done = engine.run(toy.config(place, *RUN), catalog=toy.catalog(), reporter=Reporter(quiet=True))
    return [dict(row.values) for row in done.result.matrix.rows]


def compared(place: Path) -> object:
    comparison = compare(load_runs([str(place / "runs")], lambda source: []), warn=lambda text: None)
    return [(row.label, dict(row.values)) for run in comparison.runs for row in run.matrix.rows]


def report(place: Path) -> object:
    study, _ = write_report([str(place / "runs")], place / "page.html", toy.catalog(), lambda text: None)
    return [dict(row.values) for run in study.runs for row in run.matrix.rows]


def export(place: Path) -> object:
    run = open_run(folder_of(place), toy.catalog())
    Export(run=run, stage=2, kind="diffusers").write(place / "exported")
    tensors = load_file(place / "exported" / "pytorch_lora_weights.safetensors")
    return {key: value.tolist() for key, value in tensors.items()}


def generate(place: Path) -> object:
    saved = open_run(folder_of(place), toy.catalog())
    config, file = saved.config.evaluate, place / "picture.png"
    Pictures(run=saved, prompts=[Prompt("a red circle")], stages=[2], config=config).write(file, Reporter(quiet=True))
    with Image.open(file) as image:
        return image.convert("RGB").tobytes()


def shown(place: Path) -> object:
    """`runs list` and `runs show`: they say what there is, so only a traceback is wrong."""
    for arguments in (["list", "runs"], ["show", folder_of(place)], ["clean", "runs", "--dry-run"]):
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(sys, "argv", ["rilbench", "runs", *arguments])
            with pytest.raises(SystemExit):
                main()
    return None


COMMANDS: list[Callable[[Path], object]] = [compared, report, export, generate, shown, run]


def cases(place: Path) -> list[tuple[Path, str]]:
    files = [path for path in sorted(place.glob("runs/**/*")) if path.is_file() and path.name != ".lock"]
    return [(path, damage) for path in files for damage in DAMAGE]


def wrong(place: Path, file: Path, damage: str, expected: dict[str, object], seed: int) -> list[str]:
    """What is not as it should be after a damage."""
    DAMAGE[damage](file, random.Random(seed))
    found = []
    for command in COMMANDS:
        told = f"{file.relative_to(place)}, {damage}, {command.__name__}"
        try:
            if command(place) != expected[command.__name__]:
                found.append(f"{told}: another result")
        except RilbenchError as error:
            named = file.name in str(error) or file.parent.name in str(error)
            if not named or not any(word in str(error) for word in REMEDIES):
                found.append(f"{told}: {error}")
        except Exception as error:
            found.append(f"{told}: {type(error).__name__}: {error}"[:300])
    return found


def test_no_damage_ends_in_a_traceback_or_in_another_result(place: Path, capfd: pytest.CaptureFixture[str]) -> None:
    restore(place)
    expected = {command.__name__: command(place) for command in COMMANDS}
    every = list(enumerate(cases(place)))
    found = []
    for seed, (file, damage) in random.Random(0).sample(every, min(SAMPLE, len(every))):
        restore(place)
        found += wrong(place, file, damage, expected, seed)
    assert found == []
