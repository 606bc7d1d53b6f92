"""Imports most of what a run does, for the process that workers are copies of. A module that cannot be imported ends
the run that needs it, not that process."""

from contextlib import suppress
from importlib import import_module

for name in ("rilbench.engine.run", "diffusers.pipelines.pipeline_utils", "diffusers.guiders"):
    with suppress(BaseException):  # some libraries exit while they are imported
        import_module(name)
