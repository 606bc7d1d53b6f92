"""Measuring a model: images of fixed prompts and noise, every metric, intervals."""
