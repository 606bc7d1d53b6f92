"""On a CUDA device: the numbers of a CPU, and equal models give equal bits there too."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import toy
from test_equal_models import distillation

from rilbench.testing import check_component
from rilbench_joint import Joint
from rilbench_rid import RID, RIDSettings

pytestmark = [
    pytest.mark.cuda,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device"),
]
LIKE = 0.02  # convolutions on a GPU round to TF32


def test_a_run_has_the_numbers_of_a_cpu(workplace: Path) -> None:
    """The untouched model's row to rounding; a trained one moves in the same direction."""
    rows = {}
    for device in ("cpu", "cuda"):
        changes = ("strategy=rid", f"model.device={device}", f"store={workplace}/{device}")
        rows[device] = toy.run(workplace, *changes).result.matrix.rows
    for name, value in rows["cpu"][0].values.items():
        assert rows["cuda"][0].values[name] == pytest.approx(value, rel=LIKE)
    gains = [after[1].values["red"] - after[0].values["red"] for after in rows.values()]
    assert min(gains) > 0
    assert gains[1] == pytest.approx(gains[0], rel=0.2)


@pytest.mark.parametrize("below", [0, 2])
@pytest.mark.parametrize(
    "model", [{}, {"guidance_gradient": False}, {"gradient_checkpointing": True}], ids=lambda m: "-".join(m) or "plain"
)
def test_an_equal_teacher_pulls_at_nothing(pipeline: Path, model: dict[str, object], below: int) -> None:
    settings = {"precision": "bf16", "device": "cuda"} | model
    assert not distillation(pipeline, RID(RIDSettings(lam=1e4)), settings, below=below, carry=False).any()


@pytest.mark.parametrize("strategy", [RID, Joint])
def test_the_contract_holds(strategy: type) -> None:
    assert [r for r in check_component(strategy, device="cuda", image_size=16) if not r.ok] == []
