"""Downloads from a server on this machine: they resume, are checked, and are enough for a run without a network."""

from __future__ import annotations

import hashlib
import json
import shutil
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
import toy
from helpers import DIM, save_clip
from huggingface_hub import constants, file_download
from safetensors.torch import load as load_bytes
from safetensors.torch import save as save_bytes
from safetensors.torch import save_file
from typer.testing import CliRunner
from web import COMMIT, Web, git_hash, serving

from rilbench import NeededFile, RilbenchError
from rilbench.cli.main import app
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.files import pipelines as pipeline_files
from rilbench.files.published import fault_of, is_present, place_of
from rilbench_aesthetic import LinearHead
from rilbench_fetch.command import _bar
from rilbench_fetch.download import get

CONTENTS = bytes(range(256)) * 20
SHA = hashlib.sha256(CONTENTS).hexdigest()


@pytest.fixture
def web(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Web]:
    """The server, which is also the Hub, and empty caches."""
    monkeypatch.setenv("RILBENCH_CACHE", str(tmp_path / "urls"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", 500)  # what is lost of a cut connection
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: None)
    with serving() as web:
        monkeypatch.setattr(constants, "ENDPOINT", web.address)
        template = web.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
        monkeypatch.setattr(file_download, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
        yield web


@pytest.fixture
def file(web: Web) -> NeededFile:
    """One served at a plain address."""
    web.files["/head.pth"] = CONTENTS
    return NeededFile(f"url:{web.address}/head.pth", size=len(CONTENTS), sha256=SHA)


def nothing(there: int, size: int | None) -> None:
    """Nobody looks."""


def part_of(file: NeededFile) -> Path:
    return place_of(file).with_name(f"{place_of(file).name}.part")


def test_a_file_gets_its_name_when_it_is_whole(file: NeededFile) -> None:
    seen: list[tuple[int, int | None]] = []
    get(file, lambda there, size: seen.append((there, size)))
    assert place_of(file).read_bytes() == CONTENTS
    assert not part_of(file).exists()
    assert seen[-1] == (len(CONTENTS), len(CONTENTS))
    assert seen == sorted(seen)


def test_a_download_is_shown_from_its_first_byte(file: NeededFile, monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[str] = []
    work = Reporter.work
    monkeypatch.setattr(Reporter, "work", lambda self, doing, unit: shown.append(doing) or work(self, doing, unit))
    for wanted in (["downloading head.pth"], []):  # the second time the file is only checked
        with _bar(Reporter(quiet=True), file) as on_bytes:
            get(file, on_bytes)
        assert shown == wanted
        shown.clear()


def test_a_cut_connection_is_taken_up_where_it_broke(web: Web, file: NeededFile) -> None:
    web.cut["/head.pth"] = 1000
    get(file, nothing)
    assert fault_of(file) is None
    assert web.gets("head.pth") == [None, "bytes=1000-"]


def test_a_killed_download_goes_on_in_the_next_call(web: Web, file: NeededFile) -> None:
    part = part_of(file)
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENTS[:3000])
    get(file, nothing)
    assert place_of(file).read_bytes() == CONTENTS
    assert web.gets("head.pth") == ["bytes=3000-"]


def test_what_came_is_kept_when_the_server_goes(web: Web, file: NeededFile, monkeypatch: pytest.MonkeyPatch) -> None:
    web.cut["/head.pth"] = 2000
    monkeypatch.setattr(file_download.time, "sleep", lambda seconds: web.hidden.add("/head.pth"))
    with pytest.raises(RilbenchError, match=rf"cannot get {file.source}: .*403"):
        get(file, nothing)
    assert not is_present(file)
    assert part_of(file).read_bytes() == CONTENTS[:2000]
    web.hidden.clear()
    get(file, nothing)
    assert fault_of(file) is None
    assert web.gets("head.pth")[-1] == "bytes=2000-"


@pytest.mark.parametrize("wrong", [CONTENTS[:-1] + b"!", b"!" + CONTENTS[1:]])
def test_another_file_of_the_same_size_is_refused(web: Web, file: NeededFile, wrong: bytes) -> None:
    web.files["/head.pth"] = wrong
    with pytest.raises(RilbenchError, match=f"{file.source} has sha256 .*{SHA}.*{file.address}.*deleted"):
        get(file, nothing)
    assert not list(place_of(file).parent.glob("*head*"))
    web.files["/head.pth"] = CONTENTS
    get(file, nothing)
    assert fault_of(file) is None


def test_a_file_that_is_too_short_is_refused(web: Web, file: NeededFile) -> None:
    web.files["/head.pth"] = CONTENTS[:-5]
    with pytest.raises(
        RilbenchError, match=f"cannot get {file.source}: .*{len(CONTENTS)} but has size {len(CONTENTS) - 5}"
    ):
        get(file, nothing)
    assert not is_present(file)


def test_a_part_that_belongs_to_nothing_costs_one_attempt(web: Web, file: NeededFile) -> None:
    part = part_of(file)
    part.parent.mkdir(parents=True)
    part.write_bytes(b"?" * 100)
    with pytest.raises(RilbenchError, match=r"not the published file.*deleted"):
        get(file, nothing)
    get(file, nothing)
    assert fault_of(file) is None
    part.write_bytes(b"?" * (len(CONTENTS) + 1))
    place_of(file).unlink()
    get(file, nothing)  # longer than the whole file: begun anew at once
    assert fault_of(file) is None


def test_two_processes_download_a_file_once(web: Web, file: NeededFile) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: get(file, nothing), range(4)))
    assert fault_of(file) is None
    assert web.gets("head.pth") == [None]


def test_a_release_that_moved_is_followed(web: Web, file: NeededFile) -> None:
    """GitHub sends every release file elsewhere."""
    web.moved["/release/head.pth"] = "/head.pth"
    moved = NeededFile(f"url:{web.address}/release/head.pth", size=file.size, sha256=file.sha256)
    part = part_of(moved)
    part.parent.mkdir(parents=True)
    part.write_bytes(CONTENTS[:700])
    get(moved, nothing)
    assert place_of(moved).read_bytes() == CONTENTS
    assert web.gets("/head.pth")[-1] == "bytes=700-"


def test_a_server_that_is_not_there(web: Web) -> None:
    with pytest.raises(RilbenchError, match=r"cannot get url:http://127\.0\.0\.1:9/x: .*same command resumes"):
        get(NeededFile("url:http://127.0.0.1:9/x"), nothing)


def test_the_hubs_files_lie_in_the_hubs_cache(web: Web, tmp_path: Path) -> None:
    web.put_on_hub("some/model", {"model.safetensors": CONTENTS, "config.json": b"{}"})
    for name in ("model.safetensors", "config.json"):
        file = NeededFile(f"hub:some/model/{name}@{COMMIT}")
        assert not is_present(file)
        get(file, nothing)
        assert fault_of(file) is None
        assert place_of(file) == tmp_path / f"hub/models--some--model/snapshots/{COMMIT}/{name}"
    blobs = {path.name for path in (tmp_path / "hub/models--some--model/blobs").iterdir()}
    assert blobs == {SHA, git_hash(b"{}")}
    asked = len(web.gets("safetensors"))
    get(NeededFile(f"hub:some/model/model.safetensors@{COMMIT}"), nothing)
    assert len(web.gets("safetensors")) == asked == 1


def test_a_file_of_the_hub_resumes_and_is_checked_by_its_etag(web: Web, tmp_path: Path) -> None:
    web.put_on_hub("some/model", {"model.safetensors": CONTENTS})
    blobs = tmp_path / "hub/models--some--model/blobs"
    blobs.mkdir(parents=True)
    (blobs / f"{SHA}.part").write_bytes(CONTENTS[:1500])
    file = NeededFile("hub:some/model/model.safetensors")
    get(file, nothing)
    assert fault_of(file) is None
    assert web.gets("safetensors") == ["bytes=1500-"]
    place_of(file).resolve().write_bytes(CONTENTS[:-1] + b"!")
    assert "the Hub says" in str(fault_of(file))
    get(file, nothing)
    assert place_of(file).read_bytes() == CONTENTS
    place_of(file).resolve().unlink()
    web.files["/some/model/resolve/main/model.safetensors"] = b"!" + CONTENTS[1:]
    with pytest.raises(RilbenchError, match=f"{SHA}.*{web.address}.* deleted"):
        get(file, nothing)
    assert not is_present(file)
    assert list(blobs.iterdir()) == []


def test_another_model_under_the_name_is_refused_although_the_hub_agrees(web: Web, tmp_path: Path) -> None:
    web.put_on_hub("some/model", {"model.safetensors": b"another model " * 50})
    with pytest.raises(RilbenchError, match=f"published is {SHA}"):
        get(NeededFile("hub:some/model/model.safetensors", sha256=SHA), nothing)
    assert list((tmp_path / "hub/models--some--model/blobs").iterdir()) == []


def test_a_gated_repository_says_what_to_do(web: Web) -> None:
    web.put_on_hub("some/model", {"model.safetensors": CONTENTS})
    web.hidden.add("/some/model/resolve/main/model.safetensors")
    with pytest.raises(RilbenchError, match=r"licence.* https://huggingface\.co/some/model .*HF_TOKEN"):
        get(NeededFile("hub:some/model/model.safetensors"), nothing)


def test_which_files_of_a_pipeline_are_wanted() -> None:
    index = {
        "_class_name": "StableDiffusionPipeline",
        "requires_safety_checker": True,
        "unet": ["diffusers", "UNet2DConditionModel"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "text_encoder_2": ["transformers", "T5EncoderModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "PNDMScheduler"],
        "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
        "image_encoder": [None, None],
        "vae": ["diffusers", "AutoencoderKL"],
    }
    chosen = [
        "README.md",
        "model_index.json",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "text_encoder/config.json",
        "text_encoder/model.safetensors",
        "text_encoder_2/config.json",
        "text_encoder_2/model-00001-of-00002.safetensors",
        "text_encoder_2/model-00002-of-00002.safetensors",
        "text_encoder_2/model.safetensors.index.json",
        "tokenizer/merges.txt",
        "tokenizer/vocab.json",
        "scheduler/scheduler_config.json",
        "vae/config.json",
    ]
    left = [
        "v1-5-pruned.ckpt",
        "v1-5-pruned-emaonly.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "text_encoder_2/model.safetensors.index.fp16.json",
        "safety_checker/model.safetensors",
        "vae/diffusion_pytorch_model.bin",
        "images/a.png",
    ]
    wanted = set(pipeline_files.wanted(index, chosen + left))
    assert wanted == {*chosen, "vae/diffusion_pytorch_model.safetensors"}  # which is missed there, as it must be


def test_a_part_published_in_half_precision_only() -> None:
    index = {"unet": ["diffusers", "UNet2DConditionModel"], "vae": ["diffusers", "AutoencoderKL"]}
    half = [
        "unet/config.json",
        "unet/diffusion_pytorch_model.fp16-00001-of-00002.safetensors",
        "unet/diffusion_pytorch_model.fp16-00002-of-00002.safetensors",
        "unet/diffusion_pytorch_model.safetensors.index.fp16.json",
    ]
    whole = ["vae/config.json", "vae/diffusion_pytorch_model.safetensors"]
    left = ["vae/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.fp16.bin"]
    assert set(pipeline_files.wanted(index, [*half, *whole, *left])) == {*half, *whole}


@pytest.mark.parametrize(
    ("card", "licence"),
    [
        ("---\nlicense: openrail\ntags:\n- toy\n---\nlicense: mit\n", "openrail"),
        ("---\nlicense: other\nlicense_name: some-community\nlicense_link: x.md\n---\n", "some-community (other)"),
        ('---\nlicense_name: "some-community"\nlicense: "other"\n---\n', "some-community (other)"),
        ("---\nlicense: other\n---\nlicense_name: in the text\n", "other"),
        ("A card.\n---\nlicense: mit\n---\n", ""),
    ],
)
def test_the_licence_of_a_card(web: Web, card: str, licence: str) -> None:
    web.put_on_hub("some/model", {"README.md": card.encode()})
    assert pipeline_files.licence_of("some/model", "main") == ""  # the card is not there yet
    get(NeededFile("hub:some/model/README.md"), nothing)
    assert pipeline_files.licence_of("some/model", "main") == licence


# --- the command ---


@pytest.fixture
def place(web: Web, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with toy.yaml whose model is on the Hub, whose prompts and aesthetic head are on the web."""
    monkeypatch.chdir(workplace)
    files = {p.relative_to(workplace / "pipeline").as_posix(): p for p in (workplace / "pipeline").rglob("*.*")}
    published = {name: path.read_bytes() for name, path in files.items() if path.is_file()}
    published["README.md"] = b"---\ntags:\n- toy\nlicense: openrail\n---\nA card.\n"
    published["unet/diffusion_pytorch_model.bin"] = b"pickled code"
    web.put_on_hub("some/pipeline", published)
    shutil.rmtree(workplace / "pipeline")
    web.files["/prompts/train.txt"] = b"a red circle\n\na blue square\na green ring\n"
    web.files["/prompts/eval.txt"] = b"a white star\n"
    save_file(LinearHead((DIM, 8, 6, 4, 3, 1)).state_dict(), workplace / "head.safetensors")
    web.files["/head.safetensors"] = (workplace / "head.safetensors").read_bytes()
    save_clip(workplace / "clip")
    head = f"url:{web.address}/head.safetensors#licence=Apache-2.0&sha256={sha(web.files['/head.safetensors'])}"
    (workplace / "toy.yaml").write_text(
        f"""
rewards: [aesthetic]
store: {workplace}/runs
tracking: false
model: {{path: some/pipeline, revision: {COMMIT}, steps: 4, device: cpu}}
adapter: {{rank: 2}}
train: {{samples: 4, batch_size: 2, prompts: "{url(web, "/prompts/train.txt")}"}}
evaluate:
  {{prompts: "{url(web, "/prompts/eval.txt")}", images_per_prompt: 2, metrics: [png_kb], pictures: 1}}
reward_settings: {{aesthetic: {{clip: {workplace}/clip, head: "{head}"}}}}
"""
    )
    return workplace


def sha(contents: bytes) -> str:
    return hashlib.sha256(contents).hexdigest()


def url(web: Web, path: str) -> str:
    return f"url:{web.address}{path}#sha256={sha(web.files[path])}&size={len(web.files[path])}"


def rilbench(*arguments: str) -> Any:
    return CliRunner().invoke(app, list(arguments))


def states(*arguments: str) -> tuple[int, dict[str, str]]:
    done = rilbench("fetch", "--config", "toy.yaml", "--json", *arguments)
    return done.exit_code, {file["name"]: file["state"] for file in json.loads(done.stdout)}


@pytest.mark.slow
def test_fetch_gets_everything_and_says_what_is_there(web: Web, place: Path) -> None:
    code, before = states("--check")
    assert code == 1
    assert before == dict.fromkeys(["model_index.json", "train.txt", "eval.txt", "head.safetensors"], "missing")
    assert not any(method == "GET" for method, _, _ in web.asked)

    done = rilbench("fetch", "--config", "toy.yaml", "--json")
    code, after = done.exit_code, {file["name"]: file["state"] for file in json.loads(done.stdout)}
    assert code == 0
    assert "downloading head.safetensors: " in done.stderr
    assert set(after.values()) == {"present"}
    assert {*before, "unet/diffusion_pytorch_model.safetensors", "tokenizer/tokenizer.json", "README.md"} <= set(after)
    assert not web.gets(".bin")
    asked = len(web.asked)
    assert states("--check") == (0, after)
    assert len(web.asked) == asked
    assert "checking head.safetensors" in rilbench("fetch", "--config", "toy.yaml", "--check").stderr
    assert "head" not in rilbench("fetch", "--config", "toy.yaml", "--check", "--quiet").stderr

    shown = rilbench("fetch", "--config", "toy.yaml", "--check").stdout
    assert "openrail" in shown  # of the repository's card
    assert "Apache-2.0" in shown
    assert "3 for training, 1 for evaluation, 0 in both" in shown


@pytest.mark.slow
def test_a_corrupt_file_is_told_and_fetched_again(web: Web, place: Path) -> None:
    states()
    (head,) = (place / "urls").glob("*head.safetensors")
    (unet,) = (place / "hub").rglob("snapshots/*/unet/*.safetensors")
    for path in (head, unet):
        whole = path.read_bytes()
        path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    code, found = states("--check")
    assert code == 1
    assert found["head.safetensors"] == found["unet/diffusion_pytorch_model.safetensors"] == "corrupt"
    shown = rilbench("fetch", "--config", "toy.yaml", "--check").stdout
    assert "the Hub says" in shown
    assert states()[0] == 0
    assert states("--check")[0] == 0


@pytest.mark.slow
def test_a_file_that_cannot_be_had_does_not_stop_the_others(web: Web, place: Path) -> None:
    del web.files["/head.safetensors"]
    done = rilbench("fetch", "--config", "toy.yaml")
    assert done.exit_code == 1
    assert "404" in done.stdout
    _, found = states("--check")
    assert [name for name, state in found.items() if state != "present"] == ["head.safetensors"]


@pytest.mark.slow
def test_a_listing_that_cannot_be_had_does_not_stop_the_others(web: Web, place: Path) -> None:
    listing = f"/api/models/some/pipeline/revision/{COMMIT}"
    web.hidden.add(listing)
    code, found = states()
    assert code == 1
    assert found["model_index.json"] == "failed"
    assert {found[name] for name in ("train.txt", "eval.txt", "head.safetensors")} == {"present"}
    shown = rilbench("fetch", "--config", "toy.yaml").stdout
    assert "cannot list the files of some/pipeline: " in shown
    assert shown.count("cannot list") == 1
    web.hidden.clear()
    assert set(states()[1].values()) == {"present"}


@pytest.mark.slow
def test_a_model_published_in_half_precision_only(web: Web, place: Path) -> None:
    from rilbench.engine.config import load
    from rilbench.model.text_to_image import TextToImage

    base = f"/some/pipeline/resolve/{COMMIT}/"
    published = {path.removeprefix(base): web.files[path] for path in list(web.files) if path.startswith(base)}
    whole = {name: load_bytes(contents) for name, contents in published.items() if name.endswith(".safetensors")}
    assert {name.partition("/")[0] for name in whole} == {"unet", "vae", "text_encoder"}
    for name, state in whole.items():
        del web.files[base + name], published[name]
        half = {key: value.half() if value.is_floating_point() else value for key, value in state.items()}
        published[name.replace(".safetensors", ".fp16.safetensors")] = save_bytes(half, {"format": "pt"})
    web.put_on_hub("some/pipeline", published)
    code, found = states()
    assert code == 0
    assert found["unet/diffusion_pytorch_model.fp16.safetensors"] == "present"
    assert not any(name.endswith("model.safetensors") for name in found)
    with pytest.warns(UserWarning, match="has weights in half precision only"):
        model = TextToImage.load(load(str(place / "toy.yaml")).model)
    expected = whole["unet/diffusion_pytorch_model.safetensors"]
    state = model.network.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], value.half().float()) for key, value in expected.items())


class Blocked:
    """No socket connects; attempts are kept."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.attempts: list[Any] = []
        for owner, name in ((socket.socket, "connect"), (socket.socket, "connect_ex"), (socket, "getaddrinfo")):
            monkeypatch.setattr(owner, name, self._refuse)

    def _refuse(self, *arguments: Any, **options: Any) -> NoReturn:
        self.attempts.append(arguments)
        raise OSError("the network is blocked")


def test_a_run_before_fetch_names_the_files_and_the_command(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = Blocked(monkeypatch)
    with pytest.raises(RilbenchError) as caught:
        run(place)
    told = str(caught.value)
    assert "model_index.json of hub:some/pipeline/model_index.json@" in told
    assert f"should be at {place}/urls/" in told
    assert "2 more, which --check lists" in told
    assert "rilbench fetch" in told
    assert not (place / "runs").exists()
    assert blocked.attempts == []


def run(place: Path) -> Any:
    from rilbench.engine.config import load

    return engine.run(load(str(place / "toy.yaml")), catalog=toy.catalog(), reporter=Reporter(quiet=True)).result


@pytest.mark.slow
def test_after_fetch_a_run_offline_needs_no_network(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert states()[0] == 0
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    blocked = Blocked(monkeypatch)
    assert states() == states("--check")
    result = run(place)
    assert [row.label for row in result.matrix.rows] == ["base", "aesthetic"]
    assert blocked.attempts == []


def test_fetch_offline_only_looks(web: Web, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    blocked = Blocked(monkeypatch)
    done = rilbench("fetch", "--config", "toy.yaml")
    assert done.exit_code == 1
    assert "HF_HUB_OFFLINE is set; nothing was downloaded" in done.stdout
    assert blocked.attempts == []


@pytest.mark.slow
def test_explain_without_the_files_prints_the_plan_and_what_is_missing(place: Path) -> None:
    done = rilbench("explain", "--config", "toy.yaml", "--json")
    assert done.exit_code == 0
    told = json.loads(done.stdout)
    base, *stages = told["stages"]
    assert (base["label"], base["samples"], base["train"]) == ("base", 0, None)
    assert all(stage["samples"] > 0 and stage["updates"] > 0 for stage in stages)
    assert told["settings"]["train"]["batch_size"] > 0
    assert told["parameters"] is told["memory"] is told["estimate"]["seconds"] is told["evaluation_images"] is None
    missing = {file["name"] for file in told["missing"]}
    assert missing == {"model_index.json", "train.txt", "eval.txt", "head.safetensors"}
    assert any("rilbench fetch" in remedy for remedy in told["remedies"])

    shown = rilbench("explain", "--config", "toy.yaml").stdout
    assert "files are missing" in shown
    assert "head.safetensors" in shown
    refused = rilbench("explain", "--config", "toy.yaml", "--rewards", "nothing")
    assert isinstance(refused.exception, RilbenchError)
