"""A run on an export of its own first stage is the sequence continued."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import toy
from safetensors.torch import load_file

from rilbench.engine.run import Outcome
from rilbench.engine.saved import SavedRun, open_run
from rilbench_release.export import Export


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(pipeline, folder / "pipeline")
    return folder


def saved(made: Outcome) -> SavedRun:
    return open_run(str(made.folder), toy.catalog())


def pair_of(run: SavedRun, stage: int) -> dict[str, object]:
    return load_file(run.stage_folder(run.rows[stage].stage_id) / "adapter_model.safetensors")


@pytest.mark.slow
@pytest.mark.parametrize("strategy", ["rid", "baseline"])
def test_it_equals_the_sequence(place: Path, strategy: str) -> None:
    """Its base row is the sequence's row of stage 1, its stage 1 the sequence's stage 2: numbers and factors."""
    settings = f"strategy={strategy}", "train.lr=0.2", "train.samples=4"
    whole = saved(toy.run(place, *settings))
    for kind in ("diffusers", "peft"):
        Export(run=whole, stage=1, kind=kind).write(place / strategy / kind)
        lora = f"model.lora={place}/{strategy}/{kind}"
        later = saved(toy.run(place, *settings, lora, "rewards=dark", "first_stage=2", f"store={place}/{kind}"))
        for name in ("dark", "toy_contrast"):  # `likeness` compares with the own base model
            expected, found = (run.result.matrix.values(name) for run in (whole, later))
            assert found == pytest.approx(expected[1:], abs=1e-6)
            assert abs(expected[2] - expected[1]) > 1e-3
        factors, expected_factors = pair_of(later, 1), pair_of(whole, 2)
        assert factors.keys() == expected_factors.keys()
        assert all((factors[key] - expected_factors[key]).abs().max() < 1e-6 for key in factors)  # type: ignore[operator]
    again = saved(toy.run(place, *settings, lora, "rewards=dark"))  # its first stage draws as a first stage does
    assert abs(again.result.matrix.values("dark")[1] - expected[2]) > 1e-4
