"""`hps` against the code of the hpsv2 package on one random ViT-H/14 checkpoint in the published format."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest
import torch
from parity_clips import checkpoint, other_activation
from parity_packages import hpsv2
from parity_pictures import PROMPTS, apart, normalised, pictures, pil
from parity_records import Figure, Figures
from torch import Tensor
from torch.nn import functional as F

from rilbench.encoders import resize
from rilbench_hps import HPS, HPSSettings

pytestmark = pytest.mark.filterwarnings("ignore")  # of the package
MODEL = "ViT-H-14"
SIZES = ((512, 512), (640, 384), (301, 452))


class Package:
    """hpsv2 with its model made, as its own `initialize_model` makes it but without the download."""

    def __init__(self, version: str, scoring: ModuleType, clip: ModuleType, file: Path) -> None:
        self.name, self.file, self._score = f"hpsv2 {version}", file, scoring.score
        options = {"precision": "amp", "light_augmentation": True, "aug_cfg": {}, "output_dict": True}
        self.model, _, self.preprocess = clip.create_model_and_transforms(MODEL, None, device="cpu", **options)
        self.model.load_state_dict(torch.load(file, weights_only=True)["state_dict"])
        self.model.eval().requires_grad_(False)
        vars(scoring)["model_dict"] |= {"model": self.model, "preprocess_val": self.preprocess}
        self.tokenize = clip.get_tokenizer(MODEL)

    def score(self, x: Tensor, prompt: str) -> Tensor:
        """By its public function, which reads the checkpoint each time."""
        return torch.tensor([float(s) for s in self._score([pil(image) for image in x], prompt, cp=str(self.file))])


@pytest.fixture(scope="module")
def package(cache: Path) -> Iterator[Package]:
    with hpsv2() as (version, scoring, clip):
        yield Package(version, scoring, clip, checkpoint(MODEL, cache))


@pytest.fixture(scope="module")
def reward(cache: Path) -> HPS:
    return HPS(HPSSettings(model=MODEL, pretrained=str(checkpoint(MODEL, cache))))


@pytest.fixture(scope="module")
def compared(reward: HPS, package: Package) -> dict[str, Any]:
    """One 8-bit picture of each size, its prompt, and both scores."""
    images = [pictures(1, *size, seed=i) for i, size in enumerate(SIZES)]
    with torch.no_grad():
        ours = torch.cat([reward(x, [prompt]) for x, prompt in zip(images, PROMPTS, strict=True)])
    theirs = torch.cat([package.score(x, prompt) for x, prompt in zip(images, PROMPTS, strict=True)])
    return {"images": images, "ours": ours, "theirs": theirs}


def test_preprocessing(package: Package, figures: Figures) -> None:
    """From the same 8-bit pictures; in units of the normalised input, whose deviation is about 1."""
    seen, cropped, aliased = [], [], []
    for i, size in enumerate(SIZES):
        x = pictures(1, *size, seed=i)
        theirs = package.preprocess(pil(x[0]))[None]
        seen.append(apart(normalised(resize(x, 224, mode="pad")), theirs))
        cropped.append(apart(normalised(resize(x, 224)), theirs))
        aliased.append(apart(normalised(padded_without_antialias(x)), theirs))
    mistakes = {"crop": min(cropped[1:]), "no antialias": min(aliased)}  # a crop of the square one changes nothing
    figures.check(Figure("hps", package.name, "preprocessed pixels", max(seen), 1e-4, mistakes))


def padded_without_antialias(x: Tensor) -> Tensor:
    scale = 224 / max(x.shape[-2:])
    small = F.interpolate(x, tuple(round(side * scale) for side in x.shape[-2:]), mode="bicubic")
    rows, columns = (224 - side for side in small.shape[-2:])
    return F.pad(small, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def test_features(reward: HPS, package: Package, figures: Figures) -> None:
    """Unit vectors of 1024, whose parts are about 0.03: of one tensor of pixels, so of the networks alone."""
    x, model = resize(pictures(1, *SIZES[1], seed=1), 224, mode="pad"), reward.encoder.model
    with torch.no_grad():
        theirs = package.model.encode_image(normalised(x), normalize=True)
        ours = reward.encoder.image_features(x)
        with other_activation(model):
            mistaken = apart(reward.encoder.image_features(x), theirs)
        words = package.model.encode_text(package.tokenize(PROMPTS), normalize=True)
        other = apart(reward.encoder.text_features([p.replace("e", "a") for p in PROMPTS]), words)
    seen = apart(ours, theirs)
    figures.check(Figure("hps", package.name, "image features", seen, 1e-5, {"QuickGELU": mistaken}))
    seen = apart(reward.encoder.text_features(PROMPTS), words)
    figures.check(Figure("hps", package.name, "text features", seen, 1e-5, {"other prompts": other}))


def test_scores(reward: HPS, package: Package, compared: dict[str, Any], figures: Figures) -> None:
    """From picture to score, by the package's own function."""
    wide, prompt, theirs = compared["images"][1], PROMPTS[1], compared["theirs"][1:2]
    with torch.no_grad(), patch.object(reward.encoder, "fit", "square"):
        cropped = apart(reward(wide, [prompt]), theirs)
    with torch.no_grad(), patch.object(reward.encoder, "_mean", torch.full((3, 1, 1), 0.5)):
        other_mean = apart(reward(wide, [prompt]), theirs)
    seen = apart(compared["ours"], compared["theirs"])
    assert compared["theirs"].std() > 100 * seen  # or the test says nothing
    figures.check(Figure("hps", package.name, "score", seen, 1e-5, {"crop": cropped, "mean 0.5": other_mean}))


def test_what_eight_bits_do(reward: HPS, package: Package, compared: dict[str, Any], figures: Figures) -> None:
    """The package sees 8-bit pictures, a reward in training sees the decoder's own values."""
    with torch.no_grad():
        ours = reward(pictures(1, *SIZES[0], seed=0, bits=None), PROMPTS[:1])
    seen = apart(ours, compared["theirs"][:1])
    figures.check(Figure("hps", package.name, "score of a picture not yet in 8 bits", seen, 1e-3))
