"""A plugin of the API version before works unchanged; once published, a contract is kept."""

from __future__ import annotations

import hashlib
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import toy
from checkout import ROOT

from rilbench.contracts.components import API_VERSION, SUPPORTED
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter

FROZEN = ROOT / "tests" / "support" / "frozen_v1.py"
SHA256 = "5dcbaec2ab81a5126eb3a80ec582f27b962e1d6c8cfa5eb369aca0d24831a917"
POINTS = [
    EntryPoint("window", "frozen_v1:Window", "rilbench.rewards"),
    EntryPoint("frozen_contrast", "frozen_v1:Contrast", "rilbench.metrics"),
    EntryPoint("brightest", "frozen_v1:Brightest", "rilbench.metrics"),
    EntryPoint("twice", "frozen_v1:Twice", "rilbench.strategies"),
    EntryPoint("diary", "frozen_v1:Diary", "rilbench.hooks"),
]


def test_the_frozen_plugin_is_as_it_was_and_of_a_supported_version() -> None:
    assert hashlib.sha256(FROZEN.read_bytes()).hexdigest() == SHA256, "never edit it; freeze another for a new version"
    assert SUPPORTED == (API_VERSION - 1, API_VERSION)
    assert 1 in SUPPORTED, "drop this file together with version 1, and freeze one of the next version"


@pytest.mark.parametrize("strategy", ["twice", "rid"])
def test_a_plugin_of_version_1_still_runs(
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
    assert "warning" not in capsys.readouterr().err
