"""A plugin that somebody published for API version 1 works."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import toy
from command import FEW

from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter

POINTS = [
    EntryPoint("window", "published_plugin:Window", "rilbench.rewards"),
    EntryPoint("frozen_contrast", "published_plugin:Contrast", "rilbench.metrics"),
    EntryPoint("brightest", "published_plugin:Brightest", "rilbench.metrics"),
    EntryPoint("twice", "published_plugin:Twice", "rilbench.strategies"),
    EntryPoint("diary", "published_plugin:Diary", "rilbench.hooks"),
]


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["twice", "rid"])
def test_a_plugin_of_version_1_runs(
    strategy: str, workplace: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow")
    options = [f"strategy={strategy}", "rewards=[window]", "reward_settings.window.share=0.25", "tracking=true"]
    config = toy.config(workplace, *options, "evaluate.metrics=[brightest]")
    folder, result, _ = engine.run(config, catalog=toy.catalog(*POINTS), reporter=Reporter())
    stages = 2 if strategy == "twice" else 1
    assert [row.label for row in result.matrix.rows] == ["base"] + ["window"] * stages
    assert set(result.matrix.rows[-1].values) == {"window", "frozen_contrast", "brightest"}
    assert result.matrix.rows[-1].values["window"] > result.matrix.rows[0].values["window"]
    diary = (folder / "diary.txt").read_text().splitlines()
    assert diary == ["started", *(f"stage {i}" for i in range(stages + 1)), "finished"]
    assert "warning" not in FEW.sub("", capsys.readouterr().err)
