"""Models and LoRAs from elsewhere are measured as runs are; an exported run measures as itself."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
import toy
from diffusers import StableDiffusionPipeline
from peft import LoraConfig
from safetensors.torch import load_file, save_file

from rilbench.analysis.comparison import compare
from rilbench.contracts.errors import ConfigError, UsageError
from rilbench.contracts.prompt import Prompt
from rilbench.contracts.result import RunResult
from rilbench.engine.progress import Reporter
from rilbench.engine.saved import SavedRun, open_run
from rilbench.evaluation.evaluate import generate, to_pixels
from rilbench.model.attach import adapter_group
from rilbench.model.randomness import evaluation_noise
from rilbench.model.text_to_image import TextToImage
from rilbench.store.results import load_result
from rilbench_release import command, foreign
from rilbench_release.export import Export
from rilbench_report.page import write_report


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(pipeline, folder / "pipeline")
    made = toy.run(folder, "strategy=rid", "train.lr=0.2", "train.samples=4")
    made.folder.rename(folder / "runs" / "rid")
    for kind in ("diffusers", "peft", "merged"):
        Export(run=saved(folder), stage=2, kind=kind).write(folder / kind)
    return folder


def saved(place: Path) -> SavedRun:
    return open_run(str(place / "runs" / "rid"), toy.catalog())


def measured(place: Path, lora: str | None = None, *settings: str) -> tuple[Path, RunResult]:
    config = toy.config(place, *settings)
    return foreign.evaluate(config, [lora] if lora else [], catalog=toy.catalog(), reporter=Reporter(quiet=True))


def close(one: RunResult, row: int, other: RunResult, at: int) -> bool:
    values, expected = one.matrix.rows[row].values, other.matrix.rows[at].values
    return values.keys() == expected.keys() and all(
        v == pytest.approx(expected[k], abs=2e-5) for k, v in values.items()
    )


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["diffusers", "webui", "peft", "stage"])
def test_an_exported_run_gives_its_own_numbers(place: Path, kind: str) -> None:
    run = saved(place)
    stage = run.stage_folder(run.rows[1].stage_id)
    web = next((place / "diffusers").glob("*-webui.safetensors"))
    file = {"diffusers": place / "diffusers", "webui": web, "peft": place / "peft", "stage": stage}[kind]
    folder, result = measured(place, str(file), f"label={kind}")
    assert close(result, 0, run.result, 0)
    assert result.matrix.rows[0].evaluation == run.rows[0].evaluation  # of the store, not measured again
    assert close(result, 1, run.result, 1 if kind == "stage" else 2)
    assert not close(run.result, 2, run.result, 1)
    assert result.matrix.rows[1].label == kind
    assert load_result(folder) == result
    assert (folder / "samples.png").stat().st_size > 0
    values = result.matrix.values("toy_contrast")  # lower is better
    assert result.matrix.forgetting("toy_contrast") == pytest.approx(max(0.0, values[1] - values[0]))
    assert not any(result.matrix.masked(name, 1) for name in ("red", "dark", "toy_contrast"))


@pytest.mark.slow
def test_a_merged_model_is_one_row(place: Path, tmp_path: Path) -> None:
    _, result = measured(place, None, f"model.path={place}/merged", f"store={tmp_path}")
    assert [row.label for row in result.matrix.rows] == ["base"]
    values, expected = result.matrix.rows[0].values, saved(place).rows[2].values
    assert all(values[name] == pytest.approx(expected[name], abs=2e-5) for name in ("red", "dark", "toy_contrast"))


@pytest.mark.slow
def test_scale(place: Path) -> None:
    """Half the LoRA is the chain with halved coefficients; none of it is the base."""
    _, none = measured(place, f"{place}/diffusers@0", "label=none")
    for name in ("red", "dark", "toy_contrast"):
        assert none.matrix.values(name)[1] == pytest.approx(none.matrix.values(name)[0], abs=2e-5)
    _, half = measured(place, f"{place}/diffusers@0.5", "label=half")
    run = saved(place)
    model = TextToImage.load(run.config.model)
    group = adapter_group(model.network, targets=run.config.adapter.targets)
    group.load_chain([(pair, c / 2) for pair, c in run.pairs(2)])
    prompts = ["a red circle", "a blue square", "a green ring"]
    images = torch.cat(
        [generate(model, [Prompt(p)] * 2, evaluation_noise(0, p, range(2), model.latent_shape)) for p in prompts]
    )
    seen = to_pixels(images).float() / 255  # as metrics see them
    assert half.matrix.values("red")[1] == pytest.approx(float(seen[:, 0].mean()), abs=2e-5)
    assert not close(half, 1, run.result, 2)


@pytest.mark.slow
def test_it_is_compared_with_runs(place: Path) -> None:
    folder, result = measured(place, f"{place}/peft", "label=mine")
    warnings: list[str] = []
    table = compare([saved(place).result, result], warn=warnings.append)
    assert warnings == []
    assert set(table.orders["label"]) == {"rid", "mine"}
    assert set(table.orders["order"]) == {"red > dark"}
    file = place / "report.html"
    write_report([str(saved(place).folder), str(folder)], file, toy.catalog(), pytest.fail)
    assert "A LoRA that was trained elsewhere" in file.read_text()


@pytest.mark.slow
def test_a_model_alone_is_nobodys_base(place: Path, tmp_path: Path) -> None:
    _, alone = measured(place, None, f"model.path={place}/merged", "label=alone")
    table = compare([alone, saved(place).result], warn=pytest.fail)
    assert table.base("red") == saved(place).result.matrix.values("red")[0] != alone.matrix.values("red")[0]
    assert compare([alone], warn=pytest.fail).base("red") == alone.matrix.values("red")[0]


@pytest.mark.slow
def test_the_command(place: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("rilbench.engine.request.Catalog.of", lambda plugins: toy.catalog())
    monkeypatch.setattr("sys.argv", ["rilbench", "evaluate", "it"])
    toy.config(place)
    file, model = str(place / "toy.yaml"), str(place / "pipeline")
    command.evaluate(model, lora=[f"{place}/peft"], config=file, rewards="dark,blue", as_json=True)
    told = json.loads(capsys.readouterr().out)
    assert (told["strategy"], told["label"], told["rewards"]) == ("lora", "lora", ["dark", "blue"])
    assert told["command"] == "rilbench evaluate it"
    assert [stage["label"] for stage in told["stages"]] == ["base", "peft"]
    assert set(told["stages"][1]["values"]) == {"dark", "blue", "toy_contrast", "likeness"}
    assert load_result(Path(told["folder"])).status == "finished"
    command.evaluate(model, config=file, label="plain")
    assert "plain: value (forgetting)" in capsys.readouterr().out


def save_lora(place: Path, file: Path, *, unet: list[str], text: list[str], alpha: int = 8) -> None:
    """A LoRA of rank 4 with random factors, saved by diffusers in kohya's format."""
    from diffusers.utils import convert_state_dict_to_kohya
    from peft.utils import get_peft_model_state_dict

    pipe = StableDiffusionPipeline.from_pretrained(str(place / "pipeline"), safety_checker=None)
    state = {}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        for name, part, targets in (("unet", pipe.unet, unet), ("text_encoder", pipe.text_encoder, text)):
            if targets:
                part.add_adapter(LoraConfig(r=4, target_modules=targets, init_lora_weights=False))
                state |= {f"{name}.{key}": value for key, value in get_peft_model_state_dict(part).items()}
    kohya = convert_state_dict_to_kohya(state)
    save_file(
        {k: torch.tensor(float(alpha)) if k.endswith("alpha") else v.contiguous() for k, v in kohya.items()}, file
    )


@pytest.mark.slow
def test_layers_that_we_do_not_train_are_used(place: Path, tmp_path: Path) -> None:
    """Convolutions and the text encoder; alpha is not the rank. Against the plain pipeline with the same file."""
    file = tmp_path / "style.safetensors"
    save_lora(
        place,
        file,
        unet=["to_q", "conv1", "proj_in", "ff.net.0.proj"],
        text=["q_proj", "k_proj", "v_proj", "out_proj", "fc1"],
    )
    noise = evaluation_noise(0, "a red circle", range(1), (4, 8, 8))
    images = {}
    for scale in (1.0, 0.5):
        pipe = StableDiffusionPipeline.from_pretrained(str(place / "pipeline"), safety_checker=None)
        pipe.load_lora_weights(str(file), adapter_name="style")
        pipe.set_adapters(["style"], [scale])
        pipe.set_progress_bar_config(disable=True)
        kwargs = {"num_inference_steps": 4, "guidance_scale": 2.0, "output_type": "pt"}
        images[scale] = pipe(["a red circle"], latents=noise, **kwargs).images
        model = TextToImage.load(toy.config(place, f"model.lora={file}@{scale}").model)
        assert (generate(model, [Prompt("a red circle")], noise) - images[scale]).abs().max() < 1e-5
    assert (images[1.0] - images[0.5]).abs().max() > 1e-3
    _, result = measured(place, str(file), "label=style")
    assert result.matrix.values("red")[1] != result.matrix.values("red")[0]


@pytest.mark.slow
def test_a_lora_of_another_model_is_refused(place: Path, tmp_path: Path) -> None:
    state = load_file(place / "diffusers" / "pytorch_lora_weights.safetensors")
    more = tmp_path / "more.safetensors"
    save_file(state | {k.replace("down_blocks.0", "down_blocks.7"): v.clone() for k, v in state.items()}, more)
    with pytest.raises(ConfigError, match=r"lacks.*: unet\.down_blocks\.7\.attentions.*the LoRA was made for"):
        measured(place, str(more))
    peft = tmp_path / "peft"  # as many layers as the model adapts, one of them misnamed
    shutil.copytree(place / "peft", peft)
    named = load_file(peft / "adapter_model.safetensors")
    wrong = {
        key.replace("up_blocks.0.attentions.0.transformer_blocks.0.attn1.to_q", "away"): named[key] for key in named
    }
    save_file(wrong, peft / "adapter_model.safetensors")
    with pytest.raises(ConfigError, match=r"lacks.*: base_model\.model\.away\. "):
        measured(place, str(peft))
    wide = tmp_path / "wide.safetensors"
    save_file({k: torch.cat([v, v], 1) if "lora_A" in k else v for k, v in state.items()}, wide)
    with pytest.raises(ConfigError, match=r"cannot use the LoRA .*wide.safetensors"):
        measured(place, str(wide))
    text = tmp_path / "text.safetensors"
    save_file({k.replace("unet.", "text_encoder_2."): v for k, v in state.items()}, text)
    with pytest.raises(ConfigError, match=r"lacks.*: text_encoder_2\.down_blocks"):
        measured(place, str(text))
    assert not list((place / "runs").glob("lora-red-dark-*/environment.json"))  # nothing is left of a refused one
    odd = tmp_path / "odd.safetensors"
    save_file({"unet.down_blocks.0.hada_w1_a": torch.zeros(2, 2)}, odd)
    with pytest.raises(ConfigError, match="cannot use the LoRA"):
        measured(place, str(odd))


@pytest.mark.slow
def test_what_is_no_lora_file(place: Path, tmp_path: Path) -> None:
    model = str(place / "pipeline")
    for lora, told in (
        ("nowhere", "no file or folder 'nowhere'"),
        (f"{place}/peft@much", "'much' is not a scale"),
        (str(tmp_path), "contains 0 safetensors files"),
        (str(tmp_path / "a.ckpt"), "a.ckpt is not a safetensors file"),
    ):
        (tmp_path / "a.ckpt").write_bytes(b"code")
        with pytest.raises(UsageError, match=f"--lora: .*{told}"):
            command.evaluate(model, lora=[lora])
    (tmp_path / "cut.safetensors").write_bytes(b"not tensors")
    with pytest.raises(ConfigError, match=r"cannot read the LoRA .*download it again"):
        measured(place, str(tmp_path / "cut.safetensors"))


@pytest.mark.slow
def test_a_lora_is_measured_with_one_warning_of_each_fault_of_the_prompts(place: Path, tmp_path: Path) -> None:
    """The model is loaded twice: alone, and for the LoRA."""
    told: list[str] = []

    class Listening(Reporter):
        def warn(self, text: str) -> None:
            told.append(text)

    prompts = tmp_path / "prompts.txt"
    prompts.write_text("a ring\na ring\n")
    config = toy.config(place, f"store={tmp_path}/runs", f"evaluate.prompts={prompts}")
    foreign.evaluate(config, [str(place / "diffusers")], catalog=toy.catalog(), reporter=Listening(quiet=True))
    assert [text.partition(": ")[2] for text in told if "repeat" in text] == ["1 of 2 prompts repeat an earlier one"]
