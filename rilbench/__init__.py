"""rilbench: Reward Incremental Learning for text-to-image diffusion models.

The names below are the public ones, with `rilbench.encoders` for plugins that need a CLIP,
`rilbench.contracts.files` for published files, `rilbench.testing` for their tests and `rilbench.contracts.result` for
hooks. Importing this imports no torch.
"""

from typing import TYPE_CHECKING, Any

from rilbench.contracts.components import API_VERSION, MeanMetric, Metric, NoSettings, Reward
from rilbench.contracts.errors import ConfigError, PluginError, RilbenchError
from rilbench.contracts.files import NeededFile
from rilbench.contracts.hooks import hookimpl
from rilbench.contracts.settings import setting
from rilbench.contracts.strategy import Stage, Step, Strategy

if TYPE_CHECKING:
    from rilbench.contracts.pair import LoraPair

__version__ = "0.1.0"
__all__ = [
    "API_VERSION",
    "ConfigError",
    "LoraPair",
    "MeanMetric",
    "Metric",
    "NeededFile",
    "NoSettings",
    "PluginError",
    "Reward",
    "RilbenchError",
    "Stage",
    "Step",
    "Strategy",
    "hookimpl",
    "setting",
]


def __getattr__(name: str) -> Any:
    """`LoraPair` imports torch, so it is fetched when it is asked for."""
    if name == "LoraPair":
        from rilbench.contracts.pair import LoraPair

        return LoraPair
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
