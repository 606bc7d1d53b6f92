"""MLflow tracking as a hook plugin: every run of `rilbench run` becomes one MLflow run. Nothing here imports mlflow
before there is something to send."""

from rilbench_mlflow.state import location
from rilbench_mlflow.tracker import MlflowTracker
from rilbench_mlflow.upload import sync

__all__ = ["MlflowTracker", "location", "sync"]
