"""What a store takes for the same: the contents of what is read, wherever it lies and whatever lies beside it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import Enum
from pathlib import Path

import pytest
import tiny_pipelines
import torch
import toy
from huggingface_hub import constants
from safetensors.torch import load_file, save_file

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.prompt import Prompt
from rilbench.engine.config import load
from rilbench.engine.documents import settings_document
from rilbench.engine.progress import Reporter
from rilbench.engine.saved import SavedRun
from rilbench.files.fingerprints import fingerprint, resolved_fingerprint
from rilbench.files.pipelines import read_files
from rilbench.model.text_to_image import TextToImage
from rilbench.store.results import load_result
from rilbench_release import foreign, merged
from rilbench_release.pictures import Pictures

UNET = "unet/diffusion_pytorch_model.safetensors"
TEXT = "text_encoder/model.safetensors"
ONE = ("rewards=[red]", "train.samples=2")
COMMITS = "a" * 40, "b" * 40


def change(file: Path) -> None:
    """Other weights of the same names and shapes."""
    state = {key: value * 1.5 for key, value in load_file(file).items()}
    save_file(state, file, metadata={"format": "pt"})


def split(file: Path) -> None:
    """The weights in two files and an index."""
    state, folder, whole = load_file(file), file.parent, file.name
    names = sorted(state)
    parts = names[::2], names[1::2]
    weight_map = {}
    for i, keys in enumerate(parts, start=1):
        name = whole.replace(".safetensors", f"-{i:05d}-of-00002.safetensors")
        save_file({key: state[key] for key in keys}, folder / name, metadata={"format": "pt"})
        weight_map |= dict.fromkeys(keys, name)
    (folder / f"{whole}.index.json").write_text(json.dumps({"metadata": {}, "weight_map": weight_map}))


def as_linked(folder: Path, part: str) -> Path:
    """A part of a pipeline moved elsewhere, with a link in its place."""
    elsewhere = folder.parent / f"elsewhere-{part}"
    shutil.move(folder / part, elsewhere)
    (folder / part).symlink_to(elsewhere, target_is_directory=True)
    return elsewhere


def publish(cache: Path, folder: Path, commit: str) -> None:
    """The folder as the commit that `main` of some/thing is, as the Hub's client leaves it: links to blobs."""
    repo = cache / "models--some--thing"
    for path in filter(Path.is_file, folder.rglob("*")):
        blob = repo / "blobs" / hashlib.sha256(path.read_bytes()).hexdigest()
        link = repo / "snapshots" / commit / path.relative_to(folder)
        for made in (blob, link):
            made.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, blob)
        link.symlink_to(blob)
    (repo / "refs").mkdir(exist_ok=True)
    (repo / "refs" / "main").write_text(commit)


@pytest.fixture
def hub(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """some/thing in the Hub's cache; call it to move `main` to other weights."""
    cache = workplace / "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(cache))
    monkeypatch.setenv("RILBENCH_CACHE", str(workplace / "urls"))
    publish(cache, workplace / "pipeline", COMMITS[0])

    def move() -> None:
        change(workplace / "pipeline" / UNET)
        publish(cache, workplace / "pipeline", COMMITS[1])

    return move


@pytest.mark.slow
@pytest.mark.parametrize("family", ["stable_diffusion_xl", "stable_diffusion_3"])
def test_loading_reads_no_other_file(family: str, tmp_path: Path) -> None:
    whole = tiny_pipelines.save(family, tmp_path / "whole")
    split(whole / TEXT)
    names = read_files(whole)
    alone = tmp_path / "alone"
    for name in names:
        (alone / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(whole / name, alone / name)
    changes = "model.resolution=16", "model.device=cpu"
    one, other = (TextToImage.load(load("shapes", [f"model.path={f}", *changes]).model) for f in (whole, alone))
    for name, part in one.backbone.pipeline.components.items():
        loaded = other.backbone.pipeline.components[name]
        if isinstance(part, torch.nn.Module):
            weights = loaded.state_dict()
            assert all(torch.equal(weights[key], value) for key, value in part.state_dict().items())
        elif hasattr(part, "encode"):
            assert part.encode("a red circle") == loaded.encode("a red circle")
        elif part is not None:
            assert part.config == loaded.config


JUNK = (
    "README.md",
    ".gitattributes",
    ".DS_Store",
    ".cache/huggingface/download/unet/config.json.metadata",
    "unet/.DS_Store",
    "unet/README.md",
    "unet/notes.txt",
    "unet/diffusion_pytorch_model.fp16.safetensors",
    "unet/diffusion_pytorch_model.bin",
    "text_encoder/flax_model.msgpack",
    "text_encoder/model.fp16.safetensors",
    "tokenizer/notes.txt",
    "safety_checker/model.safetensors",
    "v1-5-pruned.safetensors",
    "sample.png",
)


def litter(folder: Path) -> None:
    for name in JUNK:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text("{}")


@pytest.mark.slow
def test_what_loading_does_not_read_is_no_part_of_a_model(workplace: Path) -> None:
    first = toy.run(workplace, *ONE)
    trained = {path: path.stat().st_mtime_ns for path in (workplace / "runs" / "stages").rglob("*.safetensors")}
    litter(workplace / "pipeline")
    (workplace / "pipeline" / UNET).chmod(0o600)
    assert toy.run(workplace, *ONE) == first
    renamed = workplace / "another name"
    (workplace / "pipeline").rename(renamed)
    second = toy.run(workplace, *ONE, f"model.path={renamed}")
    assert second.result == first.result
    now = {path: path.stat().st_mtime_ns for path in (workplace / "runs" / "stages").rglob("*.safetensors")}
    assert now == trained


@pytest.mark.parametrize(
    "name", [UNET, TEXT, "unet/config.json", "scheduler/scheduler_config.json", "tokenizer/tokenizer.json"]
)
def test_what_loading_reads_is_a_part_of_a_model(name: str, workplace: Path) -> None:
    folder = workplace / "pipeline"
    before = fingerprint(folder)
    with (folder / name).open("ab") as stream:
        stream.write(b" ")
    assert fingerprint(folder) != before


@pytest.mark.parametrize("file", [UNET, TEXT])
def test_of_one_file_and_several_that_count_which_are_loaded(file: str, workplace: Path) -> None:
    """diffusers takes several when there is an index, transformers the one."""
    folder = workplace / "pipeline"
    split(folder / file)
    shard = (folder / file).with_name((folder / file).name.replace(".safetensors", "-00001-of-00002.safetensors"))
    loaded, other = (shard, folder / file) if file == UNET else (folder / file, shard)
    key = next(key for key, value in load_file(shard).items() if value.any())
    model = toy.config(workplace, "model.resolution=16").model

    def weight() -> torch.Tensor:
        part = file.partition("/")[0]
        found = getattr(TextToImage.load(model).backbone.pipeline, part).state_dict()
        return next(value for name, value in found.items() if key.endswith(name) or name.endswith(key)).clone()

    before, first = fingerprint(folder), weight()
    change(other)
    assert fingerprint(folder) == before
    assert torch.equal(weight(), first)
    change(loaded)
    assert fingerprint(folder) != before
    assert not torch.equal(weight(), first)


@pytest.mark.slow
def test_two_contents_behind_a_link_are_two_models(workplace: Path) -> None:
    elsewhere = as_linked(workplace / "pipeline", "unet")
    first = toy.run(workplace, *ONE).result
    assert toy.run(workplace, *ONE).result == first
    change(elsewhere / Path(UNET).name)
    second = toy.run(workplace, *ONE).result
    for one, other in zip(first.matrix.rows, second.matrix.rows, strict=True):
        assert one.stage_id != other.stage_id
        assert one.values["red"] != other.values["red"]


def test_a_link_is_what_it_leads_to(workplace: Path) -> None:
    before = fingerprint(workplace / "pipeline")
    as_linked(workplace / "pipeline", "unet")
    assert fingerprint(workplace / "pipeline") == before
    folder = workplace / "clip"
    (folder / "inside").mkdir(parents=True)
    (folder / "inside" / "a.bin").write_text("1")
    before = fingerprint(folder)
    elsewhere = as_linked(folder, "inside")
    (folder / "loop").symlink_to(folder, target_is_directory=True)
    assert fingerprint(folder) == before
    (elsewhere / "a.bin").write_text("22")
    assert fingerprint(folder) != before


@pytest.mark.slow
def test_a_branch_is_the_commit_it_is(workplace: Path, hub: Callable[[], None]) -> None:
    """Nothing of another commit is printed, generated or merged."""
    changes = (*ONE, "model.path=some/thing")
    first = toy.run(workplace, *changes)
    assert toy.run(workplace, *changes, f"model.revision={COMMITS[0]}") == first
    hub()
    second = toy.run(workplace, *changes)
    for one, other in zip(first.result.matrix.rows, second.result.matrix.rows, strict=True):
        assert one.stage_id != other.stage_id
        assert one.values["red"] != other.values["red"]
    assert toy.run(workplace, *changes, f"model.revision={COMMITS[0]}") == first

    for outcome, commit in ((first, COMMITS[0]), (second, COMMITS[1])):
        config = load(str(outcome.folder / "config.yaml"))
        assert config.model.revision == commit
        run = SavedRun(load_result(outcome.folder), config, toy.catalog())
        picture = workplace / f"{commit}.png"
        drawn = Pictures(run=run, prompts=[Prompt("a red circle")], stages=[0], config=config.evaluate)
        drawn.write(picture, Reporter(quiet=True))
        merged.write_merged(workplace / commit, config.model, [])
        snapshot = workplace / "hub/models--some--thing/snapshots" / commit
        written, published = load_file(workplace / commit / UNET), load_file(snapshot / UNET)
        assert all(torch.equal(written[key], value) for key, value in published.items())
    assert (workplace / f"{COMMITS[0]}.png").read_bytes() != (workplace / f"{COMMITS[1]}.png").read_bytes()


@pytest.mark.slow
def test_a_model_from_elsewhere_is_measured_by_its_commit(workplace: Path, hub: Callable[[], None]) -> None:
    config = toy.config(workplace, "model.path=some/thing")
    results = []
    for move in (lambda: None, hub):
        move()
        results.append(foreign.evaluate(config, catalog=toy.catalog(), reporter=Reporter(quiet=True))[1])
    assert results[0].matrix.rows[0].values["red"] != results[1].matrix.rows[0].values["red"]


@pytest.mark.slow
def test_pictures_of_a_measured_model_are_of_that_model(workplace: Path) -> None:
    config = toy.config(workplace)
    folder, result = foreign.evaluate(config, catalog=toy.catalog(), reporter=Reporter(quiet=True))
    run = SavedRun(replace(result, folder=folder), load(str(folder / "config.yaml")), toy.catalog())
    run.check_base()
    change(workplace / "pipeline" / UNET)
    with pytest.raises(ConfigError, match="is not the model this run was trained on"):
        run.check_base()


def test_a_folder_of_the_hubs_cache_is_a_model(workplace: Path, hub: Callable[[], None]) -> None:
    """Its files are links to blobs, whose names say nothing here."""
    snapshot = workplace / "hub/models--some--thing/snapshots" / COMMITS[0]
    assert fingerprint(snapshot) == fingerprint(workplace / "pipeline")
    change((snapshot / UNET).resolve())
    assert fingerprint(snapshot) != fingerprint(workplace / "pipeline")


def test_an_adapter_beside_the_weights_is_refused(workplace: Path) -> None:
    """transformers would load the base it names instead, from wherever that is."""
    (workplace / "pipeline/text_encoder/adapter_config.json").write_text('{"base_model_name_or_path": "some/thing"}')
    with pytest.raises(ConfigError, match=r"text_encoder .*adapter .*merge"):
        TextToImage.load(toy.config(workplace).model)


class Size(Enum):
    SMALL = 1


@dataclass(frozen=True)
class Sizes:
    """Settings of every kind."""

    by: str = "baseline"
    weights: str = "./head.pth"
    bare: str = "head.pth"
    place: Path = Path("head")
    size: Size = Size.SMALL
    text: str = "x/" * 3000
    null: str = "a/\0"
    separator: str = "/"
    numbers: tuple[float, ...] = (1.0, 2.0)


def test_a_name_is_no_path_because_a_file_is_called_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = settings_document(Sizes())
    assert before == {
        "by": "baseline",
        "weights": "./head.pth",
        "bare": "head.pth",
        "place": "head",
        "size": "SMALL",
        "text": "x/" * 3000,
        "null": "a/\0",
        "separator": "/",
        "numbers": [1.0, 2.0],
    }
    for name in ("baseline", "SMALL"):
        (tmp_path / name).write_text("1")
    assert settings_document(Sizes()) == before
    for name in ("head", "head.pth"):
        (tmp_path / name).write_text("1")
    changed = settings_document(Sizes())
    assert {key for key in before if changed[key] != before[key]} == {"weights", "bare", "place"}
    assert changed["weights"] == changed["bare"] == hashlib.sha256(b"1").hexdigest()


@pytest.mark.slow
def test_files_named_like_components_train_nothing_again(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    settings = ("rewards=[red]", "train.samples=2", "strategy=wise_ft", "strategy_settings.wise_ft.by=baseline")
    first = toy.run(workplace, *settings)
    for name in ("baseline", "red", "adamw", "paper"):
        (workplace / name).write_text("a note")
    assert toy.run(workplace, *settings) == first


@pytest.mark.slow
def test_prompts_are_a_file_without_a_folder_too(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(workplace)
    toy.config(workplace)
    (workplace / "prompts").write_text("a red circle\na blue square\n")
    settings = (*ONE, "train.prompts=prompts", "evaluate.prompts=prompts")
    first = toy.run(workplace, *settings).result
    (workplace / "prompts").write_text("a red circle\na green ring\n")
    second = toy.run(workplace, *settings).result
    assert first.matrix.rows[1].stage_id != second.matrix.rows[1].stage_id
    assert first.matrix.rows[0].evaluation != second.matrix.rows[0].evaluation
    assert resolved_fingerprint("prompts") == resolved_fingerprint(str(workplace / "prompts")) != "prompts"


def test_an_id_of_the_hub_in_a_setting_is_its_commit(workplace: Path, hub: Callable[[], None]) -> None:
    @dataclass(frozen=True)
    class Words:
        tokenizer: str = "some/thing"
        other: str = "some/other"

    assert settings_document(Words()) == {"tokenizer": f"some/thing@{COMMITS[0]}", "other": "some/other"}
    hub()
    assert settings_document(Words())["tokenizer"] == f"some/thing@{COMMITS[1]}"


def test_a_setting_that_cannot_be_stored_is_refused_before_the_start(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @dataclass(frozen=True)
    class Raw:
        key: bytes = b"abc"

    monkeypatch.setattr(toy.Redness, "Settings", Raw)
    with pytest.raises(ConfigError, match=r"reward 'red' .*setting 'key' .*bytes"):
        toy.run(workplace, *ONE)
    assert not (workplace / "runs").exists()


@pytest.mark.slow
def test_settings_of_every_type_train(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(toy.Redness, "Settings", Sizes)
    first = toy.run(
        workplace, *ONE, "reward_settings.red.size=SMALL", f"reward_settings.red.place={workplace}/prompts.txt"
    )
    assert first.result.status == "finished"
    document = json.loads(next((workplace / "runs/stages").glob("*/stage.json")).read_text())["document"]
    assert document["rewards"][0]["settings"]["size"] == "SMALL"
    assert document["rewards"][0]["settings"]["place"] == fingerprint(workplace / "prompts.txt")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("model_index.json", "[1]"),
        ("model_index.json", "{"),
        ("model_index.json", '{"unet": ["diffusers", "UNet2DConditionModel"], "vae": 3, "": ["a", "b"]}'),
        ("unet/diffusion_pytorch_model.safetensors.index.json", '{"weight_map": [1]}'),
        (
            "unet/diffusion_pytorch_model.safetensors.index.json",
            '{"weight_map": {"a": 3, "b": "../../x", "c": "\\u0000"}}',
        ),
    ],
)
def test_a_damaged_index_has_an_identity_and_a_message(name: str, text: str, workplace: Path) -> None:
    folder = workplace / "pipeline"
    before = fingerprint(folder)
    (folder / name).write_text(text)
    assert fingerprint(folder) != before
    with pytest.raises(ConfigError, match=r"model\.path"):
        TextToImage.load(toy.config(workplace).model)
