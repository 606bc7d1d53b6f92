"""What a study is: orders, methods, the stages that runs share, and who does which."""

from __future__ import annotations

import re
from itertools import permutations
from pathlib import Path
from typing import Any

import pytest
import toy
from checkout import ROOT
from studies import SMALL, planned, study_file

from rilbench.contracts import settings
from rilbench.contracts.errors import ConfigError, RilbenchError, UsageError
from rilbench.engine import config
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.host.catalog import Catalog
from rilbench_study import definition, orders
from rilbench_study.cells import Cell, make_cells
from rilbench_study.schedule import Schedule


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
        ("all", ["a", "b", "c", "d", "e", "f", "g"], "7 rewards.*5040 orders.*random:"),
        ("random:7", ["a", "b", "c"], "random:N.* 1 to 6"),
        ("random:x", ["a"], "random:N.* 1 to 1"),
        (["a,c"], ["a", "b"], "orders: 'a,c'.* a,b"),
        (["all", "b,a"], ["a", "b"], "orders: 'all'.* alone"),
        (["b,a", "random:2"], ["a", "b"], "orders: 'random:2'.* alone"),
        (["a"], ["a", "b"], "orders: 'a'.* a,b"),
        ("all", [], "--rewards"),
        (None, [], "--rewards"),
    ],
)
def test_bad_orders(value: Any, rewards: list[str], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        orders.read_orders(value, rewards)


def test_seeds() -> None:
    assert orders.read_seeds("3") == orders.read_seeds(3) == (0, 1, 2)
    assert orders.read_seeds("0,5,7") == orders.read_seeds([0, 5, 7]) == (0, 5, 7)
    assert orders.read_seeds("5,") == orders.read_seeds([5]) == (5,)
    for wrong in ("0", "x", "", "-1", [-1], [], "1,1", [0, 2, 0]):
        with pytest.raises(UsageError, match="seeds: "):
            orders.read_seeds(wrong)


def test_a_strategy_named_twice(workplace: Path) -> None:
    with pytest.raises(UsageError, match=r"strategies: baseline .*2 times"):
        planned(workplace, strategies="baseline,baseline", rewards="red")


@pytest.mark.slow
def test_a_plan_names_its_orders(workplace: Path) -> None:
    graph = planned(workplace, strategies="baseline,joint", rewards="red,dark,blue", orders=["random:2"], seeds="2")
    drawn = orders.read_orders("random:2", ["red", "dark", "blue"])
    assert graph.to_json(1)["orders"] == [list(order) for order in drawn]


@pytest.mark.slow
def test_six_orders_share_their_beginnings(workplace: Path) -> None:
    """3 first stages, 6 second, 6 third; the soup's models are the baseline's first stages."""
    options = {"rewards": "red,dark,blue", "orders": ["all"], "seeds": "2"}
    graph = planned(workplace, strategies="baseline,soup,joint", **options)
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
    rid-lam0: {strategy: rid, strategy_settings: {rid: {lam: 0}}}
    rid-default: {strategy: rid}
    baseline-half: {strategy: baseline, train: {samples: 2}, recipes: {baseline: {red: {lr: 0.01}}}}
"""


@pytest.mark.slow
def test_methods_are_rows_under_their_own_label(workplace: Path) -> None:
    file = study_file(workplace, "train: {weight_decay: 0.5}", METHODS)
    methods = definition.load(str(file), ["evaluate.pictures=1"], rewards="red,dark").methods
    assert list(methods) == ["rid", "rid-lam0", "rid-default", "baseline-half"]
    assert [(m.label, m.strategy) for m in methods.values()][1:] == [
        ("rid-lam0", "rid"),
        ("rid-default", "rid"),
        ("baseline-half", "baseline"),
    ]
    assert methods["rid-lam0"].strategy_settings["rid"]["lam"] == 0
    assert methods["rid-default"].strategy_settings.get("rid", {}).get("lam") is None
    half = methods["baseline-half"].train_for(["baseline"], ["red"])
    assert (half.samples, half.lr, half.batch_size, half.weight_decay) == (2, 0.01, 2, 0.5)
    assert {method.evaluate.pictures for method in methods.values()} == {1}
    graph = planned(workplace, section=METHODS, rewards="red,dark")
    assert graph.counts("rid").stages == graph.counts("rid-default").stages == 2
    assert graph.counts().stages == 2 + 2 + 2, "the same settings under two labels are trained once"
    assert {cell.name.split("-red")[0] for cell in graph.cells} == set(methods)


@pytest.mark.parametrize(
    ("section", "extra", "message"),
    [
        (
            "  methods: {half: {strategy: rid, trian: {lr: 1}}}",
            "",
            r"study.methods.half.*'trian'.*'train'",
        ),
        (
            "  methods: {half: {strategy: rid, train: {lrr: 1}}}",
            "",
            r"study.methods.half.train.*'lrr'.*'lr'",
        ),
        ("  methods: {half: {train: {lr: 1}}}", "", "study.methods.half: .*strategy: rid"),
        ("  methods: {half: {strategy: rid, seed: 1}}", "", "study.methods.half.seed: .*whole study"),
        ("  methods: {half: {strategy: rid, store: x}}", "", "study.methods.half.store: .*whole study"),
        ("  methods: {half: rid}", "", "study.methods"),
        ("  methods: {a/b: {strategy: rid}}", "", "label: 'a/b'.* 60"),
        ("  strategies: [rid]\n  methods: {rid: {strategy: rid}}", "", "methods.rid: .*another label"),
        ("  methds: {}", "", "study.*'methds'.*'methods'"),
        ("  strategies: rid", "trian: 1", "'trian'.*'train'"),
        ("  strategies: rid", "seed: 1", "seed: .*study.seeds.*--seeds"),
        ("  strategies: [rdi]", "", "strategy 'rdi'.*'rid'"),
        ("  strategies: rid\n  rewards: [rad]", "", "reward 'rad'.*'red'"),
        ("", "", "--strategies"),
    ],
)
def test_a_mistake_in_a_study_file_is_named(workplace: Path, section: str, extra: str, message: str) -> None:
    file = study_file(workplace, extra, section)
    with pytest.raises(RilbenchError, match=message):
        make_cells(
            definition.load(str(file), rewards=None if "rewards" in section else "red,dark"), toy.catalog(), print
        )


def test_files_of_studies_and_of_runs_are_told_apart(workplace: Path) -> None:
    file = study_file(workplace, section="  strategies: rid")
    with pytest.raises(ConfigError, match=r"study.*rilbench study --config"):
        config.load(str(file))
    with pytest.raises(ConfigError, match=r"shapes\.yaml.*`study:`.*rilbench run"):
        definition.load("shapes")
    (workplace / "outer.yaml").write_text(f"study: {{base: {file}, strategies: rid, rewards: [red]}}")
    with pytest.raises(ConfigError, match=r"study.base: .* is itself a study"):
        definition.load(str(workplace / "outer.yaml"))


@pytest.mark.slow
def test_the_shipped_study_is_the_papers_comparison() -> None:
    """Six orders, five seeds: 15 stages for rid and for the baseline's four points, 1 for joint's three."""
    assert definition.load("study_shapes").seeds == (0, 1, 2, 3, 4)
    cells = make_cells(definition.load("study_shapes", seeds="2,"), Catalog(), print)
    assert len(cells) == 10 * 6
    labels = {cell.config.label for cell in cells}
    points = {f"{name}-{point}" for name in ("baseline", "joint") for point in ("low", "high")}
    assert labels == {"rid", "baseline", "baseline-plain", "joint", "soup", "soup-x2", *points}
    assert len({work.key for cell in cells for work in cell.work if work.training}) == 5 * 15 + 3
    for cell in cells:  # equal numbers of training samples for a sequence
        assert sum(work.planned.train.samples for work in cell.work if work.training and work.planned.train) == 960


@pytest.mark.slow
def test_the_shipped_ablations_share_their_first_runs_with_the_study() -> None:
    of = {}
    for name in ("study_shapes", "study_ablations"):
        cells = make_cells(
            definition.load(name, seeds="0,", orders=["aesthetic,hps,compressibility"]), Catalog(), print
        )
        of[name] = {cell.config.label: cell for cell in cells}
    for label in ("rid", "baseline"):
        assert of["study_shapes"][label].name == of["study_ablations"][label].name
    stages = {cell.plan[-1].id for cell in of["study_ablations"].values()}
    assert len(stages) == len(of["study_ablations"]) == 12


@pytest.mark.slow
def test_the_documented_study_has_the_documented_plan(workplace: Path) -> None:
    page = (ROOT / "docs" / "studies.md").read_text()
    (text,) = re.findall(r"```yaml\n(.*?)```", page, re.S)
    (workplace / "ablation.yaml").write_text(text)
    cells = make_cells(definition.load(str(workplace / "ablation.yaml"), ["store=nowhere"]), Catalog(), print)
    (line,) = re.findall(r"│ together +│(.*)│", page)
    runs, _, stages, shared, _, evaluations, *_ = (part.strip() for part in line.split("│"))
    trained = [work.key for cell in cells for work in cell.work if work.training]
    measured = {work.key for cell in cells for work in cell.work if not work.training}
    assert (int(runs), int(stages), int(evaluations)) == (len(cells), len(set(trained)), len(measured))
    assert int(shared) == len(trained) - len(set(trained))


@pytest.mark.slow
def test_a_worker_prefers_a_run_whose_next_stage_nobody_trains(workplace: Path) -> None:
    graph = planned(workplace, strategies="baseline", rewards="red,dark,blue", orders=["all"])
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


def test_a_run_whose_worker_died_is_taken_again_but_once(workplace: Path) -> None:
    schedule = Schedule(planned(workplace, strategies="baseline", rewards="red").cells, done=())
    first = schedule.take(0)
    assert schedule.retry(0)
    assert schedule.take(1) is first
    assert not schedule.retry(1)
    assert schedule.close(1) is first
    assert schedule.take(0) is None


@pytest.mark.slow
def test_a_long_sequence_costs_the_same_at_every_stage(workplace: Path) -> None:
    """Twelve rewards of three kinds; the folder's name stays one that file systems take."""
    sequence = ["red", "dark", "blue"] * 4
    graph = planned(workplace, strategies="rid", rewards=",".join(sequence * 4))
    (cell,) = graph.cells
    assert len(cell.name) < 200
    trained = [work for work in cell.work if work.training]
    assert len({work.key for work in trained}) == 48
    assert len({round(graph.seconds[work.key], 9) for work in trained}) == 1
    assert [len(work.planned.below) for work in trained] == list(range(48))


@pytest.mark.slow
def test_a_repeated_reward(workplace: Path) -> None:
    """What red has learned and kept counts from its last training; what the others gave it, from before its first."""
    graph = planned(workplace, strategies="baseline", rewards="red,dark,red")
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


@pytest.mark.slow
def test_a_label_names_the_run_and_changes_nothing_else(workplace: Path) -> None:
    plain = toy.run(workplace, *SMALL)
    named = toy.run(workplace, *SMALL, "label=mine")
    assert plain.result.label == "rid"
    assert named.result.label == "mine"
    assert named.folder.name == f"mine{plain.folder.name.removeprefix('rid')}"
    assert named.result.matrix == plain.result.matrix


@pytest.mark.slow
def test_the_work_of_a_run(workplace: Path) -> None:
    """A cell knows its work in the order of the engine: base, then train and measure each stage."""
    cell: Cell = planned(workplace, strategies="baseline", rewards="red,dark").cells[0]
    assert [work.training for work in cell.work] == [False, True, False, True, False]


@pytest.mark.slow
def test_settings_are_resolved_once_for_all_runs_of_a_method(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Orders and seeds do not multiply the work of checking what is the same in all of them."""
    builds: list[str] = []
    build = settings.build
    monkeypatch.setattr(settings, "build", lambda *given, **more: builds.append(given[-1]) or build(*given, **more))

    def built(**options: Any) -> int:
        builds.clear()
        planned(workplace, strategies="baseline,soup", rewards="red,dark,blue", **options)
        return len(builds)

    few, many = built(orders=["red,dark,blue"], seeds="1"), built(orders=["all"], seeds="4")
    assert few > 0
    assert many == few
