"""A damaged file is refused by everything that loads one: cut, changed, pickled code, and another model's weights under
its name. The message says which file, and what to do. No code of a file ever runs."""

from __future__ import annotations

import hashlib
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import blip_reference as blip
import open_clip
import pytest
import torch
from helpers import DIM, SIZE, clip_config, images, save_clip, save_pickscore
from safetensors.torch import save_file

from rilbench import ConfigError, NeededFile
from rilbench.encoders import ClipEncoder
from rilbench.files.published import place_of
from rilbench_aesthetic import Aesthetic, AestheticSettings, LinearHead
from rilbench_clip import Clip, ClipSettings
from rilbench_hps import HPS, HPSSettings
from rilbench_imagereward import ImageReward, ImageRewardSettings
from rilbench_metrics.clip_features import ClipScore, ClipScoreSettings, Diversity
from rilbench_metrics.extractors import ExtractorSettings
from rilbench_metrics.feature_sets import FeatureSettings
from rilbench_metrics.fid import FID, statistics
from rilbench_pickscore import PickScore, PickScoreSettings

ARCHITECTURE = "tiny-test"
REMEDIES = ("fetch", "download", "name ", "take ", "make ", "needs ", "; use ", "; give ")


class Bomb:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (Path("bomb"),)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a sound file for each component."""
    folder = tmp_path_factory.mktemp("good")
    clip = save_clip(folder / "clip")
    with torch.random.fork_rng():
        torch.manual_seed(0)
        torch.save(LinearHead((DIM, 8, 6, 4, 3, 1)).state_dict(), folder / "head.pth")
        torch.save({"state_dict": open_clip.CLIP(**clip_config(49408)).state_dict()}, folder / "open_clip.pt")
        save_pickscore(folder / "pickscore")
    torch.save(blip.checkpoint(blip.TINY), folder / "ImageReward.pt")
    blip.save_tokenizer(folder / "words")
    blip.save_config(folder / "med_config.json", blip.TINY)
    mean, cov = statistics(ClipEncoder(str(clip)).image_features(images(20, 3, SIZE, SIZE)))
    save_file({"mean": mean, "cov": cov}, folder / "stats.safetensors")
    return folder


FILES = {
    "aesthetic": "head.pth",
    "hps": "open_clip.pt",
    "clip": "open_clip.pt",
    "clip_score": "open_clip.pt",
    "diversity": "open_clip.pt",
    "fid": "stats.safetensors",
    "imagereward": "ImageReward.pt",
    "pickscore": "pickscore/model.safetensors",
}
ALL = pytest.mark.parametrize("name", FILES)


@pytest.fixture
def folder(good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the files that may be damaged, the working folder."""
    monkeypatch.setitem(open_clip.factory._MODEL_CONFIGS, ARCHITECTURE, clip_config(49408))
    monkeypatch.setenv("RILBENCH_CACHE", str(tmp_path / "urls"))
    copy = Path(shutil.copytree(good, tmp_path / "copy"))
    monkeypatch.chdir(tmp_path)
    return copy


def make(name: str, folder: Path, file: str) -> object:
    """The component, reading `file` as its weights or statistics."""
    makers: dict[str, Callable[[], object]] = {
        "aesthetic": lambda: Aesthetic(AestheticSettings(clip=f"{folder}/clip", head=file)),
        "hps": lambda: HPS(HPSSettings(model=ARCHITECTURE, pretrained=file)),
        "clip": lambda: Clip(ClipSettings(model=ARCHITECTURE, pretrained=file)),
        "clip_score": lambda: ClipScore(ClipScoreSettings(model=ARCHITECTURE, pretrained=file)),
        "diversity": lambda: Diversity(ExtractorSettings(extractor="clip", model=ARCHITECTURE, pretrained=file)),
        "fid": lambda: FID(FeatureSettings(extractor="clip", model=f"{folder}/clip", reference=file)),
        "imagereward": lambda: ImageReward(
            ImageRewardSettings(weights=file, config=f"{folder}/med_config.json", tokenizer=f"{folder}/words")
        ),
        "pickscore": lambda: PickScore(PickScoreSettings(str(Path(file).parent), f"{folder}/pickscore")),
    }
    return makers[name]()


def refused(name: str, folder: Path, file: str) -> str:
    with pytest.raises(ConfigError) as caught:
        make(name, folder, file)
    told = str(caught.value)
    assert "\n" not in told
    assert any(word in told for word in REMEDIES), told
    assert not Path("bomb").exists()
    return told


@ALL
def test_a_sound_file_is_taken(folder: Path, name: str) -> None:
    make(name, folder, f"{folder}/{FILES[name]}")


@ALL
@pytest.mark.parametrize("rest", [0.0, 0.5, 0.99])
def test_a_cut_file_is_refused(folder: Path, name: str, rest: float) -> None:
    file = folder / FILES[name]
    whole = file.read_bytes()
    file.write_bytes(whole[: int(len(whole) * rest)])
    assert str(file.parent) in refused(name, folder, str(file))


@ALL
def test_pickled_code_is_refused_and_does_not_run(folder: Path, name: str) -> None:
    file = folder / FILES[name]
    torch.save({"state_dict": Bomb()} if file.suffix == ".pt" else {"mean": Bomb()}, file)
    assert str(file.parent) in refused(name, folder, str(file))


@ALL
def test_weights_of_another_model_are_refused(folder: Path, name: str) -> None:
    file = folder / FILES[name]
    other = {"layers.0.weight": torch.zeros(3, 2)}
    if file.suffix == ".safetensors":
        save_file(other, file, metadata={"format": "pt"})
    else:
        torch.save({"state_dict": other} if name in ("hps", "clip", "clip_score", "diversity") else other, file)
    assert str(file.parent) in refused(name, folder, str(file))


@pytest.mark.parametrize("name", [name for name in FILES if name != "pickscore"])
def test_one_changed_bit_is_refused_where_the_hash_is_known(folder: Path, name: str) -> None:
    """A file of the same model that is not the published one, such as HPS v2.1 under the name of v2.0."""
    contents = (folder / FILES[name]).read_bytes()
    source = f"url:https://example.org/{FILES[name]}"
    text = f"{source}#sha256={hashlib.sha256(contents).hexdigest()}"
    place = place_of(NeededFile(source))
    place.parent.mkdir()
    place.write_bytes(contents)
    make(name, folder, text)
    middle = len(contents) // 2
    place.write_bytes(contents[:middle] + bytes([contents[middle] ^ 1]) + contents[middle + 1 :])
    told = refused(name, folder, text)
    assert str(place) in told
    assert re.search(rf"{re.escape(source)}.*rilbench fetch", told)


def test_pickscore_checks_the_hash_it_is_given(folder: Path) -> None:
    file = folder / FILES["pickscore"]
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    settings = PickScoreSettings(model=str(file.parent), processor=str(file.parent), sha256=digest)
    PickScore(settings)
    whole = file.read_bytes()
    file.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(ConfigError, match=f"{file} has sha256 .*download it again"):
        PickScore(settings)


def test_pickscore_reads_no_pickle_beside_the_missing_safetensors(folder: Path) -> None:
    file = folder / FILES["pickscore"]
    file.unlink()
    torch.save({"logit_scale": Bomb()}, file.with_name("pytorch_model.bin"))
    assert "has no model.safetensors" in refused("pickscore", folder, str(file))
