"""Families of text-to-image pipelines, by the name of the diffusers class that a model's folder asks for."""

from __future__ import annotations

from rilbench.model.backbones.base import Backbone, Condition
from rilbench.model.backbones.flux import Flux
from rilbench.model.backbones.stable_diffusion import StableDiffusion
from rilbench.model.backbones.stable_diffusion_3 import StableDiffusion3
from rilbench.model.backbones.stable_diffusion_xl import StableDiffusionXL

__all__ = ["BACKBONES", "Backbone", "Condition"]

BACKBONES: dict[str, type[Backbone]] = {
    "StableDiffusionPipeline": StableDiffusion,
    "LatentConsistencyModelPipeline": StableDiffusion,
    "StableDiffusionXLPipeline": StableDiffusionXL,
    "StableDiffusion3Pipeline": StableDiffusion3,
    "FluxPipeline": Flux,
}
