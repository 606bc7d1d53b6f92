"""Exports give the pictures of the run: through plain diffusers and PEFT, with the same prompts and noise."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import huggingface_hub
import pytest
import torch
import toy
from diffusers import StableDiffusionPipeline
from huggingface_hub import ModelCard
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor

from rilbench.contracts.errors import ConfigError, RilbenchError, UsageError
from rilbench.contracts.pair import LoraPair
from rilbench.engine.saved import SavedRun, open_run
from rilbench.model.attach import adapter_group
from rilbench.model.randomness import evaluation_noise
from rilbench.model.text_to_image import TextToImage
from rilbench.store.files import read_json, write_json
from rilbench.store.tables import markdown
from rilbench_release import command, lora
from rilbench_release.card import model_card
from rilbench_release.export import MARK, Export, _replacing, check_push, push_to_hub

PROMPTS = ["a red circle", "a blue square"]
TOLERANCE = 1e-5


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """A store with runs of every kind of plan."""
    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(pipeline, folder / "pipeline")
    for overrides in (
        ["strategy=rid"],
        ["strategy=soup"],
        ["strategy=soup", "strategy_settings.soup.average=factors"],
        ["strategy=wise_ft", "strategy_settings.wise_ft.scale=0.25"],
    ):
        name = "factors" if len(overrides) == 2 and "soup" in overrides[1] else overrides[0].partition("=")[2]
        made = toy.run(folder, *overrides, f"label={name}", "train.lr=0.2")
        made.folder.rename(folder / "runs" / name)
    return folder


def opened(place: Path, name: str, *settings: str) -> SavedRun:
    return open_run(str(place / "runs" / name), toy.catalog(), settings)


def ours(run: SavedRun, stage: int) -> Tensor:
    """The pictures by rilbench's own model with the chain."""
    model = TextToImage.load(run.config.model)
    adapter_group(model.network, targets=run.config.adapter.targets).load_chain(run.pairs(stage))
    with torch.no_grad():
        return model.decode(model.rollout(noise(), PROMPTS))


def noise() -> Tensor:
    return torch.cat([evaluation_noise(5, prompt, range(1), (4, 8, 8)) for prompt in PROMPTS])


def theirs(pipe: Any) -> Tensor:
    """The pictures by diffusers alone."""
    pipe.set_progress_bar_config(disable=True)
    images: Tensor = pipe(PROMPTS, latents=noise(), num_inference_steps=4, guidance_scale=2.0, output_type="pt").images
    return images


def plain(folder: Path) -> Any:
    return StableDiffusionPipeline.from_pretrained(str(folder), safety_checker=None)


def exported(run: SavedRun, stage: int, kind: str, folder: Path) -> Path:
    Export(run=run, stage=stage, kind=kind).write(folder)
    return folder


def far(one: Tensor, other: Tensor) -> float:
    return float((one - other).abs().max())


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "stage", "rank"), [("rid", 2, 4), ("rid", 1, 2), ("soup", 3, 4), ("factors", 3, 2), ("wise_ft", 3, 4)]
)
def test_a_lora_for_diffusers_gives_the_same_pictures(
    place: Path, tmp_path: Path, name: str, stage: int, rank: int
) -> None:
    run = opened(place, name)
    folder = exported(run, stage, "diffusers", tmp_path / "lora")
    expected, pipe = ours(run, stage), plain(place / "pipeline")
    assert far(theirs(pipe), expected) > 100 * TOLERANCE  # the base is another model
    pipe.load_lora_weights(str(folder))
    assert far(theirs(pipe), expected) < TOLERANCE
    state = load_file(folder / "pytorch_lora_weights.safetensors")
    assert {t.shape[0] for key, t in state.items() if ".lora_A." in key} == {rank}
    with safe_open(folder / "pytorch_lora_weights.safetensors", framework="pt") as file:
        metadata = json.loads(file.metadata()["lora_adapter_metadata"])
    assert metadata["unet.r"] == metadata["unet.lora_alpha"] == rank


@pytest.mark.slow
def test_the_test_would_see_another_coefficient(place: Path, tmp_path: Path) -> None:
    """One factor of one stage one percent off, or half the soup's share, is outside the tolerance."""
    run = opened(place, "soup")
    folder, expected = exported(run, 3, "diffusers", tmp_path / "lora"), ours(run, 3)
    file = folder / "pytorch_lora_weights.safetensors"
    state = load_file(file)
    for key in state:
        if ".lora_B." in key:
            state[key][:, :2] *= 1.01
    save_file(state, file)
    pipe = plain(place / "pipeline")
    pipe.load_lora_weights(str(folder))
    assert far(theirs(pipe), expected) > TOLERANCE
    assert far(ours(run, 1), expected) > TOLERANCE
    assert far(ours(opened(place, "wise_ft"), 2), ours(opened(place, "wise_ft"), 3)) > TOLERANCE


@pytest.mark.slow
def test_the_file_for_web_interfaces(place: Path, tmp_path: Path) -> None:
    run = opened(place, "rid")
    folder = exported(run, 2, "diffusers", tmp_path / "lora")
    file = folder / f"{run.result.name}-stage2-webui.safetensors"
    state = load_file(file)
    layers = {key.split(".")[0] for key in state}
    assert "lora_unet_down_blocks_0_attentions_0_transformer_blocks_0_attn1_to_q" in layers
    assert all(layer.startswith("lora_unet_") for layer in layers)
    assert {key.split(".", 1)[1] for key in state} == {"lora_down.weight", "lora_up.weight", "alpha"}
    assert {float(value) for key, value in state.items() if key.endswith(".alpha")} == {4.0}
    pipe = plain(place / "pipeline")
    pipe.load_lora_weights(str(file))
    assert far(theirs(pipe), ours(run, 2)) < TOLERANCE


def test_a_lora_of_a_transformer(tmp_path: Path) -> None:
    """Diffusers' names with the transformer's prefix; kohya has no names for its layers."""
    from diffusers import FluxTransformer2DModel

    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = FluxTransformer2DModel(
            in_channels=4,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=8,
            pooled_projection_dim=8,
            axes_dims_rope=(4, 4, 8),
        ).eval()
        layers = {name: part for name, part in network.named_modules() if name.endswith(("to_q", "to_out.0"))}
        a = {name: torch.randn(layer.out_features, 2) for name, layer in layers.items()}
        b = {name: torch.randn(2, layer.in_features) for name, layer in layers.items()}
        inputs = {
            "hidden_states": torch.randn(1, 4, 4),
            "encoder_hidden_states": torch.randn(1, 3, 8),
            "pooled_projections": torch.randn(1, 8),
            "timestep": torch.tensor([0.5]),
            "img_ids": torch.zeros(4, 3),
            "txt_ids": torch.zeros(3, 3),
        }
    lora.write_diffusers(tmp_path, LoraPair(a, b), prefix="transformer", targets=["to_q", "to_out.0"], name="it")
    assert [file.name for file in tmp_path.iterdir()] == ["pytorch_lora_weights.safetensors"]
    with torch.no_grad():
        before = network(**inputs).sample
        network.load_lora_adapter(str(tmp_path), prefix="transformer", use_safetensors=True)
        loaded = network(**inputs).sample
        network.unload_lora()
        for name in layers:
            network.get_submodule(name).weight += a[name] @ b[name]
        expected = network(**inputs).sample
    assert far(loaded, expected) < 1e-4 < far(before, expected)


@pytest.mark.slow
def test_peft_loads_its_format(place: Path, tmp_path: Path) -> None:
    from peft import PeftModel

    run = opened(place, "rid")
    folder, pipe = exported(run, 2, "peft", tmp_path / "lora"), plain(place / "pipeline")
    pipe.unet = PeftModel.from_pretrained(pipe.unet, str(folder))
    assert far(theirs(pipe), ours(run, 2)) < TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize(("name", "stage"), [("rid", 2), ("soup", 3), ("rid", 0)])
def test_a_merged_pipeline_is_whole(place: Path, tmp_path: Path, name: str, stage: int) -> None:
    run = opened(place, name)
    folder = exported(run, stage, "merged", tmp_path / "merged")
    assert far(theirs(plain(folder)), ours(run, stage)) < TOLERANCE
    assert not list(folder.rglob("*.bin"))
    assert not [file for file in folder.rglob("*.json") if str(tmp_path.parent) in file.read_text()]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["diffusers", "peft", "merged"])
def test_others_may_read_it(place: Path, tmp_path: Path, kind: str) -> None:
    """Every file has the mode of a new one; safetensors' own have that of a secret."""
    (tmp_path / "new").touch()
    folder = exported(opened(place, "rid"), 1, kind, tmp_path / "out")
    modes = {file.name: file.stat().st_mode for file in folder.rglob("*") if file.is_file()}
    assert set(modes.values()) == {(tmp_path / "new").stat().st_mode}, modes
    stage = next((place / "runs").rglob("adapter_model.safetensors"))
    assert stage.stat().st_mode == (tmp_path / "new").stat().st_mode


@pytest.mark.slow
def test_the_card(place: Path, tmp_path: Path) -> None:
    run = opened(place, "rid")
    folder = exported(run, 1, "diffusers", tmp_path / "lora")
    text = (folder / "README.md").read_text()
    card = ModelCard(text)
    assert card.data.library_name == "diffusers"
    assert {"lora", "text-to-image"} <= set(card.data.tags)
    assert card.data.license is None
    assert "# license:" in text
    assert "# base_model:" in text
    table = markdown(run.up_to(1))
    assert table in text
    assert table.count("\n") == 3  # head, line, base, stage 1
    assert (folder / "samples.png").stat().st_size > 0
    assert "samples.png" in text
    assert "| 1 red | 8 | 2 | 0.2 | 0.1 | 1 |" in text  # as it was trained
    assert "$" not in text
    about = json.loads((folder / "rilbench.json").read_text())
    assert about["pairs"] == [[run.rows[1].stage_id, 1.0]]
    Export(run=run, stage=2, kind="merged", license="mit").write(folder)  # an export may replace an export
    assert ModelCard.load(folder / "README.md").data.license == "mit"
    assert not (folder / "pytorch_lora_weights.safetensors").exists()


@pytest.mark.slow
def test_the_card_names_the_base_model_for_other_machines(place: Path, tmp_path: Path) -> None:
    run = opened(place, "rid")
    local = (exported(run, 1, "diffusers", tmp_path / "lora") / "README.md").read_text()
    assert "`pipeline` fine-tuned with rilbench" in local
    published = replace(run.config.model, path="owner/model", revision="0a1b2c")
    run = replace(run, config=replace(run.config, model=published))
    card = model_card(run, 1, kind="peft", prefix="unet", rank=2, name="x", license=None, pictures=False)
    assert "`owner/model@0a1b2c`" in card
    assert 'from_pretrained("owner/model", revision="0a1b2c", dtype=torch.float32)' in card
    assert ModelCard(card).data.base_model == "owner/model"


@pytest.mark.slow
def test_the_code_of_the_card_runs(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also on a base of which a part is published in half precision, which transformers would load as such."""
    run = opened(place, "rid")
    monkeypatch.chdir(tmp_path)
    base = shutil.copytree(place / "pipeline", tmp_path / "base")
    encoder = base / "text_encoder" / "model.safetensors"
    half = {key: value.half() if value.is_floating_point() else value for key, value in load_file(encoder).items()}
    save_file(half, encoder, {"format": "pt"})
    for kind in ("diffusers", "peft", "merged"):
        text = (exported(run, 2, kind, tmp_path / kind) / "README.md").read_text()
        code = text.split("```python\n")[1].split("```")[0].replace("the-base-model", str(base))
        names: dict[str, Any] = {}
        exec(code.replace("this-folder", str(tmp_path / kind)), names)
        assert names["image"].size == (16, 16)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["diffusers", "peft"])
def test_the_base_is_no_lora(place: Path, kind: str) -> None:
    with pytest.raises(UsageError, match=r"--stage 0 .*--format merged"):
        Export(run=opened(place, "rid"), stage=0, kind=kind)


@pytest.mark.slow
def test_what_is_in_the_way_is_kept(place: Path, tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    with pytest.raises(UsageError, match=r"thesis\.txt.*--output"):
        exported(opened(place, "rid"), 1, "peft", tmp_path)
    assert (tmp_path / "thesis.txt").exists()
    assert len(list(tmp_path.iterdir())) == 1


def export_anew(folder: Path, text: str, appears: str | None = None) -> None:
    """Replace an export; a file `appears` in the folder meanwhile."""
    with _replacing(folder) as part:
        (part / "README.md").write_text(text)
        write_json(part / MARK, {})
        if appears:
            (folder / appears).write_text("years of work")


def test_a_file_that_appears_during_the_export_is_kept(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    export_anew(folder, "earlier")
    with pytest.raises(UsageError, match=r"contains thesis\.txt"):
        export_anew(folder, "new", appears="thesis.txt")
    assert {path.name for path in folder.iterdir()} == {"README.md", MARK, "thesis.txt"}
    assert (folder / "README.md").read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [folder]


def test_a_folder_with_a_link_to_a_folder_is_not_free(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "export").mkdir()
    (tmp_path / "export" / "link").symlink_to(tmp_path / "data")
    with pytest.raises(UsageError, match="contains link"):
        export_anew(tmp_path / "export", "new")
    assert (tmp_path / "export" / "link").is_symlink()


@pytest.mark.parametrize(("fault", "raised"), [(OSError, RilbenchError), (KeyboardInterrupt, KeyboardInterrupt)])
def test_an_export_that_cannot_replace_the_earlier_one_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fault: type[BaseException], raised: type[BaseException]
) -> None:
    folder, rename = tmp_path / "export", Path.rename
    export_anew(folder, "earlier")

    def second_fails(path: Path, target: Path) -> Path:
        if target == folder and (path / "README.md").read_text() == "new":
            raise fault
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", second_fails)
    with pytest.raises(raised):
        export_anew(folder, "new")
    assert (folder / "README.md").read_text() == "earlier"
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.slow
def test_no_such_run_or_stage(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(place)
    assert open_run("rid", toy.catalog()).folder == Path("runs/rid")
    with pytest.raises(UsageError, match=r"no run at 'ridd'.* Did you mean 'rid'"):
        open_run("ridd", toy.catalog())
    run = open_run("rid", toy.catalog())
    assert run.stage(None) == 2
    with pytest.raises(UsageError, match=r"stage 3: rid-.* has the stages 0 \(base\), 1 \(red\), 2 \(dark\)"):
        run.stage(3)


@pytest.mark.slow
def test_another_base_model_is_refused(place: Path, tmp_path: Path) -> None:
    shutil.copytree(place / "pipeline", tmp_path / "other")
    with (tmp_path / "other" / "scheduler" / "scheduler_config.json").open("a") as file:
        file.write("\n")
    run = opened(place, "rid", f"model.path={tmp_path}/other")
    with pytest.raises(ConfigError, match="is not the model this run was trained on"):
        exported(run, 2, "merged", tmp_path / "merged")
    assert [f.name for f in tmp_path.iterdir()] == ["other"]


@pytest.mark.slow
def test_a_merge_is_recorded_and_without_a_record_planned_again(place: Path, tmp_path: Path) -> None:
    """With the record it does not matter what the strategy plans now."""
    other = "strategy_settings.soup.coefficients.red=0.9"
    chain = opened(place, "soup").chain(3)
    assert opened(place, "soup", other).chain(3) == chain
    shutil.copytree(place / "runs", tmp_path / "runs", symlinks=True)
    plan = (tmp_path / "runs" / "soup").resolve() / "plan.json"
    assert plan.is_relative_to(tmp_path)
    write_json(plan, {key: value for key, value in read_json(plan).items() if key != "chains"})
    assert opened(tmp_path, "soup").chain(3) == chain
    with pytest.raises(ConfigError, match="plans another merge than when the run was made"):
        opened(tmp_path, "soup", other).chain(3)


@pytest.mark.slow
def test_the_command(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    monkeypatch.setattr("rilbench_release.command.catalog", lambda given: toy.catalog())
    monkeypatch.chdir(tmp_path)
    command.export(str(place / "runs" / "rid"), stage=1)
    name = opened(place, "rid").result.name
    folder = Path("exports") / f"{name}-stage1-diffusers"
    assert capsys.readouterr().out == f"{folder}\n"
    assert (folder / "pytorch_lora_weights.safetensors").exists()
    api = FakeHub()
    with online(monkeypatch, api):
        command.export(str(place / "runs" / "rid"), format=command.Format.PEFT, output=tmp_path / "lora", push="me/it")
    assert capsys.readouterr().out == f"{tmp_path}/lora\nhttps://hub/commit/1\n"
    assert api.calls[0] == ("me/it", {"private": False, "exist_ok": True})
    with pytest.raises(UsageError, match="--private needs --push"):
        command.export("rid", private=True)
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE"):
        command.export("no such run, and nobody looked", push="me/it")


class FakeHub:
    """What `push` uses of the Hub."""

    def __init__(self, fails: Exception | None = None) -> None:
        self.calls: list[tuple[str, Any]] = []
        self.fails = fails

    def create_repo(self, repo_id: str, **options: Any) -> None:
        self.calls.append((repo_id, options))

    def upload_folder(self, **options: Any) -> str:
        if self.fails:
            raise self.fails
        self.calls.append((options["repo_id"], sorted(p.name for p in Path(options["folder_path"]).iterdir())))
        return "https://hub/commit/1"


@contextmanager
def online(monkeypatch: pytest.MonkeyPatch, api: FakeHub, token: str | None = "secret") -> Iterator[None]:
    with monkeypatch.context() as patched:
        patched.setattr("huggingface_hub.constants.is_offline_mode", lambda: False)
        patched.setattr(huggingface_hub, "get_token", lambda: token)
        patched.setattr(huggingface_hub, "HfApi", lambda: api)
        yield


@pytest.mark.slow
def test_push(place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, api = exported(opened(place, "rid"), 1, "peft", tmp_path / "lora"), FakeHub()
    with online(monkeypatch, api):
        assert push_to_hub(folder, "me/model", private=True) == "https://hub/commit/1"
    files = ["README.md", "adapter_config.json", "adapter_model.safetensors", "config.yaml", "rilbench.json"]
    files += ["samples.png", "sequence"]
    assert api.calls == [("me/model", {"private": True, "exist_ok": True}), ("me/model", files)]
    broken = FakeHub(ConnectionError("no route"))
    with online(monkeypatch, broken), pytest.raises(RilbenchError, match=r"no route.*is kept; try again: hf"):
        push_to_hub(folder, "me/model", private=False)


def test_push_is_refused_before_any_work(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="HF_HUB_OFFLINE is set"):
        check_push("me/model")
    with online(monkeypatch, FakeHub(), token=None):
        with pytest.raises(UsageError, match="not logged in"):
            check_push("me/model")
        with pytest.raises(UsageError, match="--push OWNER/model"):
            check_push("model")
        with pytest.raises(UsageError, match="--push me//model"):
            check_push("me//model")
