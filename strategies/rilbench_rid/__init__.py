"""`rid`: Reward Incremental Distillation, the paper's method (`method.py`), with its ablations (`ablations.py`)."""

from rilbench_rid.ablations import RID, RIDSettings

__all__ = ["RID", "RIDSettings"]
