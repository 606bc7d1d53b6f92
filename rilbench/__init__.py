"""rilbench: Reward Incremental Learning for text-to-image diffusion models.

The names below are the public ones; a plugin needs no others. None of them imports torch at import time.
"""

from rilbench.contracts import API_VERSION, MeanMetric, Metric, NoSettings, Reward, Stage, Step, Strategy
from rilbench.errors import ConfigError, PluginError, RilbenchError
from rilbench.hooks import hookimpl

__version__ = "0.1.0"
__all__ = [
    "API_VERSION",
    "ConfigError",
    "MeanMetric",
    "Metric",
    "NoSettings",
    "PluginError",
    "Reward",
    "RilbenchError",
    "Stage",
    "Step",
    "Strategy",
    "hookimpl",
]
