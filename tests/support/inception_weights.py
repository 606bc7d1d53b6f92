"""Random weights for the Inception of torch-fidelity, in the published file's format."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3


class Untrained(FeatureExtractorInceptionV3):  # type: ignore[misc]
    def load_state_dict(self, state: Any, *arguments: Any, **options: Any) -> None:
        """Keep the random weights."""


def save_inception(file: Path) -> Path:
    """Weights with which features differ between pictures: torch's own make them constant to nine digits."""
    with torch.random.fork_rng(), TemporaryDirectory() as folder:
        torch.manual_seed(0)
        torch.save({}, f"{folder}/empty.pth")
        network = Untrained("inception", ["2048"], feature_extractor_weights_path=f"{folder}/empty.pth")
        state = network.state_dict()
        for name, value in state.items():
            if name.endswith("conv.weight"):
                value.normal_(std=(2 / value[0].numel()) ** 0.5)
            if name.endswith("running_mean"):
                value.normal_(std=0.1)
    torch.save(state, file)
    return file
