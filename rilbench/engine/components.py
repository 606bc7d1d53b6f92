"""Rewards, metrics and strategies with their validated settings, made when first asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rilbench.contracts import settings
from rilbench.contracts.components import Component, Metric, Reward
from rilbench.contracts.errors import ConfigError, PluginError, RilbenchError, unknown
from rilbench.contracts.result import MetricInfo
from rilbench.contracts.strategy import Strategy
from rilbench.engine import identity, secret_settings
from rilbench.engine.config import ANY, RunConfig
from rilbench.engine.documents import files_document, settings_document
from rilbench.engine.layers import COMPONENTS
from rilbench.evaluation.columns import Perturbed, RewardMetric
from rilbench.files.fingerprints import resolved_fingerprint
from rilbench.host import control, global_state
from rilbench.host.catalog import Catalog, Plugin
from rilbench.host.guard import blamed
from rilbench.training.config import TrainConfig

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rilbench.contracts.files import NeededFile


class Components:
    """The components of one run, or of the runs of a study that differ in the order of rewards and in the seed alone.

    What is resolved once is kept: settings, descriptions and training settings.
    """

    def __init__(self, config: RunConfig, catalog: Catalog, device: str = "cpu") -> None:
        self.config, self.catalog, self.device = config, catalog, device
        self._made: dict[tuple[str, str], Component] = {}
        self._secrets: list[str] = []
        self._settings: dict[tuple[str, str], Any] = {}
        self._described: dict[tuple[str, str], dict[str, Any]] = {}
        self._train: dict[tuple[tuple[str, ...], tuple[str, ...]], TrainConfig] = {}

    def check(self) -> None:
        """Look every name up and validate every setting, without loading a weight."""
        for kind, section in COMPONENTS.items():
            for name in getattr(self.config, section):
                self.settings(kind, name)
        for by, recipes in self.config.recipes.items():
            for on, values in recipes.items():
                self._check_recipe(by, on, values)
        self.settings("strategy", self.config.strategy)
        for name in self.config.rewards:
            self.settings("reward", name)
        for name in self.metric_names():
            self.settings(self.metric_kind(name), name)

    def _check_recipe(self, by: str, on: str, values: Mapping[str, Any]) -> None:
        """A recipe nobody would ever use is a misspelt name."""
        settings.typed(TrainConfig, values, f"recipes.{by}.{on}")
        for kind, names in (("strategy", [by]), ("reward", on.split("+"))):
            for name in names:
                if name != ANY and name not in self.catalog.registered(kind):
                    known = unknown(kind, name, [ANY, *self.catalog.names(kind)])
                    raise ConfigError(f"recipes.{by}.{on}: {known}")

    def plugin(self, kind: str, name: str) -> Plugin:
        return self.catalog.get(kind, name)

    def settings(self, kind: str, name: str) -> Any:
        """The validated settings of a component."""
        if (kind, name) not in self._settings:
            values = getattr(self.config, COMPONENTS[kind]).get(name) or {}
            cls = self.plugin(kind, name).load().Settings
            self._settings[kind, name] = settings.build(cls, values, f"{COMPONENTS[kind]}.{name}")
        return self._settings[kind, name]

    def files(self, kind: str, name: str) -> list[NeededFile]:
        """The published files a component declares to read."""
        component, values = self.plugin(kind, name).load(), self.settings(kind, name)
        with blamed(f"{kind} {name!r}: files"):
            return list(component.files(values))

    def train_for(self, strategies: Sequence[str], rewards: Sequence[str]) -> TrainConfig:
        """The training settings of a stage, as `RunConfig.train_for` has them."""
        key = (tuple(strategies), tuple(sorted(rewards)))
        if key not in self._train:
            self._train[key] = self.config.train_for(strategies, rewards)
        return self._train[key]

    def describe(self, kind: str, name: str) -> dict[str, Any]:
        """What identifies a component in a stage's identity: version, settings and, if it is a guest's, its source."""
        if (kind, name) not in self._described:
            self._described[kind, name] = self._description(kind, name)
        return self._described[kind, name]

    def _description(self, kind: str, name: str) -> dict[str, Any]:
        plugin = self.plugin(kind, name)
        values = self.settings(kind, name)
        try:
            document = settings_document(values)
        except ConfigError as error:
            raise PluginError(f"{plugin}: {error}") from None
        files = files_document(self.files(kind, name), values)
        described = {"name": name, "version": plugin.version, "settings": document, "files": files}
        if plugin.distribution != control.OWN:  # its author changes it without changing the version
            described |= {"object": plugin.value, "source": identity.source(plugin.load())}
        return described

    @contextmanager
    def discreet(self) -> Iterator[None]:
        """Errors raised within do not tell the secrets of the components."""
        try:
            yield
        except BaseException as error:
            secret_settings.mask(error, self._secrets)
            raise

    def reward(self, name: str) -> Reward:
        made = self._make("reward", name)
        assert isinstance(made, Reward)
        return made

    def strategy(self, name: str) -> Strategy:
        made = self._make("strategy", name)
        assert isinstance(made, Strategy)
        return made

    def new_strategy(self, name: str) -> Strategy:
        """A strategy of its own, for one plan or one stage: the only thing it gets from another is its `carry`."""
        self._made.pop(("strategy", name), None)
        return self.strategy(name)

    def metric(self, name: str) -> Metric:
        """A metric, the mean of the reward of that name, or of perturbed images: `REWARD@PERTURBATION`."""
        name, _, perturbation = name.partition("@")
        if perturbation:
            return Perturbed(name, self.reward(name), perturbation)
        if self.metric_kind(name) == "reward":
            return RewardMetric(name, self.reward(name))
        made = self._make("metric", name)
        assert isinstance(made, Metric)
        return made

    def evaluation_document(self) -> dict[str, Any]:
        """What determines an evaluation's numbers, besides the model."""
        return self._evaluation

    @cached_property
    def base_document(self) -> dict[str, Any]:
        """What determines the untouched model's images; the files are looked at once."""
        return identity.base_document(self.config)

    @cached_property
    def _evaluation(self) -> dict[str, Any]:
        evaluate = asdict(self.config.evaluate)
        del evaluate["batch_size"], evaluate["metrics"], evaluate["pictures"]
        metrics = [self.describe(self.metric_kind(name), name) for name in sorted(self.metric_names())]
        return {
            "evaluate": evaluate | {"prompts": resolved_fingerprint(self.config.evaluate.prompts)},
            "metrics": metrics,
        }

    def metric_kind(self, name: str) -> str:
        if name in self.catalog.names("metric"):
            return "metric"
        if name in self.catalog.names("reward"):
            return "reward"
        for kind in ("metric", "reward"):
            if name in self.catalog.registered(kind):
                self.plugin(kind, name)  # says that it is switched off
        raise PluginError(unknown("metric", name, [*self.catalog.names("metric"), *self.catalog.names("reward")]))

    def metric_names(self) -> list[str]:
        """The run's rewards, the metrics that report them, and the configured metrics; in that order, each once."""
        reported = [m for r in self.config.rewards for m in self.plugin("reward", r).load().metrics]
        return list(dict.fromkeys([*self.config.rewards, *reported, *self.config.evaluate.metrics]))

    def columns(self) -> list[str]:
        """What is measured: the metrics, then each trained reward of the perturbed images."""
        perturbed = [
            f"{name}@{how}" for name in dict.fromkeys(self.config.rewards) for how in self.config.evaluate.perturb
        ]
        return self.metric_names() + perturbed

    def metric_infos(self) -> tuple[MetricInfo, ...]:
        """The columns of the result."""
        targets: dict[str, list[str]] = {}
        for reward in dict.fromkeys(self.config.rewards):  # a sequence may repeat one
            for name in (reward, *self.plugin("reward", reward).load().metrics):
                targets.setdefault(name, []).append(reward)
        return tuple(self._info(name, tuple(targets.get(name, ()))) for name in self.columns())

    def _info(self, name: str, target_of: tuple[str, ...]) -> MetricInfo:
        if "@" in name or self.metric_kind(name) == "reward":
            return MetricInfo(name=name, higher_is_better=True, target_of=target_of)
        cls = self.plugin("metric", name).load()
        return MetricInfo(name=name, higher_is_better=cls.higher_is_better, unit=cls.unit, target_of=target_of)

    def _make(self, kind: str, name: str) -> Component:
        if (kind, name) not in self._made:
            plugin, values = self.plugin(kind, name), self.settings(kind, name)
            who = f"{kind} {name!r} of {plugin.origin}"
            with global_state.kept(who, global_state.warn_once), blamed(who):
                try:
                    known = secret_settings.resolved(values, f"{COMPONENTS[kind]}.{name}")
                    self._secrets += secret_settings.values(known)
                    self._made[kind, name] = plugin.load()(known, device=self.device)
                except RilbenchError as error:
                    raise type(error)(f"{kind} {name!r}: {error}") from error.__cause__
        return self._made[kind, name]


def versions(catalog: Catalog, used: Mapping[str, list[str]]) -> dict[str, str]:
    """`kind/name` to `distribution version` of the components that take part."""
    return {f"{kind}/{name}": catalog.get(kind, name).origin for kind, names in used.items() for name in names}
