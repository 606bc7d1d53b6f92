"""Which models are the same to a store."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from rilbench.analysis.methods import telling
from rilbench.contracts.settings import setting
from rilbench.engine.config import load
from rilbench.engine.documents import settings_document
from rilbench.engine.identity import base_document

COMMIT = "c" * 40


def model(*changes: str) -> dict[str, Any]:
    return dict(base_document(load("shapes", changes))["model"])


def test_what_was_read_in_half_is_not_what_is_read_in_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    changes = "model.path=some/model", f"model.revision={COMMIT}"
    folder = tmp_path / "models--some--model" / "snapshots" / COMMIT
    before = model(*changes)
    for name in ("unet/diffusion_pytorch_model.fp16.safetensors", "vae/diffusion_pytorch_model.safetensors"):
        (folder / name).parent.mkdir(parents=True)
        (folder / name).touch()
    assert (before["half"], model(*changes)) == ([], before | {"half": ["unet"]})
    (folder / "unet/diffusion_pytorch_model.safetensors").touch()
    assert model(*changes) == before


def test_a_setting_that_was_added_later_is_unknown_to_results_without_it() -> None:
    """At its default it is in no identity, and a run recorded before it is not another method."""
    assert "negative_prompt" not in model()
    assert model("model.negative_prompt=blurred")["negative_prompt"] == "blurred"
    assert telling({"model.negative_prompt": "", "model.steps": 4}) == {"model.steps": 4}
    assert "model.negative_prompt" in telling({"model.negative_prompt": "blurred"})


@dataclass(frozen=True)
class Settings:
    """Of a plugin."""

    old: float = setting(1.0, "is in every identity")
    new: tuple[int, ...] = setting((), "was added later", added=True)


def test_a_plugin_may_add_a_setting_too() -> None:
    assert settings_document(Settings()) == {"old": 1.0}
    assert settings_document(Settings(new=(3,))) == {"old": 1.0, "new": [3]}
