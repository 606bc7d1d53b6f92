"""A run's configuration: defaults < file < options and `key=value`, checked, then frozen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rilbench import redact, settings
from rilbench.errors import ConfigError
from rilbench.layers import merged, read, values_of
from rilbench.remote import is_hub_id
from rilbench.resources import config_file
from rilbench.settings import setting
from rilbench.values import MOST
from rilbench.yaml_text import dump

PERTURBATIONS = ("jpeg", "blur", "shift")  # rilbench/evaluation/perturb.py
OPTIMISERS = ("adamw", "adamw8bit")
STUDY = "study"  # the section that makes a file a study's
ANY = "any"  # the key of a recipe that holds for every strategy, or for every reward


@dataclass(frozen=True)
class ModelConfig:
    """The text-to-image model and how it is sampled."""

    path: str = setting(
        "package:rilbench_shapes/weights/pipeline", "diffusers folder, `package:` path or Hub id", path=True
    )
    revision: str | None = setting(None, "of a Hub id: a commit, tag or branch", longest=200)
    device: str = setting("auto", "auto, cpu, cuda or one GPU, such as cuda:1", longest=60)
    precision: str = setting("fp32", "of the frozen weights; adapters are always fp32", choices=("fp32", "bf16"))
    vae_precision: str = setting(
        "auto",
        "of the autoencoder; auto is `precision`, and fp32 for SDXL",
        choices=("auto", "fp32", "bf16"),
    )
    steps: int = setting(10, "N, denoising steps", at_least=1, at_most=10_000)
    sampler: str = setting(
        "auto",
        "auto is lcm for consistency models, Euler steps for flow matching, ddim otherwise",
        choices=("auto", "ddim", "lcm"),
    )
    guidance: float = setting(
        2.0,
        "classifier-free guidance weight, up to 1 it is off; an input of models distilled with it",
        at_least=0,
        at_most=1000,
    )
    guidance_gradient: bool = setting(True, "false: the unguided forward carries no gradient, which saves its memory")
    spacing: str = setting("leading", "DDIM timestep spacing", choices=("leading", "trailing", "linspace"))
    resolution: int | None = setting(None, "pixels a side; null is the model's own", at_least=8, at_most=16_384)
    gradient_checkpointing: bool = setting(False, "of denoiser and autoencoder: less memory, one more forward")
    vae_slicing: bool = setting(False, "decode one image at a time")


@dataclass(frozen=True)
class AdapterConfig:
    """The LoRA pairs of the adapter group (Eq. 4)."""

    rank: int = setting(4, "of every pair A B", at_least=1, at_most=4096)
    targets: tuple[str, ...] = setting(
        ("to_q", "to_k", "to_v", "to_out.0"), "ends of the names of the linear layers that are adapted", longest=200
    )
    init: str = setting("paper", "paper: A Kaiming-uniform, B zero; peft: the mirror image", choices=("paper", "peft"))


@dataclass(frozen=True)
class TrainConfig:
    """One stage's training. `recipes` override it for a strategy and a reward."""

    samples: int = setting(
        320, "images generated for training in one stage; the last batch has what is left", at_least=1, at_most=10**9
    )
    batch_size: int = setting(8, "images of an update", at_least=1, at_most=10**6)
    micro_batch: int = setting(
        0,
        "images of a batch in memory at a time, the gradient accumulated; 0 is all of them",
        at_least=0,
        at_most=10**6,
    )
    lr: float = setting(1e-3, "learning rate", above=0, at_most=1000)
    optimiser: str = setting("adamw", "adamw, or adamw8bit where bitsandbytes is installed", choices=OPTIMISERS)
    eps: float = setting(
        1e-16,
        "of AdamW; it must be far below the gradients, which have the unit of the reward",
        at_least=1e-30,
        at_most=1,
    )
    weight_decay: float = setting(0.1, "of AdamW, times the learning rate", at_least=0, at_most=1000)
    clip_grad: float = setting(
        0.0, "largest gradient norm, in the unit of the scaled reward; 0 clips nothing", at_least=0, at_most=1e30
    )
    last_steps: int = setting(1, "K, denoising steps that carry gradient", at_least=1, at_most=10_000)
    reward_scale: float = setting(
        1.0, "factor of the reward in the loss; lambda is relative to it", at_least=-1e12, at_most=1e12
    )
    prompts: str = setting(
        "package:rilbench_shapes/prompts/train.txt", "file of training prompts, one a line", path=True
    )
    log_gradients_every: int = setting(
        10, "updates between two measurements of each loss term's gradient norm", at_least=1, at_most=10**9
    )
    checkpoint_every: int = setting(100, "updates between two checkpoints inside a stage", at_least=1, at_most=10**9)

    @property
    def updates(self) -> int:
        """Optimiser steps of a stage: as many batches as hold `samples`."""
        return -(-self.samples // self.batch_size)

    def batch_at(self, update: int) -> int:
        """Images of an update (from 0): `batch_size`, or what is left of `samples` for the last one."""
        return min(self.batch_size, self.samples - update * self.batch_size)


@dataclass(frozen=True)
class EvaluateConfig:
    """What every stage is measured on."""

    prompts: str = setting(
        "package:rilbench_shapes/prompts/eval.txt", "file of evaluation prompts, one a line", path=True
    )
    images_per_prompt: int = setting(4, "images of each prompt", at_least=1, at_most=100_000)
    batch_size: int = setting(50, "images generated and measured at a time", at_least=1, at_most=10**6)
    seed: int = setting(0, "of the evaluation noise, apart from the training seed", at_least=0, at_most=MOST)
    samples: int = setting(8, "prompts whose first image is kept as a picture", at_least=0, at_most=1000)
    metrics: tuple[str, ...] = setting(
        ("png_kb", "jpeg_kb", "clip_score", "fid", "structure"), "what is measured besides the rewards", longest=200
    )
    perturb: tuple[str, ...] = setting(
        (), "also score the rewards of images after these: columns such as hps@jpeg", choices=PERTURBATIONS
    )
    bootstrap: int = setting(1000, "resamples of the prompts for the 95 % intervals", at_least=1, at_most=100_000)


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run."""

    strategy: str = setting("rid", "the strategy that plans and trains", longest=200)
    label: str = setting("", "what the run's method is called; the strategy's name when empty")
    rewards: tuple[str, ...] = setting(("aesthetic", "hps"), "in training order", longest=200)
    seed: int = setting(0, "of initial weights, training prompts and noise", at_least=0, at_most=MOST)
    store: str = setting("runs", "folder of all results", path=True)
    requires: tuple[str, ...] = setting(
        (), "plugin distributions that must be installed, such as rilbench-warmth>=0.1", longest=200
    )
    model: ModelConfig = field(default_factory=ModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    reward: dict[str, dict[str, Any]] = setting({}, "a reward's name to its plugin's settings", later=True)
    metric: dict[str, dict[str, Any]] = setting({}, "a metric's name to its plugin's settings", later=True)
    strategies: dict[str, dict[str, Any]] = setting({}, "a strategy's name to its plugin's settings", later=True)
    recipes: dict[str, dict[str, dict[str, Any]]] = setting(
        {}, "a strategy's name, or any, to a reward's, or any, to settings of `train`", later=True
    )
    check_memory: bool = setting(True, "refuse a run that does not fit before it starts")
    tracking: bool = setting(True, "call the hook plugins, MLflow and the JSON-lines log among them")

    def __post_init__(self) -> None:
        repo, at, revision = self.model.path.partition("@")
        if at and is_hub_id(self.model.path):
            raise ConfigError(f"model.path: {self.model.path!r} is written model.path={repo} model.revision={revision}")
        check_name("label", self.label)
        if not self.rewards:
            raise ConfigError("rewards: name at least one, for example --rewards aesthetic,hps")

    def train_for(self, strategies: Sequence[str], rewards: Sequence[str]) -> TrainConfig:
        """The training settings of a stage; later wins: train, any/any, any/REWARD, STRATEGY/any, STRATEGY/REWARD.

        strategies: the one that trains the stage, then the one that planned it. Several rewards are `one+two`, in any
            order.
        """
        values: dict[str, Any] = {}
        for _, part in self.recipes_for(strategies, rewards):
            values |= part
        train = settings.build(TrainConfig, dict(asdict(self.train), **values), "train")
        if train.samples < train.batch_size:
            raise ConfigError(f"train.samples: {train.samples} is less than one batch of {train.batch_size}")
        if not 1 <= train.last_steps <= self.model.steps:
            raise ConfigError(f"train.last_steps: {train.last_steps} is not between 1 and model.steps")
        return train

    def recipes_for(self, strategies: Sequence[str], rewards: Sequence[str]) -> Iterator[tuple[str, Mapping[str, Any]]]:
        """The recipes of a stage as `STRATEGY.REWARD` and their settings; later ones win."""
        for by in dict.fromkeys((ANY, *strategies)):
            for on, part in sorted((self.recipes.get(by) or {}).items(), key=lambda item: item[0] != ANY):
                if on == ANY or sorted(on.split("+")) == sorted(rewards):
                    yield f"{by}.{on}", part


def load(config: str, overrides: Sequence[str] = (), **options: Any) -> RunConfig:
    """Compose the configuration named or stored at `config` with options (None is unset) and `key=value` strings."""
    given = {key: value for key, value in options.items() if value is not None}
    layers = [read(config), given, values_of(overrides)]
    if STUDY in layers[0]:
        file = config_file(config)
        raise ConfigError(f"{file} describes a study, not a run; start it with: rilbench study --config {config}")
    return compose(layers)


def compose(layers: Sequence[Mapping[str, Any]]) -> RunConfig:
    """The run configuration of layers of values, later ones win (`rilbench.layers`)."""
    values = merged(layers)
    if isinstance(recipes := values.get("recipes"), Mapping):
        values["recipes"] = {by: _typed_recipes(by, parts) for by, parts in recipes.items()}
    return settings.build(RunConfig, values, "")


def _typed_recipes(by: str, parts: Any) -> dict[str, Any]:
    if not isinstance(parts, Mapping):
        raise ConfigError(f"recipes.{by}: is not a mapping of a reward, or any, to settings of `train`")
    return {on: settings.typed(TrainConfig, part, f"recipes.{by}.{on}") for on, part in parts.items()}


def check_name(key: str, name: str) -> None:
    """ConfigError for a name that makes no good part of a folder's; an empty one is none."""
    if not re.fullmatch(r"[\w+-][\w.+-]{0,59}|", name):
        raise ConfigError(f"{key}: {name[:80]!r} is not of at most 60 letters, digits and any of . _ + -")


def as_mapping(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain, JSON-able values."""
    plain = _plain(asdict(config))
    assert isinstance(plain, dict)
    return plain


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    return [_plain(part) for part in value] if isinstance(value, list | tuple) else value


def to_yaml(config: RunConfig) -> str:
    """The configuration as YAML that `load` reads back to the same one, but for the secrets in its addresses."""
    return dump(redact.values(as_mapping(config)))
