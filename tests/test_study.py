"""Studies on the tiny model: what is shared, what continues after any kind of death, and what is said on the way."""

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
from collections.abc import Callable, Iterator
from contextlib import suppress
from importlib.metadata import EntryPoint
from itertools import permutations
from pathlib import Path
from statistics import fmean, median
from types import SimpleNamespace
from typing import Any

import pytest
import torch
import toy

from rilbench import config, engine, hookimpl
from rilbench.cli import main
from rilbench.errors import ConfigError, RilbenchError, UsageError
from rilbench.host.catalog import Catalog
from rilbench.progress import Reporter
from rilbench.result import RunResult
from rilbench.study import definition, orders
from rilbench.study.cells import Cell, make_cells
from rilbench.study.cost import Estimates
from rilbench.study.graph import Graph
from rilbench.study.run import StudyRun
from rilbench.study.schedule import Schedule

TOYS = {"red": "toy:Redness", "dark": "toy:Darkness", "blue": "toy:Blueness", "nan": "toy:NaNReward"}
TOYS["toy_contrast"] = "toy:Contrast"
MORTALS = {"mortal": "mortal:Mortal", "fragile": "mortal:Fragile"}
PLUGINS = [text for name, value in (TOYS | MORTALS).items() for text in ("--plugin", f"{name}={value}")]
SMALL = ["train.samples=4", "evaluate.images_per_prompt=1", "evaluate.metrics=[]"]
TWO = ["--strategies", "rid,baseline", "--rewards", "red,dark", "--orders", "all", "--seeds", "1", *SMALL]


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """The numbers depend on how many there are. Workers inherit the environment."""
    threads, handler = torch.get_num_threads(), signal.getsignal(signal.SIGTERM)
    path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr("rilbench.cli.study.quiet_libraries", lambda: None)  # pytest has its own way with warnings
        patched.setenv("OMP_NUM_THREADS", "1")
        patched.setenv("PYTHONPATH", path)
        torch.set_num_threads(1)
        yield
    torch.set_num_threads(threads)
    signal.signal(signal.SIGTERM, handler)


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """A folder with the pipeline and prompts; every test brings its own store."""
    folder = tmp_path_factory.mktemp("model")
    shutil.copytree(pipeline, folder / "pipeline")
    toy.config(folder)
    return folder


def study_file(folder: Path, model: Path, extra: str = "", section: str = "") -> Path:
    """A study on the tiny model with the store `runs` in a folder."""
    file = folder / "toy_study.yaml"
    file.write_text(f"study:\n  name: toy\n  base: {model}/toy.yaml\n{section}\nstore: {folder}/runs\n{extra}\n")
    return file


def planned(folder: Path, model: Path, *overrides: str, section: str = "", **options: Any) -> Graph:
    asked = definition.load(str(study_file(folder, model, section=section)), [*SMALL, *overrides], **options)
    return Graph(make_cells(asked, toy.catalog(), Reporter(quiet=True).warn))


def command(patched: pytest.MonkeyPatch, folder: Path, model: Path, *arguments: str) -> int:
    """`rilbench study` in this process."""
    file = study_file(folder, model)
    patched.chdir(folder)
    patched.setattr(sys, "argv", ["rilbench", "study", "--config", str(file), *PLUGINS, *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


Study = Callable[..., SimpleNamespace]


@pytest.fixture
def study(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], model: Path) -> Study:
    """The command with its code, out and err."""

    def run(folder: Path, *arguments: str) -> SimpleNamespace:
        code = command(monkeypatch, folder, model, *arguments)
        out, err = capsys.readouterr()
        return SimpleNamespace(code=code, out=out, err=err)

    return run


def started(folder: Path, model: Path, *arguments: str) -> subprocess.Popen[str]:
    """`rilbench study` in a process group of its own."""
    command = [sys.executable, "-m", "rilbench.cli", "study", "--config", str(study_file(folder, model)), *PLUGINS]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    return subprocess.Popen([*command, *arguments], cwd=folder, text=True, start_new_session=True, **pipes)  # type: ignore[call-overload,no-any-return]


def numbers(folder: Path) -> dict[str, Any]:
    """What every finished run says, but for how long it took and which command it was part of."""
    results = {}
    for path in folder.glob("runs/*/result.json"):
        values = json.loads(path.read_text())
        values.pop("command")
        for stage in values["stages"]:
            del stage["train_seconds"], stage["evaluate_seconds"]
        results[path.parent.name] = values
    return results


def weights(folder: Path) -> dict[str, bytes]:
    return {path.parent.name: path.read_bytes() for path in folder.glob("runs/stages/*/adapter_model.safetensors")}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Path:
    """The folder of the study TWO, run without a break."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patched:
        assert command(patched, folder, model, *TWO) == 0
    return folder


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (None, [("a", "b")]),
        ("all", [("a", "b"), ("b", "a")]),
        (["b,a"], [("b", "a")]),
        (["a,b", "b, a", "a,b"], [("a", "b"), ("b", "a")]),
        ([["b", "a"]], [("b", "a")]),
        ("a,b", [("a", "b")]),
    ],
)
def test_orders(value: Any, expected: list[tuple[str, ...]]) -> None:
    assert list(orders.read_orders(value, ["a", "b"])) == expected


def test_all_orders_of_three_and_of_repeated_rewards() -> None:
    assert set(orders.read_orders("all", ["a", "b", "c"])) == set(permutations("abc"))
    assert orders.read_orders("all", ["a", "b", "a"]) == (("a", "b", "a"), ("a", "a", "b"), ("b", "a", "a"))


def test_random_orders_are_distinct_and_the_same_again() -> None:
    rewards = [f"r{i}" for i in range(12)]
    drawn = orders.read_orders(["random:20"], rewards)
    assert len(set(drawn)) == 20
    assert {tuple(sorted(order)) for order in drawn} == {tuple(sorted(rewards))}
    assert orders.read_orders("random:20", rewards) == drawn
    assert set(orders.read_orders("random:6", ["a", "b", "c"])) == set(permutations("abc"))


@pytest.mark.parametrize(
    ("value", "rewards", "message"),
    [
        ("all", ["a", "b", "c", "d", "e", "f", "g"], "7 rewards have 5040 orders; draw some"),
        ("random:7", ["a", "b", "c"], "wants a number from 1 to 6"),
        ("random:x", ["a"], "wants a number from 1 to 1"),
        (["a,c"], ["a", "b"], "'a,c' is no order of a,b"),
        (["all", "b,a"], ["a", "b"], "'all' is no order of a,b"),
        (["a"], ["a", "b"], "'a' is no order of a,b"),
        ("all", [], "name the rewards"),
        (None, [], "name the rewards"),
    ],
)
def test_bad_orders(value: Any, rewards: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        orders.read_orders(value, rewards)


def test_seeds() -> None:
    assert orders.read_seeds("3") == orders.read_seeds(3) == (0, 1, 2)
    assert orders.read_seeds("0,5,7") == orders.read_seeds([0, 5, 7]) == (0, 5, 7)
    assert orders.read_seeds("5,") == orders.read_seeds([5]) == (5,)
    for wrong in ("0", "x", "", "-1", [-1], []):
        with pytest.raises(UsageError, match="seeds: "):
            orders.read_seeds(wrong)


def test_six_orders_share_their_beginnings(tmp_path: Path, model: Path) -> None:
    """3 first stages, 6 second, 6 third; the soup's models are the baseline's first stages."""
    options = {"rewards": "red,dark,blue", "orders": ["all"], "seeds": "2"}
    graph = planned(tmp_path, model, strategies="baseline,soup,joint", **options)
    baseline, soup, joint = (graph.counts(label) for label in ("baseline", "soup", "joint"))
    assert (baseline.runs, baseline.stages, baseline.shared) == (12, 2 * 15, 2 * 3)
    assert (soup.runs, soup.stages, soup.shared) == (12, 2 * 3, 2 * 15)
    assert (joint.runs, joint.stages, joint.shared) == (12, 2 * 1, 2 * 5)
    total = graph.counts()
    assert (total.runs, total.stages) == (36, baseline.stages + joint.stages)
    assert (total.stored, total.measured, total.finished) == (0, 0, 0)
    assert total.seconds == pytest.approx(sum(graph.seconds.values()))
    assert total.seconds > 0
    names = [cell.name for cell in graph.cells]
    assert len(set(names)) == 36, "the orders of joint are one stage and six runs"


METHODS = """
  strategies: [rid]
  methods:
    rid-lam0: {strategy: rid, strategies: {rid: {lam: 0}}}
    rid-default: {strategy: rid}
    baseline-half: {strategy: baseline, train: {samples: 2}, recipes: {baseline: {red: {lr: 0.01}}}}
"""


def test_methods_are_rows_under_their_own_label(tmp_path: Path, model: Path) -> None:
    file = study_file(tmp_path, model, "train: {weight_decay: 0.5}", METHODS)
    methods = definition.load(str(file), ["evaluate.samples=1"], rewards="red,dark").methods
    assert list(methods) == ["rid", "rid-lam0", "rid-default", "baseline-half"]
    assert [(m.label, m.strategy) for m in methods.values()][1:] == [
        ("rid-lam0", "rid"),
        ("rid-default", "rid"),
        ("baseline-half", "baseline"),
    ]
    assert methods["rid-lam0"].strategies["rid"]["lam"] == 0
    assert methods["rid-default"].strategies.get("rid", {}).get("lam") is None
    half = methods["baseline-half"].train_for(["baseline"], ["red"])
    assert (half.samples, half.lr, half.batch_size, half.weight_decay) == (2, 0.01, 2, 0.5)
    assert {method.evaluate.samples for method in methods.values()} == {1}
    graph = planned(tmp_path, model, section=METHODS, rewards="red,dark")
    assert graph.counts("rid").stages == graph.counts("rid-default").stages == 2
    assert graph.counts().stages == 2 + 2 + 2, "the same settings under two labels are trained once"
    assert {cell.name.split("-red")[0] for cell in graph.cells} == set(methods)


@pytest.mark.parametrize(
    ("section", "extra", "message"),
    [
        (
            "  methods: {half: {strategy: rid, trian: {lr: 1}}}",
            "",
            r"in study.methods.half 'trian'. Did you mean 'train'",
        ),
        (
            "  methods: {half: {strategy: rid, train: {lrr: 1}}}",
            "",
            r"study.methods.half.train 'lrr'. Did you mean 'lr'",
        ),
        ("  methods: {half: {train: {lr: 1}}}", "", "study.methods.half: say which strategy it is"),
        ("  methods: {half: {strategy: rid, seed: 1}}", "", "study.methods.half.seed: belongs to the whole study"),
        ("  methods: {half: {strategy: rid, store: x}}", "", "study.methods.half.store: belongs to the whole study"),
        ("  methods: {half: rid}", "", "study.methods"),
        ("  methods: {a/b: {strategy: rid}}", "", "label: 'a/b' is not of at most 60"),
        ("  strategies: [rid]\n  methods: {rid: {strategy: rid}}", "", "methods.rid: a strategy of that name"),
        ("  methds: {}", "", "unknown setting in study 'methds'. Did you mean 'methods'"),
        ("  strategies: rid", "trian: 1", "unknown setting 'trian'. Did you mean 'train'"),
        ("  strategies: rid", "seed: 1", "seed: a study has many; name them in study.seeds or with --seeds"),
        ("  strategies: [rdi]", "", "unknown strategy 'rdi'. Did you mean 'rid'"),
        ("  strategies: rid\n  rewards: [rad]", "", "unknown reward 'rad'. Did you mean 'red'"),
        ("", "", "name what the study compares"),
    ],
)
def test_a_mistake_in_a_study_file_is_named(
    tmp_path: Path, model: Path, section: str, extra: str, message: str
) -> None:
    file = study_file(tmp_path, model, extra, section)
    with pytest.raises(RilbenchError, match=message):
        make_cells(
            definition.load(str(file), rewards=None if "rewards" in section else "red,dark"), toy.catalog(), print
        )


def test_files_of_studies_and_of_runs_are_told_apart(tmp_path: Path, model: Path) -> None:
    file = study_file(tmp_path, model, section="  strategies: rid")
    with pytest.raises(ConfigError, match=r"describes a study, not a run; start it with: rilbench study --config"):
        config.load(str(file))
    with pytest.raises(ConfigError, match=r"shapes.yaml configures a run: it has no `study:` section.*rilbench run"):
        definition.load("shapes")
    (tmp_path / "outer.yaml").write_text(f"study: {{base: {file}, strategies: rid, rewards: [red]}}")
    with pytest.raises(ConfigError, match=r"study.base: .* is itself a study"):
        definition.load(str(tmp_path / "outer.yaml"))


def test_the_shipped_study_is_the_papers_comparison() -> None:
    """Four strategies, six orders, three seeds: 15 stages for rid and for baseline, 1 for joint, none for soup."""
    assert definition.load("study_shapes").seeds == (0, 1, 2)
    cells = make_cells(definition.load("study_shapes", seeds="2,"), Catalog(), print)
    assert len(cells) == 4 * 6
    assert len({work.key for cell in cells for work in cell.work if work.training}) == 15 + 15 + 1
    assert {(cell.config.train.samples, cell.config.seed) for cell in cells} == {(320, 2)}


def test_the_documented_study_has_the_documented_plan(tmp_path: Path) -> None:
    page = (Path(__file__).parent.parent / "docs" / "study.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (tmp_path / "ablation.yaml").write_text(text)
    cells = make_cells(definition.load(str(tmp_path / "ablation.yaml"), ["store=nowhere"]), Catalog(), print)
    (line,) = re.findall(r"│ together +│(.*)│", page)
    runs, _, stages, shared, _, evaluations, *_ = (part.strip() for part in line.split("│"))
    trained = [work.key for cell in cells for work in cell.work if work.training]
    measured = {work.key for cell in cells for work in cell.work if not work.training}
    assert (int(runs), int(stages), int(evaluations)) == (len(cells), len(set(trained)), len(measured))
    assert int(shared) == len(trained) - len(set(trained))


def test_a_dry_run_trains_nothing(tmp_path: Path, study: Study) -> None:
    told = study(tmp_path, *TWO, "--dry-run", "--json", "--workers", "2")
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
    shown = study(tmp_path, *TWO, "--dry-run")
    assert "together" in shown.out
    assert "from two timed forwards" in shown.out
    assert not (tmp_path / "runs").exists()


def test_the_overview_is_the_mean_of_the_runs(undisturbed: Path, tmp_path: Path, study: Study) -> None:
    shutil.copytree(undisturbed / "runs", tmp_path / "runs")
    told = study(tmp_path, *TWO, "--json")
    assert told.code == 0
    values = json.loads(told.out)
    results = [RunResult.load(tmp_path / "runs" / name) for name in values["finished"]]
    assert len(results) == 4
    for line in values["overview"][1:]:
        own = [result for result in results if result.label == line["label"]]
        assert line["runs"] == len(own) == 2
        expected = fmean([result.matrix.rows[-1].values["dark"] for result in own])
        assert line["final"]["dark"] == pytest.approx(expected)
    assert values["overview"][0]["final"]["red"] == results[0].matrix.values("red")[0]


def test_a_finished_study_is_printed_at_once(
    undisturbed: Path, tmp_path: Path, study: Study, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(undisturbed / "runs", tmp_path / "runs")
    before = {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/result.json")}
    monkeypatch.setattr(engine, "run", lambda *_, **__: pytest.fail("run again"))
    told = study(tmp_path, *TWO)
    assert told.code == 0
    assert "baseline" in told.out
    assert {path: path.stat().st_mtime_ns for path in tmp_path.glob("runs/*/result.json")} == before
    assert told.err == ""


def test_the_record_names_runs_and_definition(undisturbed: Path) -> None:
    record = json.loads((undisturbed / "runs" / "study-toy" / "study.json").read_text())
    assert (record["status"], record["failed"], record["name"]) == ("finished", [], "toy")
    assert record["runs"] == record["finished"]
    assert set(record["runs"]) == {path.parent.name for path in undisturbed.glob("runs/*/result.json")}
    assert record["definition"]["orders"] == [["red", "dark"], ["dark", "red"]]
    assert record["definition"]["overrides"]["train"]["samples"] == 4
    assert record["command"].startswith("rilbench study --config ")


def test_a_run_of_a_study_says_how_it_is_repeated_alone(undisturbed: Path) -> None:
    result = RunResult.load(next(undisturbed.glob("runs/rid-red-dark-*")))
    words = result.command.split()
    assert words[:3] == ["rilbench", "run", "--config"]
    assert config.load(words[3]).rewards == ("red", "dark")
    assert "red=toy:Redness" in words


def test_a_failed_run_does_not_keep_the_others_from_finishing(tmp_path: Path, study: Study) -> None:
    told = study(tmp_path, "--strategies", "baseline", "--orders", "nan,red", "--orders", "red,dark", *SMALL)
    assert told.code == 4
    assert "1 of 2 runs: baseline nan > red seed 0 failed: reward 'nan' is not finite" in told.err
    assert "2 of 2 runs: baseline red > dark seed 0 finished" in told.err
    (run,) = (values for values in numbers(tmp_path).values() if values["status"] == "finished")
    assert run["rewards"] == ["red", "dark"]
    record = json.loads((tmp_path / "runs" / "study-toy" / "study.json").read_text())
    assert record["status"] == "failed"
    assert [(f["label"], f["rewards"], f["seed"]) for f in record["failed"]] == [("baseline", ["nan", "red"], 0)]
    assert "not finite" in record["failed"][0]["reason"]
    assert record["failed"][0]["run"] not in record["finished"] != []
    assert "continue  rilbench study" in told.out
    assert f"runs/{record['failed'][0]['run']}/config.yaml" in told.out.replace("\n", "")


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


def test_one_set_of_hook_plugins_serves_all_runs(
    undisturbed: Path, tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")
    asked = definition.load(
        str(study_file(tmp_path, model)), [*SMALL, "tracking=true"], strategies="rid,baseline", rewards="red"
    )
    catalog = toy.catalog(EntryPoint("counter", "test_study:Counter", "rilbench.hooks"))
    graph = Graph(make_cells(asked, catalog, print))
    run = StudyRun(asked, graph, catalog, workers=1, command="again")
    run.run()
    assert run.finish() == {"counter": "2 runs"}
    assert Counter.made == 1
    assert Counter.told == (run.folder, [cell.name for cell in graph.cells])


def test_killed_at_three_random_moments_it_ends_with_the_same_numbers(
    undisturbed: Path, tmp_path: Path, model: Path, study: Study
) -> None:
    """kill -9 of the whole process group, from the first piece of work on; the last attempt is left alone."""
    seconds = sum(json.loads(path.read_text())["seconds"] for path in undisturbed.glob("runs/stages/*/stage.json"))
    attempts = []
    for _ in range(3):
        process = started(tmp_path, model, *TWO)
        known = set(tmp_path.glob("runs/stages/**/*"))
        while set(tmp_path.glob("runs/stages/**/*")) == known and process.poll() is None:
            time.sleep(0.01)
        moment = random.uniform(0, seconds)
        time.sleep(moment)
        with suppress(ProcessLookupError):  # it was faster
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        attempts.append((moment, process.returncode))
    assert attempts[0][1] == -signal.SIGKILL
    told = study(tmp_path, *TWO)
    assert told.code == 0, (attempts, told.err)
    assert numbers(tmp_path) == numbers(undisturbed), attempts
    assert weights(tmp_path) == weights(undisturbed), attempts


def test_two_workers_and_their_deaths(undisturbed: Path, tmp_path: Path, study: Study) -> None:
    """One worker dies once and its run is repeated; another dies twice and its run has failed; all else is equal."""
    (tmp_path / "once.txt").touch()
    sequences = _orders("red,dark", "dark,fragile", "mortal", "dark,red")
    told = study(tmp_path, "-s", "baseline", "--workers", "2", *sequences, *SMALL)
    assert told.code == 4, told.err
    assert "dark > fragile seed 0: its process was killed, most likely because memory ran out; the run is" in told.err
    assert "baseline dark > fragile seed 0 finished" in told.err
    assert not (tmp_path / "once.txt").exists()
    (failed,) = json.loads((tmp_path / "runs" / "study-toy" / "study.json").read_text())["failed"]
    assert failed["rewards"] == ["mortal"]
    assert failed["reason"] == "its process was killed, most likely because memory ran out, twice"
    whole, half = numbers(undisturbed), numbers(tmp_path)
    alike = [name for name in whole if name.startswith("baseline-")]
    assert len(alike) == 2
    assert all(half[name] == whole[name] for name in alike)
    assert len(weights(tmp_path).items() & weights(undisturbed).items()) == 4


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


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="looks for processes in /proc")
def test_ctrl_c_stops_the_workers_and_the_command_continues(
    undisturbed: Path, tmp_path: Path, model: Path, study: Study
) -> None:
    shutil.copytree(undisturbed / "runs" / "stages", tmp_path / "runs" / "stages")
    for trained in tmp_path.glob("runs/stages/*/adapter_model.safetensors"):
        trained.unlink()  # stage.json stays, so no model is loaded for an estimate
        shutil.rmtree(trained.parent / "evaluations")
    process = started(tmp_path, model, *TWO, "--workers", "2")
    while not weights(tmp_path) and process.poll() is None:
        time.sleep(0.01)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: parent and workers
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130, err
    assert "interrupted; finished work is kept, the same command continues" in err
    assert "Traceback" not in err
    assert not alive(process.pid)
    record = json.loads((tmp_path / "runs" / "study-toy" / "study.json").read_text())
    assert record["status"] == "interrupted"
    assert study(tmp_path, *TWO).code == 0
    assert numbers(tmp_path) == numbers(undisturbed)


def test_a_worker_prefers_a_run_whose_next_stage_nobody_trains(tmp_path: Path, model: Path) -> None:
    graph = planned(tmp_path, model, strategies="baseline", rewards="red,dark,blue", orders=["all"])
    schedule = Schedule(graph.cells, done=())

    def take(worker: int) -> str:
        cell = schedule.take(worker)
        assert cell is not None
        return cell.config.rewards[0]

    assert take(0) == "red"
    assert take(1) == "dark", "the base is measured by the first worker, so what differs is the first stage"
    assert take(2) == "blue"
    schedule.done.update(work.key for work in schedule.close(0).work)
    assert take(0) == "red", "its first stage is done"


def test_a_run_whose_worker_died_is_taken_again_but_once(tmp_path: Path, model: Path) -> None:
    schedule = Schedule(planned(tmp_path, model, strategies="baseline", rewards="red").cells, done=())
    first = schedule.take(0)
    assert schedule.retry(0)
    assert schedule.take(1) is first
    assert not schedule.retry(1)
    assert schedule.close(1) is first
    assert schedule.take(0) is None


def test_estimates_are_what_the_like_took(undisturbed: Path, tmp_path: Path, model: Path) -> None:
    """Medians over the store, per sample; of another reward than those in the store by the strategy."""
    shutil.copytree(undisturbed / "runs", tmp_path / "runs")
    stored = [json.loads(path.read_text()) for path in tmp_path.glob("runs/stages/*/stage.json")]
    for i, stage in enumerate(stored):
        stage["seconds"] = 10.0 + i
    for path, stage in zip(tmp_path.glob("runs/stages/*/stage.json"), stored, strict=True):
        path.write_text(json.dumps(stage))
    options = {"strategies": "baseline", "seeds": "1"}
    cell = planned(tmp_path, model, "train.samples=8", rewards="red", **options).cells[0]
    names = [(s["document"]["strategy"]["name"], s["label"], s["seconds"]) for s in stored]
    train = cell.work[1]
    red = median(seconds for strategy, label, seconds in names if (strategy, label) == ("baseline", "red"))
    assert Estimates(cell.store).seconds(cell, train) == pytest.approx(2 * red)
    cell = planned(tmp_path, model, rewards="blue", **options).cells[0]
    like = median(seconds for strategy, _, seconds in names if strategy == "baseline")
    assert Estimates(cell.store).seconds(cell, cell.work[1]) == pytest.approx(like)


def test_a_long_sequence_costs_the_same_at_every_stage(tmp_path: Path, model: Path) -> None:
    """Twelve rewards of three kinds; the folder's name stays one that file systems take."""
    sequence = ["red", "dark", "blue"] * 4
    graph = planned(tmp_path, model, strategies="rid", rewards=",".join(sequence * 4))
    (cell,) = graph.cells
    assert len(cell.name) < 200
    trained = [work for work in cell.work if work.training]
    assert len({work.key for work in trained}) == 48
    assert len({round(graph.seconds[work.key], 9) for work in trained}) == 1
    assert [len(work.planned.below) for work in trained] == list(range(48))


def test_a_repeated_reward(tmp_path: Path, model: Path) -> None:
    """What red has learned and kept counts from its last training; what the others gave it, from before its first."""
    graph = planned(tmp_path, model, strategies="baseline", rewards="red,dark,red")
    (cell,) = graph.cells
    result = engine.run(cell.config, catalog=toy.catalog(), reporter=Reporter(quiet=True)).result
    matrix = result.matrix
    assert [row.label for row in matrix.rows] == ["base", "red", "dark", "red"]
    assert len({row.stage_id for row in matrix.rows}) == 4
    assert [m.target_of for m in matrix.metrics if m.name == "red"] == [("red",)]
    assert [matrix.masked("red", i) for i in range(4)] == [True, True, False, True]
    red, dark = matrix.values("red"), matrix.values("dark")
    assert matrix.learned("red") == pytest.approx(red[3] - red[0])
    assert matrix.backward_transfer("red") == 0
    assert matrix.forward_transfer("red") == 0
    assert matrix.forward_transfer("dark") == pytest.approx(dark[1] - dark[0])
    assert matrix.backward_transfer("dark") == pytest.approx(dark[3] - dark[2])
    assert matrix.average() == pytest.approx(((red[3] - red[0]) / abs(red[0]) + (dark[3] - dark[0]) / abs(dark[0])) / 2)


def test_a_label_names_the_run_and_changes_nothing_else(workplace: Path) -> None:
    plain = engine.run(toy.config(workplace, *SMALL), catalog=toy.catalog(), reporter=Reporter(quiet=True))
    named = engine.run(
        toy.config(workplace, *SMALL, "label=mine"), catalog=toy.catalog(), reporter=Reporter(quiet=True)
    )
    assert plain.result.label == "rid"
    assert named.result.label == "mine"
    assert named.folder.name == f"mine{plain.folder.name.removeprefix('rid')}"
    assert named.result.matrix == plain.result.matrix
    saved = json.loads((named.folder / "result.json").read_text())
    del saved["label"]  # as rilbench wrote before there were labels
    assert RunResult.from_json(saved).label == "rid"


def test_the_work_of_a_run(tmp_path: Path, model: Path) -> None:
    """A cell knows its work in the order of the engine: base, then train and measure each stage."""
    cell: Cell = planned(tmp_path, model, strategies="baseline", rewards="red,dark").cells[0]
    assert [work.training for work in cell.work] == [False, True, False, True, False]
