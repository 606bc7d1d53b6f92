"""What distances between sets of features share: settings, the reference file, and the jackknife over prompts."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from safetensors import safe_open
from torch import Tensor

from rilbench import ConfigError, Metric, NeededFile, setting
from rilbench.contracts.files import is_reference, named
from rilbench.encoders import read_tensors
from rilbench.evaluation.intervals import limits
from rilbench.files.resources import resolve
from rilbench_metrics.extractors import Extractor, ExtractorSettings, extractor_files, make_extractor

MOST = 50  # blocks of prompts that the jackknife leaves out in turn
Distance = Callable[[Tensor], float]  # of the images of some prompts, a mask (P,), to the reference set


@dataclass(frozen=True)
class FeatureSettings(ExtractorSettings):
    """The features and the reference set. Set scale=1 for the published definitions on Inception features.

    Unit vectors are close together: with a scale of 10 their squared distances are about 0.1 to 100.
    """

    reference: str = setting(
        "package:rilbench_shapes/weights/fid.safetensors",
        "`mean` (D,), `cov` (D, D), `n` (1,) and `features` (M, D), a sample, of the reference set, as "
        "`rilbench reference` writes them",
        path=True,
    )
    scale: float = setting(1.0, "factor of the features; fid is multiplied by its square", above=0, at_most=1e6)


@dataclass(frozen=True)
class Jackknife:
    """A distance, and without each block of prompts in turn. shares: the blocks' shares of the images, (B,)."""

    value: float
    without: Tensor  # (B,)
    shares: Tensor

    @property
    def corrected(self) -> float:
        """The value without its bias of order 1 / (number of prompts)."""
        return float(len(self.without) * self.value - (self.without * (1 - self.shares)).sum())

    @property
    def influences(self) -> Tensor:
        """What each block adds to the value, (B,); the value's error is their mean, and they sum to 0."""
        weights = 1 - self.shares
        centre = (weights * self.without).sum() / weights.sum()
        return len(self.without) * weights * (centre - self.without)


class FeatureSet(Metric):
    """A distance of the images' features to those of a reference set, which is taken as it is.

    Images of one prompt are not independent, so intervals and corrections count prompts.
    """

    Settings = FeatureSettings
    settings: FeatureSettings
    higher_is_better = False

    @classmethod
    def files(cls, settings: FeatureSettings) -> Sequence[NeededFile]:
        found = extractor_files(settings)
        made = not is_reference(settings.reference) and not settings.reference.startswith("package:")
        command = "rilbench reference FOLDER_OF_IMAGES --size PIXELS, with the --config and settings of the run"
        statistics_file = [NeededFile(settings.reference, made_by=command)] if made else []
        return [*dict.fromkeys([*found, *named(settings)]), *statistics_file]

    def __init__(self, settings: FeatureSettings, *, device: str = "cpu") -> None:
        super().__init__(settings, device=device)
        self.dim = self.read(read_tensors(settings.reference, "reference"))
        self.extract = make_extractor(settings, device)
        check_extractor(settings.reference, self.extract)
        self.reset()

    @abstractmethod
    def read(self, reference: dict[str, Tensor]) -> int:
        """Keep what is needed of the reference file's tensors; returns D. Raises ConfigError if a tensor is missing."""

    @abstractmethod
    def distance(self, features: Tensor, prompts: Tensor) -> Distance:
        """The distance as a function of prompts. features: (N, D) in float64; prompts: the prompt of each, (N,)."""

    def reset(self) -> None:
        self._features: list[Tensor] = []
        self._prompts: list[str] = []
        self._left_out: Jackknife | None = None  # of these

    def update(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> None:
        if not len(images):
            return
        with torch.no_grad():
            features = self.extract.features(images).double().cpu()
        if features.shape[1] != self.dim:
            raise ConfigError(
                f"reference: {self.settings.reference} has {self.dim} features, the extractor returns "
                f"{features.shape[1]}; compute the statistics with the same extractor"
            )
        self._features.append(features)
        self._prompts.extend(prompts)
        self._left_out = None

    def compute(self) -> float:
        if not self._prompts:
            return float("nan")
        if found := self.jackknife():
            return self.estimate(found)
        index = self._index()
        return self.distance(torch.cat(self._features), index)(torch.ones(int(index.max()) + 1, dtype=torch.bool))

    def interval(self) -> tuple[float, float] | None:
        """From the jackknife, corrected for skewness; None with fewer than 3 prompts."""
        found = self.jackknife()
        return limits(self.estimate(found), found.influences.numpy()) if found else None

    def estimate(self, found: Jackknife) -> float:
        """The metric's value."""
        return found.value

    def jackknife(self) -> Jackknife | None:
        """The distance without each block of prompts, computed once; None with fewer than 3 prompts."""
        if self._left_out is None and len(set(self._prompts)) > 2:
            index = self._index()
            self._left_out = leave_out(self.distance(torch.cat(self._features), index), index)
        return self._left_out

    def _index(self) -> Tensor:
        """The prompt of each image, by its place in an order that has nothing to do with what prompts say.

        In alphabetical order, blocks of prompts would be of prompts that are alike.
        """
        numbers = {prompt: i for i, prompt in enumerate(sorted(set(self._prompts), key=_hash))}
        return torch.tensor([numbers[prompt] for prompt in self._prompts], dtype=torch.long)


def leave_out(distance: Distance, prompts: Tensor) -> Jackknife:
    """The distance without each block of prompts in turn. prompts: the prompt of each image, 0 to P - 1, (N,)."""
    count = int(prompts.max()) + 1
    most = min(MOST, count)
    block = torch.arange(count) * most // count  # of each prompt
    without = torch.tensor([distance(block != b) for b in range(most)], dtype=torch.float64)
    shares = torch.bincount(block[prompts], minlength=most).double() / len(prompts)
    return Jackknife(distance(torch.ones(count, dtype=torch.bool)), without, shares)


def _hash(prompt: str) -> bytes:
    return hashlib.sha256(prompt.encode()).digest()


def check_extractor(path: str, extractor: Extractor) -> None:
    """Raises ConfigError if the reference file was made with another extractor."""
    file = resolve(path)
    if not file.endswith(".safetensors"):
        return
    with safe_open(file, framework="pt") as tensors:
        made_with = (tensors.metadata() or {}).get("extractor")
    if made_with and made_with != extractor.label:
        raise ConfigError(
            f"reference: {path} was made with the extractor {made_with}, configured is {extractor.label}; make it "
            "again with rilbench reference, or configure the extractor it was made with"
        )
