"""Settings that trade memory for time: the numbers stay."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import ModuleType

import pytest
import torch
import toy
from safetensors.torch import load_file
from torch import Tensor

from rilbench.contracts.errors import ConfigError

BATCH = ("train.samples=10", "train.batch_size=5")


def trained(folder: Path, *changes: str) -> tuple[Tensor, list[dict[str, float]]]:
    """All factors of a run's stage, and its log."""
    store = f"store={folder}/runs-{len(list(folder.iterdir()))}"  # one of its own: some changes train nothing anew
    outcome = toy.run(folder, "rewards=[red]", store, *BATCH, *changes)
    stage = outcome.folder.parent / "stages" / outcome.result.matrix.rows[1].stage_id
    weights = load_file(stage / "adapter_model.safetensors")
    return torch.cat([weights[k].flatten() for k in sorted(weights)]), json.loads((stage / "stage.json").read_text())[
        "log"
    ]


STRATEGIES = {
    "baseline": ("strategy=baseline",),
    "rid": ("strategy=rid",),
    "joint": ("strategy=joint", "strategy_settings.joint.balance=gradients", "rewards=[red,dark]"),
}


@pytest.mark.slow
@pytest.mark.parametrize(("strategy", "sizes"), [("baseline", [1]), ("rid", [2, 3, 5]), ("joint", [2, 5])])
def test_micro_batches_give_the_gradient_of_the_batch(workplace: Path, strategy: str, sizes: list[int]) -> None:
    """5 is cut into 2 + 2 + 1 and 3 + 2: parts of unequal size count by their size."""
    whole, log = trained(workplace, *STRATEGIES[strategy])
    for size in sizes:
        cut, log_cut = trained(workplace, *STRATEGIES[strategy], f"train.micro_batch={size}")
        assert (whole - cut).norm() / whole.norm() < 1e-3
        for before, after in zip(log, log_cut, strict=True):
            assert after == pytest.approx(before, rel=2e-3, abs=1e-6)
        assert (size == 5) == torch.equal(whole, cut)


@pytest.mark.slow
def test_the_gradient_would_show_a_wrong_share(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rilbench.training.gradient import Gradient

    whole, _ = trained(workplace)
    backward = Gradient.backward
    monkeypatch.setattr(Gradient, "backward", lambda self, loss, step, share: backward(self, loss, step, 0.5))
    cut, _ = trained(workplace, "train.micro_batch=4")
    assert (whole - cut).norm() / whole.norm() > 0.01


@pytest.mark.slow
def test_eight_bit_without_its_library(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "bitsandbytes", None)
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", None)
    with pytest.raises(ConfigError, match=r"train.optimiser: adamw8bit .*pip install bitsandbytes"):
        trained(workplace, "train.optimiser=adamw8bit")


@pytest.mark.slow
def test_eight_bit_where_it_is_installed(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    used: list[float] = []

    class AdamW8bit(torch.optim.AdamW):
        def step(self, closure: object = None) -> None:  # type: ignore[override]
            used.append(self.param_groups[0]["lr"])
            super().step()

    library = ModuleType("bitsandbytes.optim")
    library.AdamW8bit = AdamW8bit  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bitsandbytes", ModuleType("bitsandbytes"))
    monkeypatch.setitem(sys.modules, "bitsandbytes.optim", library)
    trained(workplace, "train.optimiser=adamw8bit")
    assert used == [0.05, 0.05]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("train.optimiser=adam", "train.optimiser: 'adam' is not one of adamw, adamw8bit, sgd, adafactor"),
        ("train.micro_batch=-1", "train.micro_batch: -1 is not between 0 and 10000"),
    ],
)
def test_wrong_settings(workplace: Path, change: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        trained(workplace, change)
