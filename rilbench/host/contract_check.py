"""Requirements on an imported object before the engine uses it. Each fault is one sentence for its author."""

from __future__ import annotations

import dataclasses
import inspect

from rilbench.contracts.components import API_VERSION, Component, Metric, Reward
from rilbench.contracts.strategy import Strategy

CONTRACTS: dict[str, type[Component]] = {"reward": Reward, "metric": Metric, "strategy": Strategy}


def fault(kind: str, loaded: object) -> str | None:
    """Why an object cannot be a component of its kind; None if it can."""
    contract = CONTRACTS.get(kind)
    version = getattr(loaded, "api_version", API_VERSION)
    if type(version) is not int:
        return f"has api_version = {version!r}, which is not a whole number"
    if version != API_VERSION:
        remedy = "update the plugin" if version < API_VERSION else "update rilbench"
        return f"is for API version {version}; this rilbench supports {API_VERSION}: {remedy}"
    if kind == "command":
        return _command_fault(loaded)
    return None if contract is None else _contract_fault(loaded, contract)


def _command_fault(loaded: object) -> str | None:
    from typer import Typer

    ok = inspect.isfunction(loaded) or isinstance(loaded, Typer)
    return None if ok else "is neither a function nor a typer.Typer"


def _contract_fault(loaded: object, contract: type[Component]) -> str | None:
    if not (isinstance(loaded, type) and issubclass(loaded, contract)):
        return f"is not a subclass of rilbench.{contract.__name__}"
    if inspect.isabstract(loaded):
        missing = ", ".join(sorted(getattr(loaded, "__abstractmethods__", ())))
        return f"does not implement {missing} of rilbench.{contract.__name__}"
    if not (isinstance(loaded.Settings, type) and dataclasses.is_dataclass(loaded.Settings)):
        return "has Settings that are not a dataclass"
    if issubclass(loaded, Reward) and not _names(loaded.metrics):
        return f"has metrics = {loaded.metrics!r}, which is not a tuple of names"
    if issubclass(loaded, Metric) and not isinstance(getattr(loaded, "higher_is_better", None), bool):
        return "does not declare higher_is_better; set it to True or False"
    return None


def _names(value: object) -> bool:
    return isinstance(value, tuple | list) and all(isinstance(name, str) for name in value)
