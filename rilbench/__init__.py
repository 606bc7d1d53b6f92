"""rilbench: Reward Incremental Learning for text-to-image diffusion models.

The names below are the public ones, with `rilbench.encoders` for plugins that need a CLIP, `rilbench.remote` for
published files, `rilbench.testing` for their tests and `rilbench.result` for hooks. Importing this imports no torch.
"""

from typing import TYPE_CHECKING, Any

from rilbench.contracts import API_VERSION, MeanMetric, Metric, NoSettings, Reward, Stage, Step, Strategy
from rilbench.errors import ConfigError, PluginError, RilbenchError
from rilbench.hooks import hookimpl
from rilbench.remote import NeededFile
from rilbench.settings import setting

if TYPE_CHECKING:
    from rilbench.model.adapters import LoraPair

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
        from rilbench.model.adapters import LoraPair

        return LoraPair
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
