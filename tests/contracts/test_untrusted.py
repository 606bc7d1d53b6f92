"""Stores and exports made to lead elsewhere: nothing outside is read into a page, sent or written to."""

from __future__ import annotations

import io
import json
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import toy
from PIL import Image
from small_runs import write_run

from rilbench.analysis.scores import prompt_means
from rilbench.analysis.sources import load_runs, load_settings
from rilbench.cli.output import echo
from rilbench.contracts.errors import ConfigError, RilbenchError, UsageError
from rilbench.contracts.untrusted import inside, name, printable, relative
from rilbench.engine.saved import open_run
from rilbench.engine.terminal import Terminal
from rilbench.store.results import load_result
from rilbench_fetch.download import _Counted
from rilbench_jsonl import JsonLog
from rilbench_mlflow import pictures
from rilbench_mlflow.upload import runs_in, sync
from rilbench_release.command import export
from rilbench_release.export import Export
from rilbench_report.pictures import album
from rilbench_report.study import Study

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")
SECRET = "what the link leads to"


def changed(run: Path, change: Callable[[dict[str, Any]], None]) -> Path:
    """The run with its result.json changed by hand."""
    file = run / "result.json"
    values = json.loads(file.read_text())
    change(values)
    del values["checksum"]
    file.write_text(json.dumps(values))
    return run


@pytest.mark.parametrize(
    "bad", ["../../x", "/etc", "a/b", "..", ".", "", ".hidden", "a\\b", "a\x1b[2J", "a\nb", "x" * 256, 3]
)
def test_what_is_no_name(bad: Any) -> None:
    with pytest.raises(ConfigError, match=r"file.json: .* is not the name of a file"):
        name(bad, "file.json")


@pytest.mark.parametrize("good", ["rid-a-b-seed0-12ab", "x y", "größe", "a..b"])
def test_what_is_a_name(good: str) -> None:
    assert name(good, "file") == good
    assert relative(f"stages/{good}", "file") == f"stages/{good}"


@pytest.mark.parametrize(
    "change",
    [
        {"name": "../../x"},
        {"name": None},
        {"stages": {"evaluation": "../../x"}},
        {"stages": {"evaluation": "/etc"}},
        {"stages": {"stage_id": "../x"}},
        {"strategy": ["rid"]},
        {"seed": "many"},
        {"stages": {"values": {"red": "high"}}},
        {"stages": {"intervals": 3}},
        {"plugins": []},
    ],
    ids=str,
)
def test_a_result_that_leads_elsewhere_is_refused_where_it_is_read(tmp_path: Path, change: dict[str, Any]) -> None:
    def applied(values: dict[str, Any]) -> None:
        for key, value in change.items():
            if key == "stages":
                values["stages"][1] |= value
            else:
                values[key] = value

    run = changed(write_run(tmp_path, "rid"), applied)
    with pytest.raises(ConfigError, match=r"result\.json"):
        load_result(run)
    with pytest.raises(RilbenchError):
        export(str(run))
    assert not (tmp_path.parent / "x-stage2-diffusers").exists()


def test_a_studys_runs_lie_beside_it(tmp_path: Path) -> None:
    (tmp_path / "study-x").mkdir()
    (tmp_path / "study-x" / "study.json").write_text(json.dumps({"runs": ["../../x"], "finished": ["../../x"]}))
    with pytest.raises(ConfigError, match=r"is not the name of a file"):
        load_runs([str(tmp_path / "study-x")], lambda source: [])
    with pytest.raises(ConfigError, match=r"is not the name of a file"):
        runs_in(tmp_path / "study-x")


@pytest.mark.slow
def test_links_out_of_the_store_are_not_followed(tmp_path: Path, place: Path) -> None:
    store, outside = tmp_path / "store", tmp_path / "outside"
    run = write_run(store, "rid")
    outside.mkdir()
    Image.new("RGB", (8, 8)).save(outside / "secret.png")
    (outside / "secret.yaml").write_text(f"label: {SECRET}\n")
    row = load_result(run).matrix.rows[1]
    picture = store / row.evaluation / "sample-0.png"
    for link, target in ((picture, "secret.png"), (run / "config.yaml", "secret.yaml")):
        link.unlink()
        link.symlink_to(outside / target)
    (store / row.evaluation / "scores.safetensors").symlink_to(outside / "secret.png")
    result = load_result(run)
    assert load_settings(result) == {}
    assert prompt_means(result) == {}
    assert [p.file.name for p in pictures.of_stage(run, result, 1)] == ["sample-1.png"]
    runs = load_runs([str(run)], lambda source: [])
    assert [len(stage) for stage in album(Study.about(runs)).runs[0]["pictures"]] == [2, 1, 2]
    with pytest.raises(RilbenchError, match=r"config.yaml is a link .*not sent"):
        sync(run)
    assert inside(store, "../outside/secret.png") is None
    assert inside(store, "stages") == store / "stages"


def test_the_log_and_what_is_fetched_are_not_written_through_a_link(tmp_path: Path) -> None:
    run = write_run(tmp_path, "rid")
    target = tmp_path / "target"
    target.write_text("mine")
    (run / "log.jsonl").symlink_to(target)
    (tmp_path / "weights.part").symlink_to(target)
    with pytest.raises(OSError, match=r"is a link.*remove it"):
        JsonLog().run_started(run, load_result(run))
    with pytest.raises(OSError, match="it is a link"):
        _Counted(tmp_path / "weights.part", print)
    assert target.read_text() == "mine"


@pytest.fixture(scope="module")
def trained(pipeline: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("trained")
    shutil.copytree(pipeline, place / "pipeline")
    return toy.run(place, "strategy=baseline", "rewards=[red]", "evaluate.metrics=[]").folder


def files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


def test_an_export_replaces_an_export_and_nothing_else(trained: Path, tmp_path: Path) -> None:
    run, folder = open_run(str(trained), toy.catalog()), tmp_path / "out"
    Export(run=run, stage=1, kind="diffusers").write(folder)
    Export(run=run, stage=1, kind="peft").write(folder)
    names = files(folder)
    assert "adapter_model.safetensors" in names
    assert not any(name.endswith("-webui.safetensors") or name.startswith("pytorch_lora") for name in names)
    assert {*json.loads((folder / "rilbench.json").read_text())["files"]} == names - {"rilbench.json"}
    (folder / "sub").mkdir()
    (folder / "sub" / "notes.txt").write_text("mine")
    with pytest.raises(UsageError, match=r"sub/notes\.txt.*earlier export"):
        Export(run=run, stage=1, kind="diffusers").write(folder)
    assert files(folder) == names | {"sub/notes.txt"}
    assert (folder / "sub" / "notes.txt").read_text() == "mine"
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("files", [["../../victim"], ["/etc/passwd"], None, [3]])
def test_an_export_deletes_no_file_that_a_record_names(trained: Path, tmp_path: Path, files: Any) -> None:
    (tmp_path / "victim").write_text("mine")
    folder = tmp_path / "a" / "b"
    folder.mkdir(parents=True)
    (folder / "rilbench.json").write_text(json.dumps({"files": files}))
    with suppress(UsageError):
        Export(run=open_run(str(trained), toy.catalog()), stage=1, kind="peft").write(folder)
    assert (tmp_path / "victim").read_text() == "mine"


def test_no_text_controls_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    """Clear the screen, set the title, ring, go back, turn the direction: shown, not obeyed."""
    evil = "a\x1b[2J\x1b]0;title\x07b\x9bc\u202ed\re"
    assert printable(evil) == "a?[2J?]0;title?b?c?d?e"
    stream = io.StringIO()
    from rich.table import Table
    from rich.text import Text

    console = Terminal(file=stream, force_terminal=True, width=80)
    table = Table(title=Text(evil))
    table.add_column(Text("evil"))
    table.add_row(Text(evil, style="bold"))
    console.print(table)
    console.print(evil, markup=False, soft_wrap=True)
    console.print("[red]error[/red]")
    shown = stream.getvalue()
    assert "\x1b[1m" in shown  # its own colours pass
    assert not any(code in shown for code in ("\x1b[2J", "\x1b]", "\x07", "\x9b", "\u202e", "\r"))
    echo(evil)
    assert capsys.readouterr().out == "a?[2J?]0;title?b?c?d?e\n"
