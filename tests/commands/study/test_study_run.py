"""Studies that are run: what they leave and say, and that they continue after any kind of death."""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path
from statistics import fmean, median

import pytest
import torch
import toy
from checkout import ROOT
from filelock import FileLock
from studies import SMALL, TWO, forked, numbers, planned, started, study_file, weights
from studies import command as study

from rilbench import hookimpl
from rilbench.cli.group import INTERRUPTED
from rilbench.contracts.result import RunResult
from rilbench.engine import config
from rilbench.engine import run as engine
from rilbench.files.prompts import read_prompts
from rilbench.store.files import write_json
from rilbench.store.results import load_result
from rilbench_study import definition
from rilbench_study.cells import make_cells
from rilbench_study.graph import Graph
from rilbench_study.run import StudyRun


@pytest.fixture(scope="module", autouse=True)
def path() -> Iterator[None]:
    """Worker processes find the toys."""
    path = os.pathsep.join([str(ROOT / "tests" / "support"), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("PYTHONPATH", path)
        yield


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """The folder of the study TWO, run without a break."""
    folder = tmp_path_factory.mktemp("undisturbed")
    shutil.copytree(pipeline, folder / "pipeline")
    assert study(folder, *TWO).code == 0
    return folder


@pytest.mark.slow
def test_a_dry_run_trains_nothing(workplace: Path) -> None:
    told = study(workplace, *TWO, "--dry-run", "--time", "--json", "--workers", "2")
    assert (told.code, told.err) == (0, "")
    plan = json.loads(told.out)
    assert plan["methods"]["rid"] == plan["methods"]["baseline"] | {"seconds": plan["methods"]["rid"]["seconds"]}
    assert {key: plan["total"][key] for key in ("runs", "stages", "shared", "stored")} == {
        "runs": 4,
        "stages": 8,
        "shared": 0,
        "stored": 0,
    }
    assert plan["minutes"] == pytest.approx(plan["total"]["seconds"] / 120)
    shown = study(workplace, *TWO, "--dry-run", "--time")
    assert "together" in shown.out
    assert "two timed forward" in shown.out
    assert not (workplace / "runs").exists()


def test_a_dry_run_loads_no_model(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr("rilbench.model.text_to_image.TextToImage.load")
    told = study(workplace, *TWO, "--dry-run", "--json")
    assert told.code == 0
    plan = json.loads(told.out)
    assert plan["minutes"] is plan["total"]["seconds"] is plan["methods"]["rid"]["seconds"] is None
    shown = study(workplace, *TWO, "--dry-run")
    assert re.search("time .*unknown.*--time", shown.out)


@pytest.mark.slow
def test_the_overview_is_the_mean_of_the_runs(undisturbed: Path, workplace: Path) -> None:
    shutil.copytree(undisturbed / "runs", workplace / "runs")
    told = study(workplace, *TWO, "--json")
    assert told.code == 0
    values = json.loads(told.out)
    results = [load_result(workplace / "runs" / name) for name in values["finished"]]
    assert len(results) == 4
    dark = [row for row in values["overview"]["means"] if row["metric"] == "dark"]
    assert {row["label"] for row in dark} == {"rid", "baseline"}
    for row in dark:
        own = [result for result in results if result.label == row["label"]]
        assert (row["n"], len(own)) == (1, 2)  # two orders of one seed
        assert row["mean"] == pytest.approx(fmean([result.matrix.rows[-1].values["dark"] for result in own]))
    described = {"label", "quantity", "metric", "unit", "higher_is_better", "n", "mean", "sd", "low", "high"}
    assert all(row.keys() == described | {"best", "rank"} for row in dark)
    base = {row["metric"]: row["mean"] for row in values["overview"]["base"]}
    assert base["red"] == results[0].matrix.values("red")[0]


@pytest.mark.slow
def test_a_finished_study_is_printed_at_once(
    undisturbed: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(undisturbed / "runs", workplace / "runs")
    before = {path: path.stat().st_mtime_ns for path in workplace.glob("runs/*/result.json")}
    monkeypatch.setattr(engine, "run", lambda *_, **__: pytest.fail("run again"))
    told = study(workplace, *TWO)
    assert told.code == 0
    assert "baseline" in told.out
    assert {path: path.stat().st_mtime_ns for path in workplace.glob("runs/*/result.json")} == before
    assert told.err == ""


@pytest.mark.slow
def test_the_record_names_runs_and_definition(undisturbed: Path) -> None:
    record = json.loads((undisturbed / "runs" / "study-toy" / "study.json").read_text())
    assert (record["status"], record["failed"], record["name"]) == ("finished", [], "toy")
    assert record["runs"] == record["finished"]
    assert set(record["runs"]) == {path.parent.name for path in undisturbed.glob("runs/*/result.json")}
    assert record["definition"]["orders"] == [["red", "dark"], ["dark", "red"]]
    assert record["definition"]["overrides"]["train"]["samples"] == 4
    assert record["command"].startswith("rilbench study --config ")


@pytest.mark.slow
def test_a_run_of_a_study_says_how_it_is_repeated_alone(undisturbed: Path) -> None:
    result = load_result(next(undisturbed.glob("runs/rid-red-dark-*")))
    words = result.command.split()
    assert words[:3] == ["rilbench", "run", "--config"]
    assert config.load(words[3]).rewards == ("red", "dark")
    assert "red=toy:Redness" in words


def test_a_failed_run_does_not_keep_the_others_from_finishing(workplace: Path) -> None:
    told = study(workplace, "--strategies", "baseline", "--orders", "nan,red", "--orders", "red,dark", *SMALL)
    assert told.code == 4
    assert "1 of 2 runs: baseline nan > red seed 0 failed: reward 'nan' is not finite" in told.err
    assert "2 of 2 runs: baseline red > dark seed 0 finished" in told.err
    (run,) = (values for values in numbers(workplace).values() if values["status"] == "finished")
    assert run["rewards"] == ["red", "dark"]
    record = json.loads((workplace / "runs" / "study-toy" / "study.json").read_text())
    assert record["status"] == "failed"
    assert [(f["label"], f["rewards"], f["seed"]) for f in record["failed"]] == [("baseline", ["nan", "red"], 0)]
    assert "not finite" in record["failed"][0]["reason"]
    assert record["failed"][0]["run"] not in record["finished"] != []
    assert "continue  rilbench study" in told.out
    assert f"runs/{record['failed'][0]['run']}/config.yaml" in told.out.replace("\n", "")


@pytest.mark.slow
def test_warnings_of_libraries_are_told_once(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def score(self: toy.Redness, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        warnings.warn("red is rare", stacklevel=1)
        return images[:, 0].mean((1, 2))

    monkeypatch.setattr(toy.Redness, "__call__", score)
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        told = study(workplace, "--strategies", "baseline,rid", "--rewards", "red", *SMALL)
    assert told.code == 0
    assert told.err.count("red is rare") == told.err.count("warning: red is rare") == 1


class Counter:
    """Counts how often it is made, and what it is told of a study."""

    made = 0
    told: tuple[Path, list[str]] | None = None

    def __init__(self) -> None:
        Counter.made += 1

    @hookimpl
    def run_finished(self) -> None: ...

    @hookimpl
    def study_finished(self, folder: Path, results: list[RunResult]) -> dict[str, str]:
        Counter.told = (folder, [result.name for result in results])
        return {"counter": f"{len(results)} runs"}


@pytest.mark.slow
def test_one_set_of_hook_plugins_serves_all_runs(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")
    asked = definition.load(
        str(study_file(workplace)), [*SMALL, "tracking=true"], strategies="rid,baseline", rewards="red"
    )
    catalog = toy.catalog(EntryPoint("counter", "test_study_run:Counter", "rilbench.hooks"))
    graph = Graph(make_cells(asked, catalog, print))
    run = StudyRun(asked, graph, catalog, workers=1, command="again")
    run.run()
    assert run.finish() == {"counter": "2 runs"}
    assert Counter.made == 1
    assert Counter.told == (run.folder, [cell.name for cell in graph.cells])


@pytest.mark.slow
def test_killed_at_three_random_moments_it_ends_with_the_same_numbers(undisturbed: Path, workplace: Path) -> None:
    """kill -9 of the whole process group, from the first piece of work on; the last attempt is left alone."""
    seconds = sum(json.loads(path.read_text())["seconds"] for path in undisturbed.glob("runs/stages/*/stage.json"))
    attempts = []
    for _ in range(3):
        known = set(workplace.glob("runs/stages/**/*"))
        process = forked(workplace, *TWO)
        while set(workplace.glob("runs/stages/**/*")) == known and not has_ended(process):
            time.sleep(0.01)
        moment = random.uniform(0, seconds)
        time.sleep(moment)
        os.killpg(process, signal.SIGKILL)  # also if it was faster
        attempts.append((moment, os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])))
    assert attempts[0][1] == -signal.SIGKILL
    told = study(workplace, *TWO)
    assert told.code == 0, (attempts, told.err)
    assert numbers(workplace) == numbers(undisturbed), attempts
    assert weights(workplace) == weights(undisturbed), attempts


@pytest.mark.slow
def test_two_workers_and_their_deaths(undisturbed: Path, workplace: Path) -> None:
    """One worker dies once and its run is repeated; another dies twice and its run has failed; all else is equal."""
    (workplace / "once.txt").touch()
    sequences = _orders("red,dark", "dark,fragile", "mortal", "dark,red")
    told = study(workplace, "-s", "baseline", "--workers", "2", *sequences, *SMALL)
    assert told.code == 4, told.err
    assert "dark > fragile seed 0: its process was killed" in told.err
    assert "baseline dark > fragile seed 0 finished" in told.err
    assert not (workplace / "once.txt").exists()
    (failed,) = json.loads((workplace / "runs" / "study-toy" / "study.json").read_text())["failed"]
    assert failed["rewards"] == ["mortal"]
    assert re.search("killed.* memory.*twice", failed["reason"])
    whole, half = numbers(undisturbed), numbers(workplace)
    alike = [name for name in whole if name.startswith("baseline-")]
    assert len(alike) == 2
    assert all(half[name] == whole[name] for name in alike)
    assert len(weights(workplace).items() & weights(undisturbed).items()) == 4


@pytest.mark.slow
def test_a_library_that_cannot_be_imported_does_not_keep_workers_from_starting(tmp_path: Path) -> None:
    (tmp_path / "diffusers.py").write_text("raise RuntimeError('built for another torch')")
    (tmp_path / "start.py").write_text(
        "from rilbench_study.pool import Member\n"
        "from rilbench_study.worker import Setup\n"
        "if __name__ == '__main__':\n"
        "    member = Member(Setup(number=0, threads=1, extra=(), tracking=False, trackers=()))\n"
        "    member.connection.send(None)\n"
        "    member.process.join()\n"
        "    raise SystemExit(member.process.exitcode)\n"
    )
    path = os.pathsep.join([str(tmp_path), os.environ["PYTHONPATH"]])
    line = [sys.executable, str(tmp_path / "start.py")]
    done = subprocess.run(line, env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def has_ended(process: int) -> bool:
    """Whether a child has ended; it can still be waited for."""
    return os.waitid(os.P_PID, process, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _orders(*texts: str) -> list[str]:
    return [part for text in texts for part in ("--orders", text)]


def alive(group: int) -> list[str]:
    """The processes of a group that still live after ten seconds; who is dead waits for init as a zombie."""
    deadline = time.monotonic() + 10
    while True:
        stats = [path.read_text().rpartition(")") for path in Path("/proc").glob("[0-9]*/stat")]
        found = [name for name, _, rest in stats if rest.split()[2] == str(group) and rest.split()[0] != "Z"]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_ctrl_c_stops_the_workers_and_the_command_continues(undisturbed: Path, workplace: Path) -> None:
    shutil.copytree(undisturbed / "runs" / "stages", workplace / "runs" / "stages")
    for trained in workplace.glob("runs/stages/*/adapter_model.safetensors"):
        trained.unlink()  # stage.json stays, so no model is loaded for an estimate
        shutil.rmtree(trained.parent / "evaluations")
    held = next(p for p in workplace.glob("runs/stages/*/stage.json") if '"index": 2' in p.read_text())
    with FileLock(held.parent / ".lock"):  # the study cannot be over before it is interrupted
        process = started(workplace, *TWO, "--workers", "2")
        while not weights(workplace) and process.poll() is None:
            time.sleep(0.01)
        os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and workers
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert INTERRUPTED in err
    assert "Traceback" not in err
    assert not alive(process.pid)
    record = json.loads((workplace / "runs" / "study-toy" / "study.json").read_text())
    assert record["status"] == "interrupted"
    assert study(workplace, *TWO).code == 0
    assert numbers(workplace) == numbers(undisturbed)


@pytest.mark.slow
def test_estimates_are_what_the_like_took(undisturbed: Path, workplace: Path) -> None:
    """Medians over the store, per sample; of another reward than those in the store by the strategy."""
    shutil.copytree(undisturbed / "runs", workplace / "runs")
    stored = [json.loads(path.read_text()) for path in workplace.glob("runs/stages/*/stage.json")]
    for i, stage in enumerate(stored):
        stage["seconds"] = 10.0 + i
    for path, stage in zip(workplace.glob("runs/stages/*/stage.json"), stored, strict=True):
        write_json(path, stage)
    options = {"strategies": "baseline", "seeds": "1"}
    graph = planned(workplace, "train.samples=8", rewards="red", **options)
    names = [(s["document"]["strategy"]["name"], s["label"], s["seconds"]) for s in stored]
    train = graph.cells[0].work[1]
    red = median(seconds for strategy, label, seconds in names if (strategy, label) == ("baseline", "red"))
    assert graph.seconds[train.key] == pytest.approx(2 * red)
    graph = planned(workplace, rewards="blue", **options)
    like = median(seconds for strategy, _, seconds in names if strategy == "baseline")
    assert graph.seconds[graph.cells[0].work[1].key] == pytest.approx(like)


@pytest.mark.slow
def test_another_evaluation_is_estimated_by_its_images(undisturbed: Path, workplace: Path) -> None:
    """The store knows no evaluation with these metrics, but how long an image took; forwards are for the rest alone."""
    shutil.copytree(undisturbed / "runs", workplace / "runs")
    for path in workplace.glob("runs/stages/*/evaluations/*/metrics.json"):
        values = json.loads(path.read_text())
        images = values["images"]
        write_json(path, values | {"seconds": 2.0 * images})
    options = {"strategies": "baseline", "seeds": "1"}
    graph = planned(workplace, "evaluate.images_per_prompt=4", rewards="red", **options)
    prompts = len(read_prompts(graph.cells[0].config.evaluate.prompts))
    assert images == prompts * planned(workplace, rewards="red", **options).cells[0].config.evaluate.images_per_prompt
    assert graph.seconds[graph.cells[0].work[0].key] == pytest.approx(2.0 * 4 * prompts)
    assert "in this store" in graph.how
    mixed = planned(workplace, "evaluate.images_per_prompt=4", "model.steps=5", rewards="red", **options)
    assert re.search("^2 .*in this store, 1 .*two timed", mixed.how)


@pytest.mark.slow
def test_what_a_plugin_prints_while_planning_is_no_data(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    score, built = toy.Redness.__init__, []

    def loud(self: toy.Redness, *given: object, **more: object) -> None:
        built.append(self)
        print("a plugin says hello")
        score(self, *given, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(toy.Redness, "__init__", loud)
    told = study(workplace, *TWO, "--json")
    assert built
    assert "hello" in told.err
    assert "hello" not in told.out
    assert len(json.loads(told.out)["finished"]) == 4
