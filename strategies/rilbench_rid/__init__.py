"""`rid`: Reward Incremental Distillation. `method.py` is the paper's method, `ablations.py` adds its ablations."""

from rilbench_rid.ablations import RID, RIDSettings

__all__ = ["RID", "RIDSettings"]
