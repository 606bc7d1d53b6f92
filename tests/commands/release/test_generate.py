"""`rilbench generate` draws what an evaluation drew."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import toy
from PIL import Image
from typer.testing import CliRunner

from rilbench.cli.group import INTERRUPTED
from rilbench.cli.main import app
from rilbench.contracts.errors import UsageError
from rilbench.engine.saved import SavedRun, open_run
from rilbench_release.command import _numbers, generate

PROMPTS = ["a red circle", "a blue square", "a green ring"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> SavedRun:
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(pipeline, folder / "pipeline")
    made = toy.run(folder, "strategy=rid", "train.lr=0.2", "evaluate.pictures=3")
    return open_run(str(made.folder), toy.catalog())


def pixels(file: Path) -> np.ndarray:
    with Image.open(file) as image:
        return np.asarray(image).astype(int)


def evaluated(run: SavedRun, stage: int, number: int) -> np.ndarray:
    return pixels(run.folder.parent / run.rows[stage].evaluation / f"sample-{number}.png")


@pytest.fixture
def draw(run: SavedRun, monkeypatch: pytest.MonkeyPatch) -> object:
    """The command on the run, whose components are toys."""
    monkeypatch.setattr("rilbench_release.command.catalog", lambda given: toy.catalog())
    return lambda **options: generate(str(run.folder), **options)


@pytest.mark.slow
def test_an_evaluation_is_drawn_again_bit_for_bit(run: SavedRun, draw, tmp_path: Path) -> None:
    file = tmp_path / "prompts.txt"
    file.write_text("\n".join(PROMPTS))
    draw(prompts=str(file), stage="all", images=2, output=tmp_path / "drawn")
    for stage in range(3):
        for number in range(3):
            drawn = pixels(tmp_path / "drawn" / f"stage-{stage}" / f"sample-{2 * number}.png")
            assert np.array_equal(drawn, evaluated(run, stage, number))
    assert not np.array_equal(evaluated(run, 0, 0), evaluated(run, 2, 0))
    assert len(list((tmp_path / "drawn").rglob("sample-*.png"))) == 3 * 3 * 2


@pytest.mark.slow
def test_one_picture_alone(run: SavedRun, draw, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "one.png"
    draw(prompt=[PROMPTS[1]], output=file)
    assert capsys.readouterr().out == f"{file}\n"
    assert np.abs(pixels(file) - evaluated(run, 2, 1)).max() <= 1  # a batch of one rounds otherwise
    draw(prompt=[PROMPTS[1]], stage="1", output=file)
    assert np.abs(pixels(file) - evaluated(run, 1, 1)).max() <= 1
    draw(prompt=[PROMPTS[1]], seed=9, output=file)
    assert np.abs(pixels(file) - evaluated(run, 2, 1)).max() > 5
    assert sorted(tmp_path.iterdir()) == [file]


@pytest.mark.slow
def test_a_grid_of_stages(run: SavedRun, draw, tmp_path: Path) -> None:
    """Rows prompts, columns stages: each cell is the enlarged picture."""
    draw(prompt=PROMPTS[:2], stage="0,2", output=tmp_path / "grid.png")
    grid = pixels(tmp_path / "grid.png")
    head = grid.shape[0] - 2 * 134  # two lines of text
    assert grid.shape[1:] == (220 + 2 * 134, 3)
    for row in range(2):
        for column, stage in enumerate((0, 2)):
            top, left = head + row * 134, 220 + column * 134
            cell = grid[top : top + 128 : 8, left : left + 128 : 8]
            assert np.abs(cell - evaluated(run, stage, row)).max() <= 1


@pytest.mark.slow
def test_negative_prompts(run: SavedRun, draw, tmp_path: Path) -> None:
    """A prompt's own comes first, then that of the option, then that of the run, which is none."""
    file = tmp_path / "prompts.csv"
    file.write_text(f"prompt,negative_prompt\n{PROMPTS[0]},dull\n{PROMPTS[1]},\n")

    def drawn(name: str, **options: object) -> list[np.ndarray]:
        draw(prompts=str(file), output=tmp_path / name, **options)
        return [pixels(tmp_path / name / "stage-2" / f"sample-{i}.png") for i in range(2)]

    (own, plain), (still_own, other) = drawn("plain"), drawn("option", negative_prompt="a blue ring")
    assert np.abs(plain - evaluated(run, 2, 1)).max() <= 1
    assert np.array_equal(own, still_own)
    assert min(np.abs(own - evaluated(run, 2, 0)).max(), np.abs(other - plain).max()) > 1
    record = json.loads((tmp_path / "option" / "generated.json").read_text())
    assert record["negative_prompt"] == "a blue ring"
    assert record["prompts"][0] == {"prompt": PROMPTS[0], "negative_prompt": "dull"}


@pytest.mark.slow
def test_mistakes(run: SavedRun, draw, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--prompt"):
        draw(output=tmp_path / "a.png")
    with pytest.raises(UsageError, match=r"--stage .*0,1,2.* all"):
        draw(prompt=["a"], stage="last", output=tmp_path / "a.png")
    with pytest.raises(UsageError, match="stage 7: rid-"):
        draw(prompt=["a"], stage="0,7", output=tmp_path / "a.png")
    assert _numbers(run, "2,0,2") == [2, 0]
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_what_is_in_the_way_is_kept(draw, tmp_path: Path) -> None:
    """A folder of earlier pictures is drawn into again; no other one is, and no file is overwritten by a folder."""
    draw(prompt=[PROMPTS[0]], output=tmp_path / "ours")
    draw(prompt=[PROMPTS[1]], output=tmp_path / "ours")
    (tmp_path / "photos" / "stage-2").mkdir(parents=True)
    (tmp_path / "photos" / "stage-2" / "sample-0.png").write_text("mine")
    (tmp_path / "thesis").write_text("mine")
    for name, told in (("photos", "photos.*folder"), ("thesis", "thesis.*file"), ("a.jpg", r"a\.jpg.*\.png")):
        with pytest.raises(UsageError, match=told):
            draw(prompt=[PROMPTS[0]], output=tmp_path / name)
    assert (tmp_path / "photos" / "stage-2" / "sample-0.png").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["ours", "photos", "thesis"]


@pytest.mark.slow
def test_an_empty_prompt_is_refused(draw, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--prompt"):
        draw(prompt=[PROMPTS[0], " "], output=tmp_path / "x.png")


def test_interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("rilbench.engine.saved.open_run", interrupt)
    done = CliRunner().invoke(app, ["generate", "run", "--prompt", "a"])
    assert (done.exit_code, done.stderr, done.stdout) == (130, f"{INTERRUPTED}\n", "")
