"""Which LoRAs a setting names, where they are, and which are the same to a store."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
import toy
from huggingface_hub import constants
from safetensors.torch import save_file

from rilbench.contracts.errors import ConfigError
from rilbench.engine.budget.weights import weight_bytes
from rilbench.engine.config import load
from rilbench.engine.identity import base_document
from rilbench.engine.needed import inputs, needed
from rilbench.engine.parts import Parts
from rilbench.engine.run import prepare
from rilbench.files.loras import Lora, loras_of
from rilbench.files.published import MissingFilesError
from rilbench.files.states import states

COMMIT = "c" * 40


def lora(folder: Path, name: str = "style.safetensors", value: float = 1.0) -> Path:
    """Of one layer of the tiny pipeline."""
    folder.mkdir(parents=True, exist_ok=True)
    layer = "unet.down_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q"
    factors = {f"{layer}.lora_A.weight": torch.full((2, 8), value), f"{layer}.lora_B.weight": torch.ones(8, 2)}
    save_file(factors, folder / name)
    return folder / name


def model(*changes: str) -> dict[str, Any]:
    return dict(base_document(load("shapes", changes))["model"])


@pytest.mark.parametrize(
    ("text", "place", "scale"),
    [
        ("a.safetensors", "a.safetensors", 1.0),
        ("a.safetensors@0.5", "a.safetensors", 0.5),
        ("folder@-1e-1", "folder", -0.1),
        ("hub:o/r/f.safetensors@main", "hub:o/r/f.safetensors@main", 1.0),
        ("hub:o/r/f.safetensors@main@2", "hub:o/r/f.safetensors@main", 2.0),
        ("hub:o/r@0.7", "hub:o/r", 0.7),
        ("url:https://host:8080/f.safetensors@0.7", "url:https://host:8080/f.safetensors", 0.7),
    ],
)
def test_a_number_after_the_last_at_is_a_scale(text: str, place: str, scale: float) -> None:
    assert loras_of([text]) == [Lora(place, scale)]
    assert load("shapes", [f"model.lora={text},b"]).model.lora == (text, "b")


def test_a_file_with_an_at_in_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lora(tmp_path, "style@2")
    assert loras_of(["style@2", "style@2@3"]) == [Lora("style@2"), Lora("style@2", 3.0)]


def test_identity_is_contents_and_scale(tmp_path: Path) -> None:
    assert "lora" not in model()
    one, copied = lora(tmp_path), shutil.copy(lora(tmp_path), tmp_path / "other_name.safetensors")
    before = model(f"model.lora={one}")
    assert before == model(f"model.lora={copied}") == model(f"model.lora={one}@1.0")
    assert {key: value for key, value in before.items() if key != "lora"} == model()
    others = [model(f"model.lora={text}") for text in (f"{one}@0.5", f"{one},{one}")]
    lora(tmp_path, value=2.0)
    assert all(other != before for other in [*others, model(f"model.lora={one}")])
    beside = tmp_path / "adapter_config.json"
    beside.write_text(json.dumps({"r": 2, "lora_alpha": 1}))
    assert model(f"model.lora={copied}") == before  # settings next to a file that is not PEFT's
    folder = lora(tmp_path / "peft", "adapter_model.safetensors").parent
    plain = model(f"model.lora={folder}")
    shutil.copy(beside, folder)
    assert model(f"model.lora={folder}") != plain


def test_files_of_the_hub(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """They are needed, also PEFT's settings with the alpha; missing ones are named; the same file is the same LoRA."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(workplace / "hub"))
    peft, usual = f"hub:some/peft/adapter_model.safetensors@{COMMIT}", f"hub:some/usual@{COMMIT}"
    config = toy.config(workplace, f"model.lora={peft}@0.5,{usual}")
    listed = [need.file.name for need in needed(Parts(config, toy.catalog())) if need.by == ("model.lora",)]
    assert listed == ["adapter_model.safetensors", "adapter_config.json", "pytorch_lora_weights.safetensors"]
    with pytest.raises(MissingFilesError, match=r"adapter_model\.safetensors of hub:some/peft.*rilbench fetch"):
        prepare(config, toy.catalog(), pytest.fail)
    snapshot = workplace / "hub" / "models--some--peft" / "snapshots" / COMMIT
    own = lora(snapshot, "adapter_model.safetensors")
    (snapshot / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 2}))
    other = lora(workplace / "hub" / "models--some--usual" / "snapshots" / COMMIT, "pytorch_lora_weights.safetensors")
    _, plan = prepare(config, toy.catalog(), pytest.fail)
    local = toy.config(workplace, f"model.lora={own.parent}@0.5,{other}")
    assert plan[0].id == prepare(local, toy.catalog(), pytest.fail)[1][0].id
    assert [lora.name for lora in loras_of([peft, usual])] == ["peft", "usual"]


def test_what_is_not_there_is_told_before_anything_is_loaded(workplace: Path) -> None:
    for text, told in (
        ("nowhere.safetensors", "no file or folder 'nowhere"),
        (str(workplace), "contains 0 safetensors"),
    ):
        with pytest.raises(ConfigError, match=f"model.lora: .*{told}"):
            prepare(toy.config(workplace, f"model.lora={text}"), toy.catalog(), pytest.fail)


def test_a_finished_run_is_planned_again_when_a_lora_changed(workplace: Path) -> None:
    folder = lora(workplace / "peft", "adapter_model.safetensors").parent
    components, plan = prepare(toy.config(workplace, f"model.lora={folder}"), toy.catalog(), pytest.fail)
    before = inputs(components.parts, plan)
    (folder / "adapter_config.json").write_text(json.dumps({"r": 2, "lora_alpha": 1}))
    assert inputs(components.parts, plan) != before


@pytest.mark.parametrize("added", ["peft/adapter_model.safetensors", "peft/other.safetensors", "peft@0.5"])
def test_a_finished_run_is_planned_again_when_another_file_may_be_the_lora(workplace: Path, added: str) -> None:
    folder = lora(workplace / "peft", "pytorch_lora_weights.safetensors").parent
    components, plan = prepare(toy.config(workplace, f"model.lora={folder}@0.5"), toy.catalog(), pytest.fail)
    before = inputs(components.parts, plan)
    lora((workplace / added).parent, Path(added).name)
    assert states(map(Path, before)) != before


def test_the_branches_of_half_precision_take_memory(workplace: Path) -> None:
    plain, file = toy.config(workplace), lora(workplace)
    for precision, size in (("fp32", 0), ("bf16", 2 * (2 * 8 + 8 * 2))):
        settings = f"model.precision={precision}", f"model.lora={file}"
        bare, whole = (weight_bytes(toy.config(workplace, *settings[:n]).model) for n in (1, 2))
        assert whole - bare == size
    assert weight_bytes(plain.model) > 0
