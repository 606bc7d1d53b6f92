"""What is wrong with a model or a LoRA is blamed on it, with what to do; never on a training that was not done."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
import torch
import toy
from safetensors.torch import load_file, save_file

from rilbench.contracts.errors import ConfigError, DivergedError
from rilbench.contracts.prompt import Prompt
from rilbench.contracts.settings import build
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.progress import Reporter
from rilbench.engine.run import prepare
from rilbench.evaluation.evaluate import generate
from rilbench.files.model_path import check_local
from rilbench.model.loading import load_backbone
from rilbench.model.text_to_image import TextToImage
from rilbench_release import foreign


@pytest.mark.slow
def test_nan_images_of_the_model_itself(workplace: Path) -> None:
    file = workplace / "pipeline" / "unet" / "diffusion_pytorch_model.safetensors"
    state = load_file(file)
    save_file(state | {"conv_in.bias": state["conv_in.bias"] * torch.nan}, file)
    with pytest.raises(DivergedError, match=r"not finite \(NaN\).*no training") as told:
        toy.run(workplace)
    assert "train.lr" not in str(told.value)


@pytest.mark.slow
def test_nan_images_of_a_lora(workplace: Path) -> None:
    file = workplace / "style.safetensors"
    down, up = torch.ones(2, 8, 3, 3), torch.ones(4, 2, 1, 1)
    save_file({"unet.conv_out.lora_A.weight": down, "unet.conv_out.lora_B.weight": up}, file)
    with pytest.raises(DivergedError, match=r"after adding the LoRA; .*style\.safetensors@1e38 causes this; lower"):
        foreign.evaluate(toy.config(workplace), [f"{file}@1e38"], catalog=toy.catalog(), reporter=Reporter(quiet=True))


def test_nan_images_after_training(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = toy.config(workplace)
    components, plan = prepare(config, toy.catalog(), print)
    loaded = LoadedModel(config, components, plan, Reporter(quiet=True))
    monkeypatch.setattr(TextToImage, "decode", lambda self, z: z * torch.nan)
    told = r"after stage 1 \(red\); its training diverged; lower train\.lr"
    noise = torch.zeros(1, *loaded.model.latent_shape)
    with pytest.raises(DivergedError, match=told):
        generate(loaded.model, [Prompt("a red circle")], noise, loaded.origin(plan[1]))


def scheduler(folder: Path, **values: object) -> None:
    file = folder / "pipeline" / "scheduler" / "scheduler_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | values))


@pytest.mark.parametrize("sampler", ["ddim", "lcm"])
def test_an_unknown_prediction_is_refused(workplace: Path, sampler: str) -> None:
    scheduler(workplace, prediction_type="flow")
    with pytest.raises(ConfigError, match=r"prediction_type 'flow'.*epsilon, v_prediction, sample"):
        load_backbone(toy.config(workplace, f"model.sampler={sampler}").model)


@pytest.mark.slow
def test_noise_cannot_be_predicted_from_pure_noise(workplace: Path) -> None:
    """On the schedule whose last step has no signal, the image is the noise's prediction times infinity."""
    scheduler(workplace, rescale_betas_zero_snr=True)
    with pytest.raises(ConfigError, match=r"ends in pure noise .* set prediction_type to v_prediction"):
        load_backbone(toy.config(workplace, "model.spacing=trailing").model)
    load_backbone(toy.config(workplace, "model.spacing=leading").model)
    scheduler(workplace, prediction_type="v_prediction")
    load_backbone(toy.config(workplace, "model.spacing=trailing").model)


def test_what_a_scheduler_refuses_is_no_traceback(workplace: Path) -> None:
    scheduler(workplace, beta_schedule="squaredcos_cap_v2", trained_betas=None, num_train_timesteps="many")
    with pytest.raises(ConfigError, match=r"^model\.path: "):
        load_backbone(toy.config(workplace).model)


@pytest.mark.slow
def test_a_file_is_converted_by_the_command_told(tmp_path: Path) -> None:
    """The class is that of the weights; a shell passes the command on whole."""
    for name, weight, kind in (
        ("xl", "conditioner.embedders.1.model.ln_final.bias", "StableDiffusionXLPipeline"),
        ("old", "cond_stage_model.transformer.bias", "StableDiffusionPipeline"),
        ("flux", "double_blocks.0.img_attn.qkv.weight", "FluxPipeline"),
        ("it's", "joint_blocks.0.bias", "StableDiffusion3Pipeline"),
    ):
        file = tmp_path / name / "model.safetensors"
        file.parent.mkdir()
        save_file({weight: torch.ones(1)}, file)
        for given in (file, file.parent):
            with pytest.raises(ConfigError) as told:
                check_local(str(given))
            command = re.search(r"convert it with: python -c (.*); then use model\.path=", str(told.value))
            assert command is not None
            assert f"{kind}.from_single_file(" in command[1]
            parsed = subprocess.run(
                [
                    "sh",
                    "-c",
                    f"{sys.executable} -c 'import ast, sys; print(ast.dump(ast.parse(sys.argv[1])))' {command[1]}",
                ],
                capture_output=True,
                text=True,
                check=True,
            )
            assert repr(str(file)) in parsed.stdout
            assert "save_pretrained" in parsed.stdout


def test_no_pipeline_and_no_folder(workplace: Path) -> None:
    (workplace / "empty").mkdir()
    with pytest.raises(ConfigError, match=r"no model_index\.json.*`save_pretrained`"):
        toy.run(workplace, f"model.path={workplace}/empty")
    with pytest.raises(ConfigError, match=r"no folder at './away'"):
        toy.run(workplace, "model.path=./away")


def test_a_path_that_is_not_there_may_be_a_hub_id(workplace: Path) -> None:
    told = "there is no folder 'models/sd15' .* Hub.* missing files"
    with pytest.raises(ConfigError, match=told):
        toy.run(workplace, "model.path=models/sd15")


@dataclass(frozen=True)
class Careful:
    """Checks itself."""

    lam: float = 1.0

    def __post_init__(self) -> None:
        if self.lam == 2:
            raise ConfigError("lam: 2 is not odd")
        if self.lam == 3:
            raise ConfigError("must not be three")


def test_messages_are_not_glued() -> None:
    with pytest.raises(ConfigError, match=r"^strategy 'x'\.lam: 2 is not odd$"):
        build(Careful, {"lam": 2.0}, "strategy 'x'")
    with pytest.raises(ConfigError, match=r"^strategy 'x': must not be three$"):
        build(Careful, {"lam": 3.0}, "strategy 'x'")
