"""`rilbench plugins new`: a complete package for a reward, a metric or a strategy, which already works."""

from rilbench_plugins.scaffold.package import KINDS, create

__all__ = ["KINDS", "create"]
