"""rilbench from Python does what the command line does, and gives its runs as objects."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import command
import notebook
import numpy as np
import pytest
import torch
import toy
from PIL import Image

import rilbench
from rilbench.contracts.errors import ConfigError, PluginError, RilbenchError, UsageError
from rilbench.model.randomness import evaluation_noise

PLUGINS = ["red=toy:Redness", "dark=toy:Darkness", "toy_contrast=toy:Contrast", "likeness=toy:Likeness"]
PROMPTS = ["a red circle", "a blue square", "a green ring"]
RID: dict[str, Any] = {"strategy": "rid", "settings": {"train.lr": 0.2}, "plugins": PLUGINS, "quiet": True}


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """A folder with the configuration `toy.yaml`, whose store is `runs` in it."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(pipeline, folder / "pipeline")
    toy.config(folder)
    return folder


@pytest.fixture(scope="module")
def run(place: Path) -> rilbench.Run:
    return rilbench.run(config=place / "toy.yaml", **RID)


def pixels(image: Image.Image) -> np.ndarray:
    return np.asarray(image).astype(int)


@pytest.mark.slow
def test_it_is_the_run_of_the_command_line(run: rilbench.Run, place: Path) -> None:
    plugins = [f"--plugin={plugin}" for plugin in PLUGINS]
    done = command.rilbench("run", "--config", place / "toy.yaml", "-s", "rid", "train.lr=0.2", *plugins, "--quiet")
    assert (done.code, done.err) == (0, "")
    assert [path.name for path in (place / "runs").glob("rid-*")] == [run.name] == [run.folder.name]
    assert run.result.command == f"rilbench run --config {place}/toy.yaml strategy=rid train.lr=0.2 {' '.join(plugins)}"


@pytest.mark.slow
def test_a_finished_run_is_returned_at_once(
    run: rilbench.Run, place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("rilbench.model.text_to_image.TextToImage.load", None)  # called, it would raise
    assert rilbench.run(config=place / "toy.yaml", **RID) == run
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_modes_of_a_notebook_change_no_number_and_stay(run: rilbench.Run, place: Path, tmp_path: Path) -> None:
    torch.set_default_dtype(torch.float64)
    try:
        with torch.inference_mode():
            again = rilbench.run(config=place / "toy.yaml", store=tmp_path, **RID)
            drawn = again.stage(-1).generate(PROMPTS, images=2, quiet=True)
            left = torch.is_inference_mode_enabled(), torch.is_grad_enabled(), torch.get_default_dtype()
    finally:
        torch.set_default_dtype(torch.float32)
    assert left == (True, False, torch.float64)
    assert again.table().equals(run.table())
    assert np.array_equal(pixels(drawn[0]), pixels(run.stage(-1).images[0]))


@pytest.mark.slow
def test_the_table_has_a_row_for_each_stage(run: rilbench.Run) -> None:
    table, fallen = run.table(), run.table(forgetting=True)
    assert list(table.index) == list(fallen.index) == ["0 base", "1 red", "2 dark"]
    assert list(table) == ["red", "dark", "toy_contrast", "likeness"]
    assert table.loc["2 dark", "red"] == run.stage(2).values["red"]
    assert fallen.loc["2 dark", "red"] == run.result.matrix.forgetting("red")
    assert fallen.loc["1 red"].isna().to_dict() == {"red": True, "dark": True, "toy_contrast": True, "likeness": False}
    assert run.name in repr(run)
    assert run.name in run._repr_html_()


@pytest.mark.slow
def test_stages_are_counted_from_both_ends(run: rilbench.Run) -> None:
    assert [stage.label for stage in run.stages] == ["base", "red", "dark"]
    assert run.stage(-1) == run.stage(2) == run.stages[-1]
    assert (run.stage(1).rewards, run.stage(0).rewards) == (("red",), ())
    for number in (3, -4):
        with pytest.raises(UsageError, match=rf"stage {number}: rid-.* has the stages 0 \(base\), 1 \(red\), 2 \(dark"):
            run.stage(number)


@pytest.mark.slow
def test_scores_are_those_of_single_images(run: rilbench.Run) -> None:
    scores = run.stage(-1).scores
    assert list(scores.index) == [(prompt, image) for prompt in PROMPTS for image in range(2)]
    values = {name: pytest.approx(value, abs=1e-6) for name, value in run.stage(-1).values.items()}
    assert dict(scores.mean()) == values


@pytest.mark.slow
def test_the_change_of_each_prompt(run: rilbench.Run) -> None:
    """By hand from the scores of single images, the worst first in the metric's direction."""
    for metric, sign in (("red", 1), ("toy_contrast", -1)):
        base, after = (run.stage(t).scores[metric].groupby("prompt", sort=False).mean() for t in (0, -1))
        found = run.stage(-1).prompts(metric)
        change = (sign * (after - base)).sort_values()
        assert list(found["prompt"]) == list(change.index)
        assert list(found["change"]) == [pytest.approx(value, abs=1e-6) for value in change]
        assert [PROMPTS[number] for number in found.index] == list(found["prompt"])
    with pytest.raises(UsageError, match=r"'fid' has no scores of single prompts; those that have: red, dark,"):
        run.stage(-1).prompts("fid")


@pytest.mark.slow
def test_scores_need_the_prompts_they_were_measured_on(run: rilbench.Run, place: Path) -> None:
    file = place / "prompts.txt"
    before = file.read_text()
    file.write_text("a red circle\n")
    try:
        with pytest.raises(ConfigError, match=f"evaluate.prompts: {file} is not what this run was measured on"):
            _ = run.stage(-1).scores
    finally:
        file.write_text(before)


@pytest.mark.slow
def test_an_evaluation_is_drawn_again_bit_for_bit(run: rilbench.Run) -> None:
    drawn = run.stage(-1).generate(PROMPTS, images=2, quiet=True)
    assert len(drawn) == 6
    for kept, again in zip(run.stage(-1).images, drawn[::2], strict=False):
        assert np.array_equal(pixels(kept), pixels(again))
    assert not np.array_equal(pixels(run.stage(0).images[0]), pixels(drawn[0]))
    (other,) = run.stage(-1).generate(PROMPTS[0], seed=9, quiet=True)
    assert np.abs(pixels(other) - pixels(drawn[0])).max() > 5


@pytest.mark.slow
def test_the_pipeline_samples_as_rilbench_does(run: rilbench.Run) -> None:
    pipe = run.stage(-1).pipeline()
    pipe.set_progress_bar_config(disable=True)
    noise = torch.cat([evaluation_noise(0, prompt, range(1), (4, 8, 8)) for prompt in PROMPTS])
    images = pipe(PROMPTS, latents=noise, num_inference_steps=4, guidance_scale=2.0).images
    for stage, close in ((2, True), (0, False)):
        drawn = run.stage(stage).generate(PROMPTS, quiet=True)
        far = max(np.abs(pixels(a) - pixels(b)).max() for a, b in zip(images, drawn, strict=True))
        assert bool(far <= 1) is close


@pytest.mark.slow
def test_pairs_make_the_model(run: rilbench.Run, place: Path) -> None:
    assert (run.stage(0).pairs, run.stage(0).pair) == ([], None)
    (first, one), (second, another) = run.stage(2).pairs
    assert one == another == 1.0
    mine, earlier = run.stage(2).pair, run.stage(1).pair
    assert mine
    assert earlier
    assert all(torch.equal(a, b) for a, b in zip(mine.factors, second.factors, strict=True))
    assert all(torch.equal(a, b) for a, b in zip(earlier.factors, first.factors, strict=True))
    soup = rilbench.run(config=place / "toy.yaml", **(RID | {"strategy": "soup"}))
    assert soup.stage(-1).pair is None
    assert [coefficient for _, coefficient in soup.stage(-1).pairs] == [0.5, 0.5]


@pytest.mark.slow
def test_a_plan_trains_nothing(run: rilbench.Run, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rilbench.model.text_to_image.TextToImage.load", None)
    same = {key: value for key, value in RID.items() if key != "quiet"}
    planned = rilbench.plan(config=place / "toy.yaml", **same)
    assert [stage.id for stage in planned] == [row.stage_id for row in run.result.matrix.rows]
    assert [(stage.label, dict(stage.rewards)) for stage in planned] == [
        ("base", {}),
        ("red", {"red": 1.0}),
        ("dark", {"dark": 1.0}),
    ]
    assert [stage.train and stage.train["lr"] for stage in planned] == [None, 0.2, 0.2]
    other = rilbench.plan(config=place / "toy.yaml", **(same | {"rewards": ["red", "red"]}))
    fresh = rilbench.plan(config=place / "toy.yaml", **(same | {"seed": 5}))
    stored = [[stage.stored for stage in each] for each in (planned, other, fresh)]
    assert stored == [[True, True, True], [False, False, False], [True, False, False]]


@pytest.mark.slow
def test_runs_are_loaded_from_a_store(run: rilbench.Run, place: Path, tmp_path: Path) -> None:
    found = rilbench.load_runs(place / "runs", settings={"model.device": "cpu"}, plugins=PLUGINS)
    (again,) = [each for each in found if each.name == run.name]
    assert again == run
    assert again.stage(-1).scores.equals(run.stage(-1).scores)
    with pytest.raises(UsageError, match="no runs at"):
        rilbench.load_runs(tmp_path)
    with pytest.raises(ConfigError, match=r"train\.lr has no effect"):
        rilbench.load_runs(place / "runs", settings={"train.lr": 1})


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arguments", "kind", "told"),
    [
        ({"settings": {"train.lrr": 1}}, ConfigError, "Did you mean 'lr'"),
        ({"settings": {"train.lr": -1}}, ConfigError, "train.lr: -1"),
        ({"settings": {"strategy_settings.soup.average": "factors"}}, ConfigError, "has no effect"),
        ({"strategy": "ridd"}, ConfigError, "Did you mean 'rid'"),
        ({"config": "shapess"}, ConfigError, "shapes"),
        ({"plugins": [*PLUGINS, "nowhere:Reward"]}, PluginError, "nowhere:Reward cannot be imported"),
        ({"plugins": [*PLUGINS, dict]}, PluginError, "subclass of Reward, Metric or Strategy"),
    ],
)
def test_mistakes_are_errors_of_rilbench(
    place: Path, arguments: dict[str, Any], kind: type[RilbenchError], told: str
) -> None:
    with pytest.raises(kind, match=told):
        rilbench.run(**({"config": place / "toy.yaml"} | RID | arguments))


CELL = """\
from rilbench import Reward

class Bright(Reward):
    def __call__(self, images, prompts):
        return images.mean((1, 2, 3)) * {factor}
"""


@pytest.mark.slow
def test_a_class_of_a_notebook_is_trained_again_when_it_changes(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    notebook.start(monkeypatch)

    def made(factor: int) -> rilbench.Run:
        plugins = [*PLUGINS, notebook.cell(CELL.format(factor=factor))["Bright"]]
        return rilbench.run(config=place / "toy.yaml", **(RID | {"plugins": plugins, "rewards": ["bright"]}))

    one, same, other = made(1), made(1), made(3)
    assert one == same
    assert one.result.matrix.rows[1].stage_id != other.result.matrix.rows[1].stage_id
    assert other.stage(0).values["bright"] == pytest.approx(3 * one.stage(0).values["bright"])
