"""rilbench: Reward Incremental Learning for text-to-image diffusion models.

The names below are the public ones, with `rilbench.plot` for figures, `rilbench.encoders` for plugins that need a CLIP,
`rilbench.files.published` for published files, `rilbench.testing` for their tests, `rilbench.contracts.result`,
`rilbench.contracts.progress` and `rilbench.tracking` for hooks and `rilbench.cli` for commands. Each is imported when
it is first used, so importing this imports no torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rilbench.api import plot
    from rilbench.api.calls import StagePlan, load_runs, plan, run
    from rilbench.api.compare import compare
    from rilbench.api.stages import Run, RunStage
    from rilbench.contracts.components import API_VERSION, MeanMetric, Metric, NoSettings, Reward
    from rilbench.contracts.errors import ConfigError, PluginError, RilbenchError
    from rilbench.contracts.files import NeededFile
    from rilbench.contracts.hooks import hookimpl
    from rilbench.contracts.pair import LoraPair
    from rilbench.contracts.settings import setting
    from rilbench.contracts.strategy import Stage, Step, Strategy

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
    "Run",
    "RunStage",
    "Stage",
    "StagePlan",
    "Step",
    "Strategy",
    "compare",
    "hookimpl",
    "load_runs",
    "plan",
    "plot",
    "run",
    "setting",
]
MODULES = {
    "rilbench.api.calls": ("StagePlan", "load_runs", "plan", "run"),
    "rilbench.api.compare": ("compare",),
    "rilbench.api.stages": ("Run", "RunStage"),
    "rilbench.contracts.components": ("API_VERSION", "MeanMetric", "Metric", "NoSettings", "Reward"),
    "rilbench.contracts.errors": ("ConfigError", "PluginError", "RilbenchError"),
    "rilbench.contracts.files": ("NeededFile",),
    "rilbench.contracts.hooks": ("hookimpl",),
    "rilbench.contracts.pair": ("LoraPair",),
    "rilbench.contracts.settings": ("setting",),
    "rilbench.contracts.strategy": ("Stage", "Step", "Strategy"),
}


def __getattr__(name: str) -> Any:
    if name == "plot":
        return import_module("rilbench.api.plot")
    for module, names in MODULES.items():
        if name in names:
            return getattr(import_module(module), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
