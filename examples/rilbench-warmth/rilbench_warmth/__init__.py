"""Warm colours: `warmth`, a reward to train on, and `warm_share`, a metric to check the training."""

from rilbench_warmth.metric import WarmShare
from rilbench_warmth.reward import Warmth, WarmthSettings

__all__ = ["WarmShare", "Warmth", "WarmthSettings"]
