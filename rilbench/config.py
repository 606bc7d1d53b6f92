"""A run's configuration: defaults < file < options and `key=value`, checked, then frozen."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf
from omegaconf.errors import OmegaConfBaseException
from yaml import YAMLError  # type: ignore[import-untyped]

from rilbench import settings
from rilbench.errors import ConfigError
from rilbench.remote import is_hub_id
from rilbench.resources import config_file

PERTURBATIONS = ("jpeg", "blur", "shift")  # rilbench/evaluation/perturb.py
BASE = "base"  # the key of a file that starts from another one
OPTIMISERS = ("adamw", "adamw8bit")
STUDY = "study"  # the section that makes a file a study's
ANY = "any"  # the key of a recipe that holds for every strategy, or for every reward


@dataclass(frozen=True)
class ModelConfig:
    """The text-to-image model and how it is sampled."""

    path: str = "package:rilbench_shapes/weights/pipeline"  # diffusers folder, `package:` path or Hub id
    revision: str | None = None  # of a Hub id
    device: str = "auto"  # auto, cpu, cuda, cuda:1
    precision: str = "fp32"  # fp32 or bf16: of the frozen weights; adapters are always fp32
    vae_precision: str = "auto"  # auto, fp32 or bf16: of the autoencoder; auto is `precision`, and fp32 for SDXL
    steps: int = 10  # N, denoising steps
    sampler: str = "auto"  # auto, ddim or lcm; auto is lcm for consistency models and Euler steps for flow matching
    guidance: float = 2.0  # classifier-free guidance weight, up to 1 it is off; an input of models distilled with it
    guidance_gradient: bool = True  # False: the unguided forward carries no gradient, which saves its memory
    spacing: str = "leading"  # DDIM timestep spacing: leading, trailing or linspace
    resolution: int | None = None  # pixels a side; None is the model's own
    gradient_checkpointing: bool = False  # of denoiser and autoencoder: less memory, one more forward
    vae_slicing: bool = False  # decode one image at a time


@dataclass(frozen=True)
class AdapterConfig:
    """The LoRA pairs of the adapter group (Eq. 4)."""

    rank: int = 4
    targets: tuple[str, ...] = ("to_q", "to_k", "to_v", "to_out.0")  # ends of the names of linear layers
    init: str = "paper"  # paper: A Kaiming-uniform, B zero; peft: the mirror image


@dataclass(frozen=True)
class TrainConfig:
    """One stage's training. `recipes` override it for a strategy and a reward."""

    samples: int = 320  # images generated for training in one stage; updates = samples / batch_size
    batch_size: int = 8
    micro_batch: int = 0  # images of a batch in memory at a time, the gradient accumulated; 0 is all of them
    lr: float = 1e-3
    optimiser: str = "adamw"  # adamw, or adamw8bit where bitsandbytes is installed
    weight_decay: float = 0.1
    clip_grad: float = 1.0  # largest gradient norm
    last_steps: int = 1  # K, denoising steps that carry gradient
    reward_scale: float = 1.0  # factor of the reward in the loss; lambda is relative to it
    prompts: str = "package:rilbench_shapes/prompts/train.txt"
    log_gradients_every: int = 10  # updates between two measurements of each loss term's gradient norm
    checkpoint_every: int = 100  # updates between two checkpoints inside a stage


@dataclass(frozen=True)
class EvaluateConfig:
    """What every stage is measured on."""

    prompts: str = "package:rilbench_shapes/prompts/eval.txt"
    images_per_prompt: int = 4
    batch_size: int = 50
    seed: int = 0  # of the evaluation noise, apart from the training seed
    samples: int = 8  # prompts whose first image is kept as a picture
    metrics: tuple[str, ...] = ("png_kb", "jpeg_kb", "clip_score", "fid", "structure")
    perturb: tuple[str, ...] = ()  # also score the rewards after jpeg, blur, shift: columns such as hps@jpeg
    bootstrap: int = 1000  # resamples of the prompts for the 95 % intervals


@dataclass(frozen=True)
class RunConfig:
    """Everything that determines a run."""

    strategy: str = "rid"
    label: str = ""  # what people call the run's method; the strategy's name when empty
    rewards: tuple[str, ...] = ("aesthetic", "hps")
    seed: int = 0
    store: str = "runs"
    requires: tuple[str, ...] = ()  # plugin distributions that must be installed, such as "rilbench-warmth>=0.1"
    model: ModelConfig = field(default_factory=ModelConfig)
    adapter: AdapterConfig = field(default_factory=AdapterConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    evaluate: EvaluateConfig = field(default_factory=EvaluateConfig)
    reward: dict[str, dict[str, Any]] = field(default_factory=dict)  # name -> its plugin's settings
    metric: dict[str, dict[str, Any]] = field(default_factory=dict)
    strategies: dict[str, dict[str, Any]] = field(default_factory=dict)
    recipes: dict[str, dict[str, dict[str, Any]]] = field(default_factory=dict)  # strategy -> reward -> TrainConfig
    check_memory: bool = True  # refuse a run that does not fit before it starts
    tracking: bool = True  # call the hook plugins, MLflow and the JSON-lines log among them

    def __post_init__(self) -> None:
        choices = {
            "model.precision": (self.model.precision, ("fp32", "bf16")),
            "model.vae_precision": (self.model.vae_precision, ("auto", "fp32", "bf16")),
            "model.sampler": (self.model.sampler, ("auto", "ddim", "lcm")),
            "model.spacing": (self.model.spacing, ("leading", "trailing", "linspace")),
            "adapter.init": (self.adapter.init, ("paper", "peft")),
        }
        for key, (value, allowed) in choices.items():
            if value not in allowed:
                raise ConfigError(f"{key}: {value!r} is not one of {', '.join(allowed)}")
        repo, at, revision = self.model.path.partition("@")
        if at and is_hub_id(self.model.path):
            raise ConfigError(f"model.path: {self.model.path!r} is written model.path={repo} model.revision={revision}")
        _positive("model", self.model, "steps")
        _positive("adapter", self.adapter, "rank")
        _positive("evaluate", self.evaluate, "images_per_prompt", "batch_size", "bootstrap")
        _not_negative("evaluate", self.evaluate, "samples")
        for name in self.evaluate.perturb:
            if name not in PERTURBATIONS:
                raise ConfigError(f"evaluate.perturb: {name!r} is not one of {', '.join(PERTURBATIONS)}")
        check_name("label", self.label)
        if not self.rewards:
            raise ConfigError("rewards: name at least one, for example --rewards aesthetic,hps")

    def train_for(self, strategies: Sequence[str], rewards: Sequence[str]) -> TrainConfig:
        """The training settings of a stage; later wins: train, any/any, any/REWARD, STRATEGY/any, STRATEGY/REWARD.

        strategies: the one that trains the stage, then the one that planned it. Several rewards are `one+two`, in any
            order.
        """
        values: dict[str, Any] = {}
        for by in dict.fromkeys((ANY, *strategies)):
            for on, part in sorted((self.recipes.get(by) or {}).items(), key=lambda item: item[0] != ANY):
                if on == ANY or sorted(on.split("+")) == sorted(rewards):
                    settings.build(TrainConfig, part, f"recipes.{by}.{on}")
                    values |= part
        train = settings.build(TrainConfig, dict(asdict(self.train), **values), "train")
        if train.optimiser not in OPTIMISERS:
            raise ConfigError(f"train.optimiser: {train.optimiser!r} is not one of {', '.join(OPTIMISERS)}")
        _positive("train", train, "batch_size", "lr", "clip_grad", "log_gradients_every", "checkpoint_every")
        _not_negative("train", train, "weight_decay", "micro_batch")
        if train.samples < train.batch_size:
            raise ConfigError(f"train.samples: {train.samples} is less than one batch of {train.batch_size}")
        if not 1 <= train.last_steps <= self.model.steps:
            raise ConfigError(f"train.last_steps: {train.last_steps} is not between 1 and model.steps")
        return train


def load(config: str, overrides: Sequence[str] = (), **options: Any) -> RunConfig:
    """Compose the configuration named or stored at `config` with options (None is unset) and `key=value` strings."""
    given = {key: value for key, value in options.items() if value is not None}
    layers = [read(config), given, values_of(overrides)]
    if STUDY in layers[0]:
        file = config_file(config)
        raise ConfigError(f"{file} describes a study, not a run; start it with: rilbench study --config {config}")
    return compose(layers, str(config_file(config)))


def read(config: str, above: Sequence[Path] = ()) -> dict[str, Any]:
    """The values in a configuration file, which is named or given as a path; not checked.

    The key `base` names another one, whose values hold where the file has none. `above` are files that lead here.
    """
    file = config_file(config)
    if file in above:
        raise ConfigError(f"{above[-1]}: base leads back to {file}")
    try:
        values = OmegaConf.to_container(OmegaConf.load(file))
    except (OmegaConfBaseException, YAMLError, OSError, TypeError, ValueError) as error:
        raise ConfigError(f"{file}: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise ConfigError(f"{file}: holds a list, not settings")
    base = values.pop(BASE, None)
    if base is None:
        return {str(key): value for key, value in values.items()}
    return _merged([read(str(base), (*above, file)), values], str(file))


def _merged(layers: Sequence[Mapping[Any, Any]], where: str) -> dict[str, Any]:
    """Layers of values, later ones win; `where` is for the message of an error."""
    try:
        merged = OmegaConf.to_container(OmegaConf.merge(*_own_revisions(layers)))
    except (OmegaConfBaseException, TypeError, ValueError) as error:
        raise ConfigError(f"{where}: {' '.join(str(error).split())}") from None
    assert isinstance(merged, dict)
    return {str(key): value for key, value in merged.items()}


def _own_revisions(layers: Sequence[Mapping[Any, Any]]) -> Iterator[Mapping[Any, Any]]:
    """The layers; one that names another model than those before it does not have that one's revision."""
    path = None
    for layer in layers:
        model = layer.get("model")
        if isinstance(model, Mapping) and (named := model.get("path", path)) != path:
            path, layer = named, {**layer, "model": {"revision": None, **model}}
        yield layer


def compose(layers: Sequence[Mapping[str, Any]], where: str) -> RunConfig:
    """The run configuration of layers of values, later ones win; `where` is for the message of an error."""
    merged = _merged(layers, where)
    if isinstance(merged.get("rewards"), str):
        merged["rewards"] = split_names(merged["rewards"])
    return settings.build(RunConfig, merged, "")


def check_name(key: str, name: str) -> None:
    """ConfigError for a name that makes no good part of a folder's; an empty one is none."""
    if not re.fullmatch(r"[\w+-][\w.+-]{0,59}|", name):
        raise ConfigError(f"{key}: {name!r} is not of at most 60 letters, digits and any of . _ + -")


def split_names(text: str) -> list[str]:
    """`a, b` as a list; Typer and OmegaConf leave it whole."""
    return [name.strip() for name in text.split(",") if name.strip()]


def values_of(overrides: Sequence[str]) -> dict[str, Any]:
    """`key=value` strings as nested plain values."""
    try:
        values = OmegaConf.to_container(OmegaConf.from_dotlist(_checked(overrides)))
    except (OmegaConfBaseException, YAMLError, ValueError) as error:
        raise ConfigError(f"settings: {' '.join(str(error).split())}") from None
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def as_mapping(config: RunConfig) -> dict[str, Any]:
    """The configuration as plain, JSON-able values."""
    values = OmegaConf.to_container(OmegaConf.structured(config))
    assert isinstance(values, dict)
    return {str(key): value for key, value in values.items()}


def to_yaml(config: RunConfig) -> str:
    """The configuration as YAML that `load` reads back to the same configuration."""
    return OmegaConf.to_yaml(OmegaConf.create(as_mapping(config)))


def _checked(overrides: Sequence[str]) -> list[str]:
    for text in overrides:
        if "=" not in text:
            raise ConfigError(f"{text!r} is not a setting; write key=value, for example train.lr=1e-3")
    return list(overrides)


def _not_negative(where: str, section: object, *keys: str) -> None:
    for key in keys:
        if not getattr(section, key) >= 0:
            raise ConfigError(f"{where}.{key}: {getattr(section, key)} is negative")


def _positive(where: str, section: object, *keys: str) -> None:
    for key in keys:
        if not getattr(section, key) > 0:
            raise ConfigError(f"{where}.{key}: {getattr(section, key)} is not positive")
