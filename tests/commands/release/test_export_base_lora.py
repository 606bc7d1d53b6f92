"""Exports of a run whose base model has a LoRA: the pairs alone, with it as one LoRA, or merged."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import lora_files
import pytest
import torch
import toy
from diffusers import StableDiffusionPipeline
from torch import Tensor

from rilbench.api.drawing import StageModel
from rilbench.contracts.errors import ConfigError, UsageError
from rilbench.engine.progress import Reporter
from rilbench.engine.saved import SavedRun, open_run
from rilbench.files.hub import digest
from rilbench.model.randomness import evaluation_noise
from rilbench.model.text_to_image import TextToImage
from rilbench_release.export import Export

PROMPTS = ["a red circle", "a blue square"]
UNET = ("to_q", "to_v", "conv1", "proj_in", "conv_out")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:Already found a `peft_config`:UserWarning"),  # in PEFT, of a second LoRA
]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """A run on a LoRA of denoiser and text encoder, `runs/both`, and one on a LoRA of the denoiser, `runs/unet`."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(pipeline, folder / "pipeline")
    for name, parts in (
        ("both", {"unet": UNET, "text_encoder": ("q_proj", "out_proj", "fc1")}),
        ("unet", {"unet": UNET}),
    ):
        made = lora_files.factors(plain(folder), parts, rank=8, seed=1)
        file = lora_files.save_kohya(folder / f"{name}.safetensors", made, alpha=1.0)
        settings = "strategy=baseline", f"model.lora={file}@0.7", "rewards=red,dark", "first_stage=3"
        toy.run(folder, *settings, "train.lr=0.2", "train.samples=4").folder.rename(folder / "runs" / name)
    return folder


def plain(place: Path) -> Any:
    return StableDiffusionPipeline.from_pretrained(str(place / "pipeline"), safety_checker=None)


def opened(place: Path, name: str = "both", *settings: str) -> SavedRun:
    return open_run(str(place / "runs" / name), toy.catalog(), settings)


def exported(run: SavedRun, kind: str, folder: Path, *, with_base_lora: bool = False) -> Path:
    Export(run=run, stage=2, kind=kind, with_base_lora=with_base_lora).write(folder)
    return folder


def noise() -> Tensor:
    return torch.cat([evaluation_noise(5, prompt, range(1), (4, 8, 8)) for prompt in PROMPTS])


def ours(run: SavedRun, stage: int = 2) -> Tensor:
    model = StageModel(run, Reporter(quiet=True)).after(stage)
    with torch.no_grad():
        return model.decode(model.rollout(noise(), PROMPTS))


def error(pipe: Any, expected: Tensor) -> float:
    pipe.set_progress_bar_config(disable=True)
    made = pipe(PROMPTS, latents=noise(), num_inference_steps=4, guidance_scale=2.0, output_type="pt").images
    return float((made - expected).abs().max())


def test_the_card_of_the_pairs_alone(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It names what the export needs, and its code makes the run's images."""
    run = opened(place)
    monkeypatch.chdir(place)
    for kind in ("diffusers", "peft"):
        folder = exported(run, kind, tmp_path / kind)
        text = (folder / "README.md").read_text()
        assert f"| `both` | 0.7 | `{digest(place / 'both.safetensors')}` | a local file |" in text
        assert "model.lora=both.safetensors@0.7,this-folder first_stage=5" in text
        code = text.split("```python\n")[1].split("```")[0].replace("the-base-model", str(place / "pipeline"))
        names: dict[str, Any] = {}
        exec(code.replace("this-folder", str(folder)), names)
        assert error(names["pipe"], ours(run)) < 1e-5
        record = json.loads((folder / "rilbench.json").read_text())
        assert [(lora["name"], lora["scale"]) for lora in record["base_lora"]] == [("both", 0.7)]
        assert record["next_stage"] == 5


def test_one_lora_with_all_of_it(place: Path, tmp_path: Path) -> None:
    run = opened(place)
    folder = exported(run, "diffusers", tmp_path / "lora", with_base_lora=True)
    text = (folder / "README.md").read_text()
    assert "the exact sum of the stages' pairs and the base model's LoRAs" in text
    assert "does not contain" not in text
    for file in ("pytorch_lora_weights.safetensors", next(folder.glob("*-webui.safetensors")).name):
        pipe = plain(place)
        assert error(pipe, ours(run)) > 1e-2
        pipe.load_lora_weights(str(folder), weight_name=file)
        assert error(pipe, ours(run)) < 1e-5
        model = TextToImage.load(toy.config(place, f"model.lora={folder / file}").model)
        assert (model.decode(model.rollout(noise(), PROMPTS)) - ours(run)).abs().max() < 1e-5


def test_with_peft_of_the_denoiser_alone(place: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    with pytest.raises(UsageError, match=r"--with-base-lora: .* layers of text_encoder; use --format diffusers"):
        exported(opened(place), "peft", tmp_path / "peft", with_base_lora=True)
    run = opened(place, "unet")
    folder, pipe = exported(run, "peft", tmp_path / "peft", with_base_lora=True), plain(place)
    pipe.unet = PeftModel.from_pretrained(pipe.unet, folder)
    assert error(pipe, ours(run)) < 1e-5


def test_a_merged_model_has_it(place: Path, tmp_path: Path) -> None:
    run = opened(place)
    folder = exported(run, "merged", tmp_path / "merged")
    pipe = StableDiffusionPipeline.from_pretrained(str(folder), safety_checker=None)
    assert error(pipe, ours(run)) < 1e-5


def test_a_run_without_lora_has_none_to_include(place: Path) -> None:
    run = opened(place)
    bare = SavedRun(run.result, toy.config(place), run.catalog)
    with pytest.raises(UsageError, match=r"--with-base-lora: the base model of this run has no LoRA"):
        Export(run=bare, stage=1, kind="diffusers", with_base_lora=True)


def test_the_base_model_is_checked_by_the_contents_of_its_loras(place: Path, tmp_path: Path) -> None:
    """Another name is the same LoRA; another scale, file, or none is another model."""
    moved = shutil.copy(place / "both.safetensors", tmp_path / "moved.safetensors")
    opened(place, "both", f"model.lora={moved}@0.7").check_base()
    for other in (f"model.lora={moved}", f"model.lora={place}/unet.safetensors@0.7", "model.lora=[]"):
        with pytest.raises(
            ConfigError, match=r"is not the model this run was trained on; .* its LoRAs with model\.lora"
        ):
            opened(place, "both", other).check_base()
