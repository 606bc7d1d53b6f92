"""Imports most modules of a run in the process that workers are forked from. If a module cannot be imported, the run
that needs it fails, not this process."""

from contextlib import suppress
from importlib import import_module

for name in ("rilbench.engine.run", "diffusers.pipelines.pipeline_utils", "diffusers.guiders"):
    with suppress(BaseException):  # some libraries exit while they are imported
        import_module(name)
