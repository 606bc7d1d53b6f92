"""The components of a run as plain data: class, settings, version and files of each. No instance is created."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rilbench.contracts import settings
from rilbench.contracts.components import MeanMetric
from rilbench.contracts.errors import ConfigError, PluginError, unknown
from rilbench.contracts.expression import names_in, parse
from rilbench.contracts.files import NeededFile, named
from rilbench.contracts.result import TRAIN, MetricInfo
from rilbench.engine import identity
from rilbench.engine.config import ANY, RunConfig
from rilbench.engine.documents import settings_document
from rilbench.engine.layers import COMPONENTS
from rilbench.engine.planned import Kept
from rilbench.files.fingerprints import published_digest
from rilbench.files.prompts import prompts_fingerprint
from rilbench.files.published import is_present
from rilbench.host.catalog import Catalog
from rilbench.host.guard import blamed
from rilbench.host.plugin import OWN, Plugin


@dataclass(frozen=True, kw_only=True)
class Part:
    """A component: where it comes from, its class and its validated settings."""

    plugin: Plugin
    cls: Any  # a subclass of Reward, Metric or Strategy
    settings: Any

    @cached_property
    def files(self) -> tuple[NeededFile, ...]:
        """The published files that it declares."""
        with blamed(f"{self.plugin.kind} {self.plugin.name!r}: files"):
            return tuple(self.cls.files(self.settings))

    @cached_property
    def document(self) -> dict[str, Any]:
        """What identifies it in a stage's identity: version, settings and, for a third-party one, its source."""
        try:
            values = settings_document(self.settings)
        except ConfigError as error:
            raise PluginError(f"{self.plugin}: {error}") from None
        known = {file.source for file in named(self.settings)}
        files = [published_digest(file) for file in self.files if file.source not in known and is_present(file)]
        found = {"name": self.plugin.name, "version": self.plugin.version, "settings": values, "files": files}
        if self.plugin.distribution != OWN:  # its author changes it without changing the version
            found |= {"object": self.plugin.value, "source": identity.source(self.cls)}
        return found


class Parts:
    """The parts of one run, or of the runs of a study that differ in the order of rewards and in the seed alone.

    kept: the stages of the run that this one continues, whose rewards are measured too.
    """

    def __init__(self, config: RunConfig, catalog: Catalog, kept: Kept | None = None) -> None:
        self.config, self.catalog, self.kept = config, catalog, kept
        self._parts: dict[tuple[str, str], Part] = {}

    def get(self, kind: str, name: str) -> Part:
        """A component, resolved once. ConfigError or PluginError for one that cannot be used."""
        if (kind, name) not in self._parts:
            section, plugin = COMPONENTS[kind], self.catalog.get(kind, name)
            cls, values = plugin.load(), getattr(self.config, section).get(name) or {}
            built = settings.build(cls.Settings, values, f"{section}.{name}")
            self._parts[kind, name] = Part(plugin=plugin, cls=cls, settings=built)
        return self._parts[kind, name]

    def check(self) -> None:
        """Look every name up and validate every setting, without loading a weight."""
        for kind, section in COMPONENTS.items():
            for name in getattr(self.config, section):
                self.get(kind, name)
        for by, recipes in self.config.recipes.items():
            for on in recipes:
                self._check_recipe(by, on)
        self.get("strategy", self.config.strategy)
        for name in self.reward_names:
            self.get("reward", name)
        for name in self.metric_names():
            self.column(name)

    @property
    def rewards(self) -> tuple[str, ...]:
        """The items of all stages in training order, kept ones first."""
        return (*(self.kept.rewards if self.kept else ()), *self.config.rewards)

    @property
    def reward_names(self) -> tuple[str, ...]:
        """The rewards in these items, each once: each is measured."""
        return names_in(self.rewards)

    def reward_document(self, item: str) -> dict[str, Any]:
        """What identifies an item of the rewards; that of a single name is the reward's own."""
        expression = parse(item)
        if expression.name:
            return self.get("reward", item).document
        return {"expression": item, "parts": [self.get("reward", name).document for name in expression.names]}

    def _check_recipe(self, by: str, on: str) -> None:
        """ConfigError for a recipe of an unknown strategy or reward, which is a misspelt name."""
        for kind, names in (("strategy", [by]), ("reward", on.split("+"))):
            for name in names:
                if name != ANY and name not in self.catalog.registered(kind):
                    known = unknown(kind, name, [ANY, *self.catalog.names(kind)])
                    raise ConfigError(f"recipes.{by}.{on}: {known}")

    @cached_property
    def base_document(self) -> dict[str, Any]:
        """What determines the untouched model's images; the files are read once."""
        return identity.base_document(self.config)

    @cached_property
    def evaluation_document(self) -> dict[str, Any]:
        """What determines an evaluation's numbers, in addition to the model."""
        return self._document(self.config.evaluate.prompts, self.metric_names())

    @cached_property
    def train_document(self) -> dict[str, Any]:
        """The same of the evaluation on training prompts."""
        document = self._document(self.config.train.prompts, self.train_columns())
        del document["evaluate"]["perturb"]
        return document | {"train_prompts": self.config.evaluate.train_prompts}

    def _document(self, prompts: str, metrics: Sequence[str]) -> dict[str, Any]:
        evaluate = identity.without(self.config.evaluate, ("batch_size", "metrics", "pictures", "train_prompts"))
        evaluate["prompts"] = prompts_fingerprint(prompts)
        return {"evaluate": evaluate, "metrics": [self.column(name).document for name in sorted(metrics)]}

    def metric_kind(self, name: str) -> str:
        """Whether a column is a metric or a reward; PluginError if it is neither."""
        names = {kind: self.catalog.names(kind) for kind in ("metric", "reward")}
        for kind, known in names.items():
            if name in known:
                return kind
        for kind in names:
            if name in self.catalog.registered(kind):
                self.catalog.get(kind, name)  # says that it is switched off
        raise PluginError(unknown("metric", name, [n for known in names.values() for n in known]))

    def column(self, name: str) -> Part:
        """The metric or reward of a column."""
        return self.get(self.metric_kind(name), name)

    def metric_names(self) -> list[str]:
        """The run's rewards, the metrics that report them, and the configured metrics, in that order, each once."""
        reported = [m for r in self.reward_names for m in self.get("reward", r).cls.metrics]
        return list(dict.fromkeys([*self.reward_names, *reported, *self.config.evaluate.metrics]))

    def columns(self) -> list[str]:
        """What is measured: the metrics, then each trained reward of the perturbed images."""
        rewards = self.reward_names
        return [*self.metric_names(), *(f"{name}@{how}" for name in rewards for how in self.config.evaluate.perturb)]

    def train_columns(self) -> list[str]:
        """What is measured on training prompts too: the rewards, and the metrics that score single images."""
        if not self.config.evaluate.train_prompts:
            return []
        return [
            name
            for name in self.metric_names()
            if self.metric_kind(name) == "reward" or issubclass(self.get("metric", name).cls, MeanMetric)
        ]

    def metric_infos(self) -> tuple[MetricInfo, ...]:
        """The columns of the result."""
        targets: dict[str, list[str]] = {}
        for reward in self.reward_names:
            for name in (reward, *self.get("reward", reward).cls.metrics):
                targets.setdefault(name, []).append(reward)
        names = [*self.columns(), *(f"{name}{TRAIN}" for name in self.train_columns())]
        return tuple(self._info(name, tuple(targets.get(name, ()))) for name in names)

    def _info(self, name: str, target_of: tuple[str, ...]) -> MetricInfo:
        plain = name.partition("@")[0]
        if self.metric_kind(plain) == "reward":
            return MetricInfo(name=name, higher_is_better=True, target_of=target_of)
        cls = self.get("metric", plain).cls
        return MetricInfo(name=name, higher_is_better=cls.higher_is_better, unit=cls.unit, target_of=target_of)

    def used(self, strategies: Sequence[str] = ()) -> list[Part]:
        """The components that take part: these strategies, then rewards, then metrics."""
        columns = [self.column(name) for name in self.metric_names()]
        columns.sort(key=lambda part: part.plugin.kind != "reward")
        return [*(self.get("strategy", name) for name in strategies), *columns]

    def versions(self, strategies: Sequence[str] = (), hooks: Sequence[str] = ()) -> dict[str, str]:
        """`kind/name` to `distribution version` of the components that take part."""
        used = [part.plugin for part in self.used(strategies)]
        return {f"{p.kind}/{p.name}": p.origin for p in [*used, *(self.catalog.get("hook", name) for name in hooks)]}
