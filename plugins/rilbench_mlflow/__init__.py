"""MLflow tracking as a hook plugin: every run of `rilbench run` becomes one MLflow run. Nothing here imports
mlflow before there is something to send."""

from rilbench_mlflow.tracker import MlflowTracker

__all__ = ["MlflowTracker"]
