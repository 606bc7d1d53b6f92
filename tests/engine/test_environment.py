"""The record of what a run ran on."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from rilbench.engine import environment


def test_what_the_numbers_of_a_cpu_depend_on_is_recorded() -> None:
    record = environment.describe("cpu")
    assert record["cpu"] == record["device_name"] == environment.cpu()
    assert record["instructions"] == torch.backends.cpu.get_cpu_capability()
    assert f"BLAS_INFO={record['blas']}," in torch.__config__.show()
    assert record["threads"] == torch.get_num_threads()
    assert record["packages"]["torch"] == torch.__version__.partition("+")[0]


def test_the_model_of_the_cpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Path, "read_text", lambda path: "processor\t: 0\nmodel name\t: Some CPU @ 2 GHz\n")
    assert environment.cpu() == "Some CPU @ 2 GHz"
    monkeypatch.setattr(Path, "read_text", lambda path: "processor\t: 0\n")  # ARM names none
    assert environment.cpu()
