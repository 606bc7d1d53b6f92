"""Families of text-to-image pipelines, by the name of the diffusers class that a model's folder asks for."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rilbench.model.backbones.base import Backbone

FAMILIES = {  # module and class of the only family that a run imports
    "StableDiffusionPipeline": ("stable_diffusion", "StableDiffusion"),
    "LatentConsistencyModelPipeline": ("stable_diffusion", "StableDiffusion"),
    "StableDiffusionXLPipeline": ("stable_diffusion_xl", "StableDiffusionXL"),
    "StableDiffusion3Pipeline": ("stable_diffusion_3", "StableDiffusion3"),
    "FluxPipeline": ("flux", "Flux"),
}


def family(pipeline: str) -> type[Backbone]:
    """The family of a pipeline."""
    module, name = FAMILIES[pipeline]
    found: type[Backbone] = getattr(import_module(f"{__name__}.{module}"), name)
    return found
