"""docs/api.md and examples/compare_strategies.py run as they stand, but for settings that make them short."""

from __future__ import annotations

import re
import runpy
import sys
from pathlib import Path
from typing import Any

import pytest
from checkout import ROOT

PAGE = ROOT / "docs" / "api.md"
TINY = {
    "train.samples": 4,
    "train.batch_size": 2,
    "model.steps": 2,
    "model.device": "cpu",
    "evaluate.prompts": "prompts.txt",
    "evaluate.images_per_prompt": 1,
    "evaluate.metrics": ["attributes"],
    "tracking": False,
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With one store for page and example, which have runs in common."""
    return tmp_path_factory.mktemp("session")


@pytest.fixture(autouse=True)
def workplace(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    Path("prompts.txt").write_text(
        "a large red circle at the left on a blue background\na small red ring at the top on a blue background\n"
    )


def code(page: str) -> str:
    """The Python of a page, on the lines where it stands."""
    inside, lines = False, []
    for line in page.splitlines():
        fence = line.startswith("```")
        lines.append(line if inside and not fence else "")
        inside = line == "```python" if fence and not inside else inside and not fence
    return "\n".join(lines)


@pytest.mark.slow
def test_the_page_runs(capsys: pytest.CaptureFixture[str]) -> None:
    text, short = re.subn(r"^short = .*$", f"short = {TINY}", code(PAGE.read_text()), flags=re.M)
    assert short == 1
    Path("page.py").write_text(text)
    names: dict[str, Any] = runpy.run_path("page.py", run_name="__main__")
    out = capsys.readouterr().out
    assert "unknown setting in train 'lrr'. Did you mean 'lr'?" in out
    assert re.findall(r"^(\S+) (stored|to train or merge)", out, re.M) == [
        ("base", "stored"),
        ("aesthetic+hps", "to train or merge"),
    ]
    assert names["red"].stage(1).rewards == ("redness",)
    assert set(names["table"]["label"]) == {"rid", "baseline"}
    assert names["image"].size == names["before"].size == names["grid"][0].size == (32, 32)
    assert all(Path(f"{name}.html").stat().st_size > 1000 for name in ("curves", "gain", "forgetting"))


def test_the_page_describes_every_public_name_of_a_run() -> None:
    import rilbench

    page = PAGE.read_text()
    names = {n for cls in (rilbench.Run, rilbench.RunStage) for n in vars(cls) if not n.startswith("_")}
    used = {"name", "catalog", "settings", "run", "number", "label", "rewards", "values"}  # said by their names
    assert {name for name in names - used if not re.search(rf"[.`]{name}\b", page)} == set()


@pytest.mark.slow
def test_the_example_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = [f"{key}={','.join(value) if isinstance(value, list) else value}" for key, value in TINY.items()]
    monkeypatch.setattr(sys, "argv", ["compare_strategies.py", "-f", *arguments])
    runpy.run_path(str(ROOT / "examples" / "compare_strategies.py"), run_name="__main__")
    assert re.search(r"label +baseline +rid", capsys.readouterr().out)
    pictures = sorted(path.name for path in Path().glob("*.png"))
    stages = ("0-base", "1-aesthetic", "2-hps")
    assert pictures == [f"{label}-{stage}.png" for label in ("baseline", "rid") for stage in stages]
