"""A finished run that is continued: equal numbers to the run that names the whole sequence, and what is refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from command import rilbench as rilbench_command
from small_runs import SMALL

from rilbench.contracts.errors import RilbenchError, UsageError
from rilbench.contracts.pair import LoraPair
from rilbench.engine import continued
from rilbench.engine import run as engine
from rilbench.engine.after import read_kept
from rilbench.engine.memo import Outcome
from rilbench.engine.saved import open_run
from rilbench.model.attach import adapter_group
from rilbench.model.text_to_image import TextToImage
from rilbench.store.files import read_json, write_json
from rilbench.store.layout import RunFiles, Store
from rilbench.store.results import load_result


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """A working folder with a finished run of one reward."""
    folder = tmp_path_factory.mktemp("after")
    shutil.copytree(pipeline, folder / "pipeline")
    toy.run(folder, "rewards=red")
    return folder


@pytest.fixture
def own(place: Path, tmp_path: Path) -> Path:
    """A copy of it that a test may change; its settings name the folder that they are read from."""
    shutil.copytree(place, tmp_path / "own")
    file = tmp_path / "own" / "toy.yaml"
    file.write_text(file.read_text().replace(str(place), str(tmp_path / "own")))
    return tmp_path / "own"


def first(folder: Path) -> Path:
    """The run of one reward."""
    (found,) = (folder / "runs").glob("*-red-seed0-*")
    return found


def added(folder: Path, *settings: str, run: str = "") -> Outcome:
    """The run, continued with the reward `dark` unless the settings name others."""
    return toy.run(folder, "rewards=dark", f"after={run or first(folder).name}", *settings)


def numbers(outcome: Outcome) -> Any:
    """All that is measured, without times."""
    values = outcome.result.to_json()
    rows = [{k: v for k, v in row.items() if not k.endswith("seconds")} for row in values["stages"]]
    return {**values, "stages": rows, "command": ""}


def pair_of(outcome: Outcome) -> bytes:
    return Store(outcome.folder.parent).stage(outcome.result.matrix.rows[-1].stage_id).weights.read_bytes()


@pytest.mark.slow
@pytest.mark.parametrize("setting", ["strategy=rid", "strategy=baseline", "strategy_settings.rid.reset=false"])
def test_equals_the_whole_sequence(workplace: Path, setting: str) -> None:
    """Bit for bit, with nothing shared between the two stores; the last one hands tensors from stage to stage."""
    settings = [setting]
    whole = toy.run(workplace, *settings, f"store={workplace}/whole")
    earlier = toy.run(workplace, *settings, "rewards=red")
    late = toy.run(workplace, *settings, "rewards=dark", f"after={earlier.result.name}")
    assert numbers(late) == numbers(whole)
    assert pair_of(late) == pair_of(whole)
    assert late.result.rewards == ("red", "dark")


def test_the_two_share_everything_in_one_store(own: Path) -> None:
    late = added(own)
    stages = set((own / "runs" / "stages").iterdir())
    assert toy.run(own).folder == late.folder
    assert set((own / "runs" / "stages").iterdir()) == stages


def test_another_store_gets_a_copy(own: Path) -> None:
    whole = toy.run(own)
    late = added(own, f"store={own}/other", run=str(first(own)))
    assert numbers(late) == numbers(whole)
    shutil.rmtree(own / "runs")
    assert len(open_run(str(late.folder), toy.catalog()).pairs(2)) == 2


def test_another_store_gets_the_evaluations_on_training_prompts_too(own: Path) -> None:
    settings = "rewards=red", "evaluate.train_prompts=2"
    earlier = toy.run(own, *settings)
    late = toy.run(own, *settings, f"store={own}/other", f"after={earlier.folder}")
    rows = zip(late.result.matrix.rows, earlier.result.matrix.rows, strict=False)
    assert [one.evaluate_seconds == two.evaluate_seconds for one, two in rows] == [True, True]


def test_another_strategy_rank_and_targets(own: Path) -> None:
    """The layers that only the first pair adapts keep its change while the second is trained and measured."""
    late = added(own, "strategy=baseline", "adapter.rank=3", "adapter.targets=to_k", "train.lr=0.01")
    assert late.result.label == "rid-then-baseline"
    saved = open_run(str(late.folder), toy.catalog())
    (one, _), (two, _) = saved.pairs(2)
    assert set(two.a) < set(one.a)
    assert {factor.shape[0] for factor in two.b.values()} == {3}
    network = TextToImage.load(saved.config.model).network
    group = adapter_group(network, targets=["to_k"], earlier=["to_q", "to_k", "to_v"])
    assert set(group.layers) == set(two.a)
    group.load_chain([(one, 1.0), (two, 0.0)])
    group.start(two)
    weights = {name: network.get_submodule(name).weight.clone() for name in one.a if name in group.base}
    for name, weight in weights.items():
        assert torch.equal(weight, group.base[name] + one.a[name] @ one.b[name])
    assert {name.rpartition(".")[2] for name in weights} == {"to_q", "to_k", "to_v"}
    with group.folded():
        assert all(torch.equal(network.get_submodule(n).weight, w) == (n not in two.a) for n, w in weights.items())
    whole = LoraPair.concatenated(saved.pairs(2))
    assert {factor.shape[0] for factor in whole.b.values()} == {2, 5}


def test_a_merge_scales_the_whole_sequence(own: Path) -> None:
    whole = toy.run(own, "strategy=wise_ft", f"store={own}/whole")
    late = added(
        own, "strategy=wise_ft", "label=wise", run=str(toy.run(own, "strategy=baseline", "rewards=red").folder)
    )
    assert late.result.matrix.rows[-1].stage_id == whole.result.matrix.rows[-1].stage_id
    again = toy.run(own, "strategy=baseline", "rewards=blue", f"after={late.result.name}")
    assert [row.label for row in again.result.matrix.rows] == ["base", "red", "dark", "merge", "blue"]
    assert [c for _, c in open_run(str(again.folder), toy.catalog()).chain(4)] == [0.5, 0.5, 1.0]


def test_a_soup_is_made_on_top_of_what_is_kept(own: Path) -> None:
    late = toy.run(own, "strategy=soup", "rewards=dark,blue", f"after={first(own).name}")
    chain = dict(open_run(str(late.folder), toy.catalog()).chain(4))
    assert chain[late.result.matrix.rows[1].stage_id] == pytest.approx(1.0)
    assert sorted(chain.values()) == pytest.approx([0.5, 0.5, 1.0])


def test_coefficients_of_a_soup_leave_what_is_kept(own: Path) -> None:
    settings = "strategy=soup", "strategy_settings.soup.coefficients={dark: 0.7, blue: 0.6}"
    config = toy.config(own, "rewards=dark,blue", f"after={first(own).name}", *settings)
    chain = dict(engine.prepare(config, toy.catalog(), pytest.fail)[1][-1].chain)
    assert chain.pop(load_result(first(own)).matrix.rows[1].stage_id) == 1.0
    assert sorted(chain.values()) == [0.6, 0.7]


def test_an_unfinished_run_has_only_the_rewards_that_it_trained(own: Path) -> None:
    result = load_result(first(own))
    write_json(RunFiles(first(own)).result, replace(result, status="failed", rewards=("red", "dark", "blue")).to_json())
    kept = read_kept(toy.config(own, "rewards=dark", f"after={first(own).name}@1"), toy.catalog())
    assert kept is not None
    assert kept.rewards == ("red",)


def test_the_first_stage_is_that_of_the_run(own: Path) -> None:
    assert "first_stage: the stages are numbered on" in refused(own, "first_stage=3")


def test_a_reward_that_comes_back_and_forgetting_from_the_first(own: Path) -> None:
    late = added(own)
    back = toy.run(own, "rewards=red", f"after={late.result.name}")
    matrix = back.result.matrix
    assert back.result.order == "red > dark > red"
    assert matrix.stage_of("red") == 3
    assert matrix.forgetting("red", 2) == max(matrix.values("red")[:3]) - matrix.values("red")[2]
    assert not matrix.masked("red", 2)
    other = toy.run(own, "rewards=blue", f"after={back.result.name}@1")
    assert other.result.order == "red > blue"


def refused(folder: Path, *settings: str) -> str:
    with pytest.raises(RilbenchError) as told:
        added(folder, *settings)
    return str(told.value)


def test_what_is_missing_or_damaged_is_named(own: Path) -> None:
    weights = Store(own / "runs").stage(load_result(first(own)).matrix.rows[1].stage_id).weights
    data = weights.read_bytes()
    weights.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    assert "stage 1 (red)" in refused(own)
    weights.unlink()
    text = refused(own)
    assert "stage 1 (red)" in text
    assert str(weights) in text


def test_another_base_model_is_refused(own: Path) -> None:
    assert "model.steps (4, now 5)" in refused(own, "model.steps=5")
    file = next((own / "pipeline").glob("unet/*.safetensors"))
    file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    assert "model.path" in refused(own)


def test_another_rank_cannot_continue_a_pair(own: Path) -> None:
    assert "adapter.rank=2" in refused(
        own, "strategy=baseline", "strategy_settings.baseline.group=false", "adapter.rank=4"
    )


def test_a_changed_reward_is_told(own: Path) -> None:
    record = Store(own / "runs").stage(load_result(first(own)).matrix.rows[1].stage_id).record
    values = read_json(record)
    values["document"]["rewards"][0]["version"] = "0.0.1"
    write_json(record, values)
    told: list[str] = []
    engine.prepare(toy.config(own, "rewards=dark", f"after={first(own).name}"), toy.catalog(), told.append)
    assert any("stage 1 (red)" in text and "version 0.0.1" in text for text in told)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("{run}@2", "no stage 2; it has 1 (red)"),
        ("{run}@0", "no stage 0"),
        ("{run}x", "Did you mean"),
        ("nowhere", "no run at 'nowhere'"),
        ("{run}@²", "no run at"),
    ],
)
def test_no_such_run_or_stage(place: Path, name: str, told: str) -> None:
    with pytest.raises(UsageError) as error:
        continued.find(name.format(run=first(place).name), place / "runs")
    assert told in str(error.value)


def test_a_folder_with_an_at_in_its_name(own: Path) -> None:
    folder = first(own).rename(own / "runs" / "red@7")
    assert continued.find(str(folder), own).result.rewards == ("red",)
    assert continued.find("red@7@1", own / "runs").stage == 1


def test_settings_are_those_of_the_run(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its label only for the same strategy."""
    monkeypatch.chdir(place)
    from rilbench.engine.request import Request

    def config(**options: Any) -> Any:
        return Request(None, [], [], quiet=True, arguments=[], after=first(place).name, **options).config

    read = config(rewards="dark")
    assert (read.adapter.rank, read.train.lr, read.rewards) == (2, 0.05, ("dark",))
    assert read.after == f"{first(place).name}@1"
    with pytest.raises(UsageError, match="name the rewards to add"):
        config()


@pytest.mark.slow
def test_an_export_is_continued(own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On another machine, where the store is not: bit for bit."""
    from rilbench_release.export import Export

    whole = toy.run(own)
    monkeypatch.chdir(tmp_path)
    Export(run=open_run(str(whole.folder), toy.catalog()), stage=1, kind="diffusers").write(tmp_path / "export")
    (own / "runs").rename(tmp_path / "gone")
    late = added(own, run=str(tmp_path / "export"))
    assert numbers(late) == numbers(whole)
    assert open_run("export", toy.catalog()).chain(1) == open_run(str(late.folder), toy.catalog()).chain(1)
    place = continued.find("export", own / "runs")
    assert (place.stage, place.result.rewards, place.result.status) == (1, ("red",), "finished")


@pytest.mark.parametrize("finished", [True, False])
def test_the_settings_for_other_stores_name_the_whole_sequence(own: Path, finished: bool) -> None:
    run = open_run(str(added(own).folder), toy.catalog())
    settings = (run if finished else replace(run, result=replace(run.result, status="failed"))).settings
    assert (settings.after, settings.rewards, settings.store) == ("", ("red", "dark"), "runs")
    plain = open_run(str(first(own)), toy.catalog())
    assert plain.settings == replace(plain.config, store="runs")


SETTINGS = "rewards: [sharpness]\n" + SMALL


@pytest.mark.slow
def test_the_commands(tmp_path: Path) -> None:
    """Run, repeat, explain, show, generate and export of a continued run, whose first one is then removed."""
    toy.save_pipeline(tmp_path / "model")
    (tmp_path / "prompts.txt").write_text("a\nb\n")
    (tmp_path / "small.yaml").write_text(SETTINGS)

    def done(*arguments: object) -> str:
        ended = rilbench_command(*arguments, cwd=tmp_path)
        assert ended.code == 0, ended.err
        return ended.out

    name = json.loads(done("run", "-c", "small.yaml", "-q", "--json"))["name"]
    asked = ("--after", f"runs/{name}", "--rewards", "0.5*incompressibility")
    plan = json.loads(done("explain", *asked, "--json"))
    assert [(stage["label"], stage["kept"]) for stage in plan["stages"]] == [
        ("base", False),
        ("sharpness", True),
        ("0.5*incompressibility", False),
    ]
    late = json.loads(done("run", *asked, "-q", "--json"))
    assert late["rewards"] == ["sharpness", "0.5*incompressibility"]
    assert done("run", *asked, "-q", "--json") == done("run", "-q", "--json", "-c", f"runs/{late['name']}/config.yaml")
    chain = json.loads(done("runs", "show", late["name"], "--json"))["chain"]
    assert [row["from"] for row in chain] == [name, "this run"]
    assert [row["rewards"][0].split()[:3] for row in chain] == [
        ["1", "x", "sharpness"],
        ["1", "x", "0.5*incompressibility"],
    ]
    assert "0.5*incompressibility" in done("runs", "show", late["name"])
    done("runs", "remove", name, "--yes")
    done("generate", late["name"], "--prompt", "a", "--stage", "1,2", "-q", "-o", "both.png")
    done("export", late["name"], "-q", "-o", "exported")
    again = json.loads(done("run", "--after", "exported@1", "--rewards", "sharpness", "store=other", "-q", "--json"))
    assert again["rewards"] == ["sharpness", "sharpness"]
    refused = rilbench_command("study", "after=x", "--strategies", "rid", "--rewards", "hps", cwd=tmp_path)
    assert (refused.code, "continue a run with rilbench run" in refused.err) == (3, True)
