"""The definition of a study: the `study:` section and run settings of a file, overridden by options."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rilbench.contracts import settings
from rilbench.contracts.errors import ConfigError, UsageError
from rilbench.contracts.settings import setting
from rilbench.engine import identity
from rilbench.engine.config import STUDY, RunConfig, check_name, compose
from rilbench.engine.layers import read, values_of
from rilbench.engine.secret_settings import hidden
from rilbench.files.resources import config_file
from rilbench.host.catalog import Catalog
from rilbench_study.orders import Order, once, read_orders, read_seeds

CELL = {"strategy": "strategies", "rewards": "rewards", "seed": "seeds", "label": "methods"}  # setting -> study's key
MOST_RUNS = 10_000
SHARED = (
    "rewards",
    "seed",
    "label",
    "store",
    "tracking",
    "trackers",
    "requires",
)  # settings that all methods of a study share


@dataclass(frozen=True)
class StudyConfig:
    """The `study:` section."""

    name: str = setting("", "name of the study's folder; empty: its methods and a hash")
    base: str = setting("shapes", "run configuration that the study is based on", path=True)
    strategies: tuple[str, ...] = setting((), "strategies to compare, each a method with its own name", longest=200)
    rewards: tuple[str, ...] = setting((), "rewards of every run", longest=200)
    orders: Any = setting(None, "orders: all, random:N, an order, or a list of orders")
    seeds: Any = setting(1, "number of seeds, or a list")
    methods: dict[str, dict[str, Any]] = setting({}, "label to a `strategy` and any settings of a run", raw=True)

    def __post_init__(self) -> None:
        check_name("name", self.name)


@dataclass(frozen=True, kw_only=True)
class Study:
    """A checked study. `methods` maps each label to the configuration of its runs, without rewards and seed."""

    name: str
    methods: Mapping[str, RunConfig]
    orders: tuple[Order, ...]
    seeds: tuple[int, ...]
    definition: Mapping[str, Any]  # the study as it was given, JSON-able
    given: Mapping[str, Any]  # the `key=value` settings, nested


def load(
    file: str | None,
    overrides: Sequence[str] = (),
    *,
    strategies: str | None = None,
    rewards: str | None = None,
    orders: Sequence[str] = (),
    seeds: str | None = None,
    catalog: Catalog | None = None,
) -> Study:
    """The study of a file (without a file: based on the configuration `shapes`), changed by options and `key=value`.

    catalog: says which settings are secret; these are not part of a generated name.
    """
    values = read(file) if file is not None else {STUDY: {}}
    section = values.pop(STUDY, None)
    if not isinstance(section, dict):
        raise ConfigError(
            f"{config_file(file or '')} configures a run: it has no `study:` section. Write a study file with "
            f"`base: {file}`, or start a single run: rilbench run --config {file}"
        )
    options = {"strategies": strategies, "rewards": rewards, "orders": list(orders) or None, "seeds": seeds}
    given = {key: value for key, value in options.items() if value is not None}
    asked = settings.build(StudyConfig, section | given, STUDY)
    base, last = read(asked.base), values_of(overrides)
    if STUDY in base:
        raise ConfigError(f"study.base: {asked.base!r} is itself a study; name the configuration of a run")
    for key in (key for key in CELL if key in values or key in last):
        raise ConfigError(f"{key}: a study takes several; set study.{CELL[key]} or --{CELL[key]} instead")
    if "after" in {**base, **values, **last} or any("after" in method for method in asked.methods.values()):
        raise ConfigError("after: a study trains every sequence from the base model; continue a run with rilbench run")
    sequences, numbers = read_orders(asked.orders, asked.rewards), read_seeds(asked.seeds)
    runs = len(sequences) * len(numbers) * (len(asked.strategies) + len(asked.methods))
    if runs > MOST_RUNS:
        raise UsageError(f"the study has {runs} runs; split it into studies of at most {MOST_RUNS} runs")
    definition = asdict(asked) | {"orders": sequences, "seeds": numbers, "settings": values, "overrides": last}
    labels = "-".join([*asked.strategies, *asked.methods])
    return Study(
        name=asked.name or f"{labels[:60]}-{identity.digest(hidden(definition, catalog or Catalog()))[:8]}",
        methods=_methods(asked, base, values, last),
        orders=sequences,
        seeds=numbers,
        definition=definition,
        given=last,
    )


def _methods(asked: StudyConfig, *layers: Mapping[str, Any]) -> dict[str, RunConfig]:
    """The configuration of every label; the layers are base, file and `key=value`, and a method comes before the last.

    The later of two layers that set the same key wins.
    """
    once("strategies", asked.strategies)
    given = {name: {"strategy": name} for name in asked.strategies}
    for label, method in asked.methods.items():
        if label in given:
            raise ConfigError(f"study.methods.{label}: a strategy of the study has that name; choose another label")
        where = f"study.methods.{label}"
        if not method.get("strategy"):
            raise ConfigError(f"{where}: the strategy is missing; add for example strategy: rid")
        for key in (key for key in SHARED if key in method):
            raise ConfigError(f"{where}.{key}: cannot differ between methods; set it for the whole study")
        settings.build(RunConfig, method, where)  # an error names the method
    methods = {**given, **asked.methods}
    if not methods:
        raise UsageError("name what the study compares, for example --strategies rid,baseline")
    *below, last = layers
    return {label: compose([*below, method, last, {"label": label}]) for label, method in methods.items()}
