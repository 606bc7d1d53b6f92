"""The shape of head the LAION aesthetic predictor v2 has."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import cast

from torch import Tensor, nn

from rilbench import ConfigError
from rilbench.encoders import brief, read_tensors

REMEDY = "name the file of a head such as sac+logos+ava1-l14-linearMSE.pth"
KEYS = ("0", "2", "4", "6", "7")  # the gaps are the dropouts of the published training code


class LinearHead(nn.Module):
    """Five linear layers without activation between them, so an affine map: (B, widths[0]) to scores (B,).

    widths: six sizes, (768, 1024, 128, 64, 16, 1) in the published head. Its dropouts act in training only and are
    left out. Source: github.com/christophschuhmann/improved-aesthetic-predictor.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        if len(widths) != len(KEYS) + 1 or widths[-1] != 1:
            raise ConfigError(f"an aesthetic head has {len(KEYS) + 1} widths, the last of them 1, not {tuple(widths)}")
        pairs = zip(KEYS, widths[:-1], widths[1:], strict=True)
        self.layers = nn.ModuleDict({key: nn.Linear(old, new) for key, old, new in pairs})

    def forward(self, features: Tensor) -> Tensor:
        """Features (B, D) to scores (B,), about 1 to 10 for the published head on unit vectors."""
        for layer in self.layers.values():
            features = layer(features)
        return features.squeeze(-1)

    @property
    def dim(self) -> int:
        """The size of the features it takes."""
        return cast(nn.Linear, self.layers["0"]).in_features

    @classmethod
    def load(cls, path: str | Path) -> LinearHead:
        """A head from a `.safetensors` or torch file; ConfigError when the file is missing, corrupt or not a head."""
        state = read_tensors(str(path), "head")
        try:
            weights = [state[f"layers.{key}.weight"] for key in KEYS]
            head = cls([weights[0].shape[1], *map(len, weights)])
            head.load_state_dict(state)
        except (KeyError, IndexError, TypeError, RuntimeError) as error:  # other keys, or weights of other shapes
            raise ConfigError(f"head: {path} is not an aesthetic head ({brief(error)}); {REMEDY}") from None
        return head
