"""A pipeline is loaded whole, or refused with part and weights that are wrong; published old names are known."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_pipelines
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from rilbench.contracts.errors import ConfigError
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage

State = dict[str, Tensor]
FILES = {
    "unet": "diffusion_pytorch_model.safetensors",
    "vae": "diffusion_pytorch_model.safetensors",
    "text_encoder": "model.safetensors",
    "text_encoder_2": "model.safetensors",
}
PARTS = pytest.mark.parametrize("part", FILES)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_pipelines.save("stable_diffusion_xl", tmp_path_factory.mktemp("sound") / "xl")


@pytest.fixture
def folder(sound: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(sound, tmp_path / "xl"))


def load(folder: Path, **changes: str) -> TextToImage:
    return TextToImage.load(ModelConfig(path=str(folder), device="cpu", resolution=16, **changes))  # type: ignore[arg-type]


def rewrite(file: Path, change: Callable[[State], State]) -> None:
    state = {key: value.clone().contiguous() for key, value in load_file(file).items()}
    save_file(change(state), file, metadata={"format": "pt"})


def refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> str:
    """The message, and nothing else on the screen."""
    capfd.readouterr()
    with pytest.raises(ConfigError) as caught:
        load(folder)
    assert capfd.readouterr() == ("", "")
    return str(caught.value)


@PARTS
def test_renamed_weights_are_refused(part: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    rewrite(folder / part / FILES[part], lambda state: {f"other.{key}": value for key, value in state.items()})
    count = len(load_file(folder / part / FILES[part]))
    told = refused(folder, capfd)
    assert f"model.path: {folder / part} is not a whole " in told
    assert told.endswith(f"is missing and {count - 3} more; fetch or make its files again")


@PARTS
def test_a_pickle_in_place_of_the_weights_is_not_read(
    part: str, folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    file = folder / part / FILES[part]
    torch.save(load_file(file), file.with_suffix(".bin"))
    torch.save(load_file(file), file.with_name("pytorch_model.bin"))
    file.unlink()
    assert f"no file named {file.name}" in refused(folder, capfd)


@PARTS
def test_a_dropped_weight_is_refused(part: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    dropped = next(key for key in sorted(load_file(folder / part / FILES[part])) if key.endswith("weight"))
    rewrite(folder / part / FILES[part], lambda state: {k: v for k, v in state.items() if k != dropped})
    told = refused(folder, capfd)
    assert str(folder / part) in told
    assert dropped in told


@PARTS
def test_a_weight_of_another_shape_is_refused(part: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    wrong = next(key for key in sorted(load_file(folder / part / FILES[part])) if key.endswith("weight"))
    rewrite(folder / part / FILES[part], lambda state: state | {wrong: torch.zeros(3, 5, 7)})
    told = refused(folder, capfd)
    assert str(folder / part) in told
    assert wrong in told


@PARTS
def test_a_cut_file_is_refused(part: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    file = folder / part / FILES[part]
    file.write_bytes(file.read_bytes()[:-10])
    assert f"model.path: cannot load {folder / part}: " in refused(folder, capfd)


@PARTS
def test_a_missing_file_is_refused(part: str, folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / part / FILES[part]).unlink()
    told = refused(folder, capfd)
    assert f"model.path: cannot load {folder / part}: " in told
    assert FILES[part] in told


def test_a_missing_folder_is_refused(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where its path has the form of a Hub id."""
    shutil.rmtree(folder / "vae")
    monkeypatch.chdir(folder.parent)
    assert "model.path: there is no folder xl/vae" in refused(Path("xl"), capfd)


ATTENTION = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}  # of old autoencoders


def as_published(part: str, state: State) -> State:
    """The names in the files of Stable Diffusion 1.5."""
    if part == "text_encoder":
        bare = {key.removeprefix("text_model."): value for key, value in state.items()}
        positions = torch.arange(len(bare["embeddings.position_embedding.weight"]))[None]
        return {f"text_model.{key}": value for key, value in (bare | {"embeddings.position_ids": positions}).items()}
    found = {}
    for key, value in state.items():
        for new, old in ATTENTION.items():
            key = key.replace(f".attentions.0.{new}.", f".attentions.0.{old}.")
        found[key] = value
    return found


@pytest.mark.slow
@pytest.mark.parametrize("part", ["text_encoder", "vae"])
def test_published_old_names_are_known(part: str, sound: Path, folder: Path) -> None:
    names = set(load_file(folder / part / FILES[part]))
    rewrite(folder / part / FILES[part], lambda state: as_published(part, state))
    assert set(load_file(folder / part / FILES[part])) != names
    one, other = (getattr(load(path).backbone.pipeline, part).state_dict() for path in (sound, folder))
    assert one.keys() == other.keys()
    assert all(torch.equal(one[key], other[key]) for key in one)


@pytest.mark.slow
def test_an_autoencoder_in_float32_is_never_rounded(sound: Path) -> None:
    """Beside a denoiser in bfloat16, which is."""
    model = load(sound, precision="bf16")
    loaded = {"vae": model.vae.state_dict(), "unet": model.network.state_dict()}
    for part, state in loaded.items():
        exact = load_file(sound / part / FILES[part])
        assert state.keys() == exact.keys()
        equal = all(torch.equal(state[key].float(), value) for key, value in exact.items())
        assert equal == (part == "vae")


@pytest.mark.slow
def test_an_autoencoder_in_bfloat16_is_rounded_once(sound: Path) -> None:
    state = load(sound, precision="bf16", vae_precision="bf16").vae.state_dict()
    exact = load_file(sound / "vae" / FILES["vae"])
    assert all(torch.equal(state[key], value.bfloat16()) for key, value in exact.items())
