"""The sampler of flow-matching models."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from rilbench.contracts.errors import ConfigError
from rilbench.model.config import ModelConfig
from rilbench.model.samplers import Sampler, check_steps


class Flow(Sampler):
    """Euler steps along a velocity field (flow matching), with the shift the scheduler gives images of this size."""

    def __init__(self, source: Any, config: ModelConfig, *, patches: int, sigmas: np.ndarray | None = None) -> None:
        from diffusers import FlowMatchEulerDiscreteScheduler
        from diffusers.pipelines.flux.pipeline_flux import calculate_shift

        if config.sampler != "auto":
            raise ConfigError(f"model.sampler: {config.sampler} is not for a flow-matching model; set it to auto")
        self.scheduler = FlowMatchEulerDiscreteScheduler.from_config(source.config)
        check_steps(self.scheduler, config.steps)
        own, shift = self.scheduler.config, None
        if own.use_dynamic_shifting:
            shift = calculate_shift(
                patches, own.base_image_seq_len, own.max_image_seq_len, own.base_shift, own.max_shift
            )
        self.scheduler.set_timesteps(config.steps, sigmas=sigmas, mu=shift)

    def step(self, i: int, z: Tensor, prediction: Tensor) -> Tensor:
        sigma = self.scheduler.sigmas[-i - 1 :]  # of z_i, then of z_{i-1}
        return z + float(sigma[1] - sigma[0]) * prediction
