"""A finished run that is asked for again: at once when nothing has changed, the ordinary way when anything has."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import toy
from read_only import read_only
from small_runs import SMALL

from rilbench.contracts.errors import PluginError
from rilbench.contracts.result import RunResult
from rilbench.engine import memo as memos
from rilbench.engine.config import load
from rilbench.engine.memo import Memo, Outcome
from rilbench.engine.progress import Reporter
from rilbench.engine.run import run as run_now
from rilbench.host import requirements
from rilbench.host.catalog import Catalog
from rilbench.store.layout import RunFiles, Store
from rilbench.store.results import load_result

SETTINGS = "rewards: [sharpness, incompressibility]\n" + SMALL
PROMPTS = "".join(f"{chr(97 + i % 26)} {chr(97 + i // 26)}\n" for i in range(30))  # fewer are warned of
AGAIN = """
import sys
from rilbench.cli.main import main
sys.argv = ["rilbench", "run", "--config", "small.yaml", "--json"]
try:
    main()
finally:
    print("torch" in sys.modules, file=sys.stderr)
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working folder with a finished run of installed components."""
    folder = tmp_path_factory.mktemp("repeat")
    toy.save_pipeline(folder / "model")
    (folder / "prompts.txt").write_text(PROMPTS)
    (folder / "small.yaml").write_text(SETTINGS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        done()
    return folder


@pytest.fixture(autouse=True)
def there(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)


def memo() -> Memo:
    return Memo(load("small.yaml"), Catalog(), {})


def done() -> Outcome:
    return run_now(load("small.yaml"), catalog=Catalog(), reporter=Reporter(quiet=True))


def run_folder() -> Path:
    (file,) = Path("runs").glob("*/result.json")
    return file.parent


@pytest.mark.slow
def test_the_result_is_that_of_the_run_and_torch_is_not_imported() -> None:
    again = subprocess.run([sys.executable, "-c", AGAIN], capture_output=True, text=True, env={**os.environ})
    assert again.returncode == 0, again.stderr
    assert again.stderr.splitlines()[-1] == "False"
    printed = json.loads(again.stdout)
    stored = load_result(run_folder()).to_json()
    assert printed["stages"] == json.loads(json.dumps(stored))["stages"]
    assert printed["status"] == "finished"


def rewritten(file: Path) -> None:
    """The same bytes, written again."""
    file.write_bytes(file.read_bytes())


def flipped(file: Path) -> None:
    """Another byte, and the times as before."""
    state, data = file.stat(), bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)
    os.utime(file, ns=(state.st_atime_ns, state.st_mtime_ns))


def inside(pattern: str) -> Callable[[], Path]:
    return lambda: sorted(Path("runs").glob(pattern))[0]


CHANGES = [
    (rewritten, lambda: Path("prompts.txt")),
    (rewritten, lambda: next(Path("model").rglob("*.safetensors"))),
    (flipped, inside("stages/*/adapter_model.safetensors")),
    (Path.unlink, inside("stages/*/evaluations/*/scores.safetensors")),
    (Path.unlink, inside("*/samples.png")),
    (rewritten, inside("*/table.md")),
]


@pytest.mark.slow
@pytest.mark.parametrize(("change", "file"), CHANGES)
def test_what_changed_goes_the_ordinary_way_and_is_known_again_after_it(
    change: Callable[[Path], None], file: Callable[[], Path]
) -> None:
    assert memo().result() is not None
    change(file())
    assert memo().result() is None
    first = done()
    second = done()  # the first one may have warned of what it made again
    assert memo().result() == second.result == first.result


def test_other_settings_are_another_memo() -> None:
    assert Memo(load("small.yaml", ["seed=1"]), Catalog(), {}).result() is None
    assert Memo(load("small.yaml"), Catalog(), {"seed": "0"}).result() is None


def test_other_installed_code_goes_the_ordinary_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    known = memos._code

    def more(catalog: Catalog) -> list[Path]:
        return [*known(catalog), tmp_path]

    (tmp_path / "plugin.py").write_text("value = 1\n")
    monkeypatch.setattr(memos, "_code", more)
    assert memo().result() is None


def test_a_component_for_one_command_is_imported_as_ever() -> None:
    assert Memo(load("small.yaml"), toy.catalog(), {}).result() is None


def test_a_file_that_changed_while_the_run_began_is_not_trusted() -> None:
    asked = memo()
    folder, result = run_folder(), load_result(run_folder())
    note = RunFiles(folder).memo(asked.digest)
    kept = {
        path: state for path, state in json.loads(note.read_text())["files"].items() if "runs" not in Path(path).parts
    }
    assert str(Path("prompts.txt").absolute()) in kept
    note.unlink()
    rewritten(Path("prompts.txt"))
    asked.keep(folder, result, kept)
    assert not note.exists()
    Memo(asked.config, asked.catalog, {}).keep(folder, result, kept)
    assert note.exists()


def kept(settings: Sequence[str], given: Mapping[str, Any]) -> Memo:
    """A memo of another request that has the run as its result."""
    asked = Memo(load("small.yaml", settings), Catalog(), given)
    asked.keep(run_folder(), load_result(run_folder()), {})
    return asked


def test_requests_in_turn_are_all_known_and_only_the_newest_are() -> None:
    first, second, third, fourth = (kept([], {"request": str(number)}) for number in range(4))
    assert [asked.result() is not None for asked in (first, second, third, fourth)] == [False, True, True, True]
    assert len(list(run_folder().glob("memo-*"))) == 3


def test_a_store_that_is_only_read_keeps_no_memo_and_no_run_from_its_result() -> None:
    before = sorted(run_folder().glob("memo-*"))
    assert before
    with read_only(Path("runs")):
        asked = kept([], {"request": "in a store that is only read"})
    assert asked.result() is None
    assert sorted(run_folder().glob("memo-*")) == before


def test_what_a_run_requires_must_be_there_when_it_is_repeated(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = kept(["requires=[packaging>=20]"], {})
    assert memos.repeat(asked, pytest.fail) is not None
    monkeypatch.setattr(requirements, "version", lambda name: "19.0")
    with pytest.raises(PluginError, match=r"packaging>=20 is required, 19\.0 is installed"):
        memos.repeat(asked, pytest.fail)


def test_a_run_with_a_secret_in_its_settings_keeps_no_digest_of_it(monkeypatch: pytest.MonkeyPatch) -> None:
    from rilbench.engine import secret_settings

    note = RunFiles(run_folder()).memo(memo().digest)
    note.unlink(missing_ok=True)
    monkeypatch.setattr(secret_settings, "public", lambda config, catalog: load("small.yaml", ["seed=1"]))
    done()
    assert not Store(Path("runs")).memos(memo().digest)


def test_hook_plugins_hear_what_they_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[tuple[str, int, str]] = []

    class Recorder:
        def __init__(self, *arguments: object, **options: object) -> None:
            pass

        def call(self, hook: str, *, result: RunResult, folder: Path, stage: int = -1) -> dict[str, str]:
            heard.append((hook, len(result.matrix.rows), result.status))
            return {"recorder": folder.name}

        lines = call

    done()
    monkeypatch.setattr(memos, "HookCaller", Recorder)
    outcome = memos.repeat(memo(), pytest.fail)
    assert outcome is not None
    assert outcome.summary == {"recorder": run_folder().name}
    stages = [("stage_finished", i, "running") for i in (1, 2, 3)]
    assert heard == [
        ("run_started", 0, "running"),
        *stages,
        ("run_finished", 3, "finished"),
        ("summary", 3, "finished"),
    ]
