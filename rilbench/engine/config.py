"""A run's configuration: defaults < file < options and `key=value`, checked, then frozen."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from functools import cache
from typing import Any

from rilbench.contracts import redact, settings
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.expression import items, names_in
from rilbench.contracts.settings import setting
from rilbench.contracts.values import MOST
from rilbench.contracts.yaml_text import dump
from rilbench.engine.layers import RECIPES, TRAIN, merged, read, values_of
from rilbench.evaluation.config import EvaluateConfig
from rilbench.files.hub import is_hub_id
from rilbench.files.resources import config_file
from rilbench.model.config import AdapterConfig, ModelConfig
from rilbench.training.config import TrainConfig

STUDY = "study"  # the section that makes a file a study's
ANY = "any"  # the key of a recipe that holds for every strategy, or for every reward


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run."""

    strategy: str = setting("rid", "name of the strategy", longest=200)
    label: str = setting("", "name of the method in tables; empty means the strategy's name")
    rewards: tuple[str, ...] = setting(
        ("aesthetic", "hps"),
        "rewards in training order; each a name or an expression such as aesthetic+0.5*hps",
        longest=200,
    )
    after: str = setting(
        "",
        "a finished run to continue: its folder or name in the store; RUN@N continues it after its stage N",
        added=True,
    )
    seed: int = setting(0, "seed of initial pairs, training prompts and noise", at_least=0, at_most=MOST)
    first_stage: int = setting(
        1,
        "number of the run's first stage, by which it draws; 2 if the base model contains what one stage trained",
        at_least=1,
        at_most=1000,
        added=True,
    )
    store: str = setting("runs", "folder of all results", path=True)
    requires: tuple[str, ...] = setting(
        (), "plugin distributions that must be installed, such as rilbench-warmth>=0.1", longest=200
    )
    model: ModelConfig = field(default_factory=ModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    strategy_settings: dict[str, dict[str, Any]] = setting({}, "settings of strategies, by name", raw=True)
    reward_settings: dict[str, dict[str, Any]] = setting({}, "settings of rewards, by name", raw=True)
    metric_settings: dict[str, dict[str, Any]] = setting({}, "settings of metrics, by name", raw=True)
    recipes: dict[str, dict[str, dict[str, Any]]] = setting(
        {}, "`train` settings for one strategy (or any) and one reward (or any)", raw=True
    )
    check_memory: bool = setting(True, "before the start, check that the run fits into memory")
    trackers: tuple[str, ...] = setting(
        (), "optional hook plugins to use, such as wandb, tensorboard and trackio", longest=200, added=True
    )
    tracking: bool = setting(True, "call hook plugins, such as MLflow and the JSON-lines log")

    def __post_init__(self) -> None:
        repo, at, revision = self.model.path.partition("@")
        if at and is_hub_id(self.model.path):
            raise ConfigError(
                f"model.path: {self.model.path!r} has a revision; write model.path={repo} model.revision={revision}"
            )
        check_name("label", self.label)
        object.__setattr__(self, "rewards", items(self.rewards))  # in canonical form
        if not self.rewards:
            raise ConfigError("rewards: name at least one, for example --rewards aesthetic,hps")

    def train_for(self, strategies: Sequence[str], rewards: Sequence[str]) -> TrainConfig:
        """The training settings of a stage, each from the last of `train_layers` that sets it."""
        values = {key: value for _, part in self.train_layers(strategies, rewards) for key, value in part.items()}
        train = TrainConfig(**values)
        if train.samples < train.batch_size:
            raise ConfigError(f"train.samples: {train.samples} is less than one batch of {train.batch_size}")
        if train.lr_warmup >= train.updates:
            raise ConfigError(
                f"train.lr_warmup: {train.lr_warmup} updates of a stage that has {train.updates}, so the learning rate "
                "would never reach train.lr; set it lower"
            )
        if not 1 <= train.last_steps <= self.model.steps:
            raise ConfigError(f"train.last_steps: {train.last_steps} is not between 1 and model.steps")
        if train.decided_by and not train.validate_every:
            name = "keep_best" if train.keep_best else "until"
            raise ConfigError(f"train.{name}: nothing is validated; set train.validate_every too")
        return _in_parts(train)

    def train_layers(
        self, strategies: Sequence[str], rewards: Sequence[str]
    ) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The sources of a stage's training settings, with their values; later ones win: train, then the recipes
        any.any, any.REWARD, STRATEGY.any, STRATEGY.REWARD.

        strategies: the one that trains the stage, then the one that planned it. Several rewards, also those of an
            expression, are `one+two`, in any order.
        """
        yield TRAIN, asdict(self.train)
        for by in dict.fromkeys((ANY, *strategies)):
            for on, part in sorted((self.recipes.get(by) or {}).items(), key=lambda item: item[0] != ANY):
                if on == ANY or sorted(on.split("+")) == sorted(names_in(rewards)):
                    yield f"{RECIPES}.{by}.{on}", part


def _in_parts(train: TrainConfig) -> TrainConfig:
    """The same with `micro_batch` in place of `gradient_accumulation`, so that a stage has one identity."""
    parts = train.gradient_accumulation
    if parts == 1:
        return train
    if train.micro_batch:
        raise ConfigError(f"train.gradient_accumulation: train.micro_batch is {train.micro_batch} too; set that to 0")
    if parts > train.batch_size:
        raise ConfigError(f"train.gradient_accumulation: {parts} is more than the {train.batch_size} images of a batch")
    micro_batch = -(-train.batch_size // parts)
    if (made := -(-train.batch_size // micro_batch)) != parts:
        raise ConfigError(
            f"train.gradient_accumulation: a batch of {train.batch_size} has no {parts} parts of one size, of which "
            f"only the last may be smaller; set {made}, or another train.batch_size"
        )
    return replace(train, gradient_accumulation=1, micro_batch=micro_batch)


def load(config: str | Mapping[str, Any], overrides: Sequence[str] = (), **options: Any) -> RunConfig:
    """Compose the configuration named or stored at `config`, or its values, with options (None is unset) and
    `key=value` strings."""
    given = {key: value for key, value in options.items() if value is not None}
    layers = [read(config) if isinstance(config, str) else config, given, values_of(overrides)]
    if isinstance(config, str) and STUDY in layers[0]:
        file = config_file(config)
        raise ConfigError(f"{file} describes a study, not a run; start it with: rilbench study --config {config}")
    return compose(layers)


def compose(layers: Sequence[Mapping[str, Any]]) -> RunConfig:
    """The run configuration of layers of values, later ones win (`rilbench.engine.layers`)."""
    values = merged(layers)
    if isinstance(recipes := values.get(RECIPES), Mapping):
        values[RECIPES] = {by: _typed_recipes(by, parts) for by, parts in recipes.items()}
    return settings.build(RunConfig, values, "")


def _typed_recipes(by: str, parts: Any) -> dict[str, Any]:
    if not isinstance(parts, Mapping):
        raise ConfigError(f"recipes.{by}: must map a reward, or any, to settings of `train`")
    return {on: settings.typed(TrainConfig, part, f"recipes.{by}.{on}") for on, part in parts.items()}


@cache
def added_defaults() -> Mapping[str, Any]:
    """Dotted key to default of the settings that were added later, which earlier records lack."""
    return dict(_added(RunConfig, ""))


def _added(cls: type, where: str) -> Iterator[tuple[str, Any]]:
    for each in fields(cls):
        default, key = settings.default_of(each), f"{where}{each.name}"
        if is_dataclass(default):
            yield from _added(type(default), f"{key}.")
        elif settings.declared(each).added:
            yield key, default


def check_name(key: str, name: str) -> None:
    """ConfigError for a name that cannot be part of a folder's name; an empty one is accepted."""
    if not re.fullmatch(r"[\w+-][\w.+-]{0,59}|", name):
        raise ConfigError(f"{key}: {name[:80]!r} may have at most 60 letters, digits and . _ + -")


def as_mapping(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain, JSON-able values."""
    plain: dict[str, Any] = json.loads(json.dumps(asdict(config)))
    return plain


def to_yaml(config: RunConfig) -> str:
    """The configuration as YAML; `load` reads the same configuration back, except for secrets in its addresses."""
    return dump(redact.values(as_mapping(config)))
