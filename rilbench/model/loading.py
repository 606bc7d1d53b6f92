"""A diffusers pipeline from a folder or the Hub, and the device it goes to."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rilbench.contracts.errors import ConfigError, RilbenchError, reason
from rilbench.files.hub import INDEX, is_hub_id
from rilbench.files.loras import loras_of
from rilbench.files.model_path import check_local
from rilbench.files.pipelines import SKIPPED, in_cache, variant_of
from rilbench.files.published import hub_folder, require_published
from rilbench.files.resources import resolve
from rilbench.model.backbones import FAMILIES, family
from rilbench.model.backbones.base import DTYPES, Backbone
from rilbench.model.config import ModelConfig
from rilbench.model.libraries import silent
from rilbench.store.layout import StageFiles

SHOWN = 3  # weights in a message
REMEDY = "fetch or make its files again"


def load_backbone(config: ModelConfig) -> Backbone:
    """The pipeline at `config.path` with `config.lora` on `config.device`. Raises ConfigError if it is missing, corrupt
    or of an unknown family, or does not fit its LoRAs.

    Weights are read from safetensors only.
    """
    pipeline = load_pipeline(config, DTYPES[config.precision])
    backbone = family(type(pipeline).__name__)(pipeline, config, device=pick_device(config.device))
    if config.negative_prompt and backbone.unguided_why:
        raise ConfigError(f"model.negative_prompt: has no effect: {backbone.unguided_why}")
    if config.lora:
        from rilbench.model.base_loras import attach

        attach(pipeline, loras_of(config.lora))
    try:
        backbone.sampler  # noqa: B018 - checks that one can be made
    except RilbenchError:
        raise
    except Exception as error:  # diffusers checks settings of a scheduler as it uses them
        raise ConfigError(f"model.path: {config.path!r} cannot be sampled: {reason(error)[:300]}") from error
    return backbone


def load_pipeline(config: ModelConfig, dtype: torch.dtype) -> Any:
    """The same as diffusers' own object, on the CPU and without `config.lora`."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    path = pipeline_folder(config)
    if is_hub_id(config.path):
        require_published(in_cache(config.path, config.revision or "main"))
    try:
        index = diffusers.DiffusionPipeline.load_config(path)
        name = index["_class_name"]
        if name not in FAMILIES:
            raise ConfigError(f"model.path: {config.path!r} is a {name}; known are {', '.join(FAMILIES)}")
        parts = load_parts(path, index, dtype)
        return getattr(diffusers, name).from_pretrained(path, **(parts | dict(family(name).options())))
    except RilbenchError:
        raise
    except Exception as error:  # diffusers, safetensors and the hub raise a dozen kinds
        raise ConfigError(f"model.path: cannot load {config.path!r}: {reason(error)[:300]}") from error


def pipeline_folder(config: ModelConfig) -> Path:
    """The local folder at `config.path`, or the one in the Hub's cache: nothing is downloaded here.

    ConfigError if there is none, naming the command that fetches it.
    """
    path = resolve(config.path)
    if is_hub_id(path):
        return hub_folder(f"{path}@{config.revision or 'main'}", [INDEX])
    check_local(config.path)
    return Path(path)


def load_parts(folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> dict[str, nn.Module | None]:
    """Name to network of the pipeline in `folder`, whose model_index.json is `index`; reads safetensors only.

    Raises ConfigError for a network with a missing weight or another shape, which the libraries only log. Parts that no
    run uses are None. The autoencoder is in float32 for any `dtype`.
    """
    unused: dict[str, nn.Module | None] = {name: None for name in SKIPPED if name in index}
    return unused | {
        name: _load(kind, folder / name, torch.float32 if name == "vae" else dtype) for name, kind in _networks(index)
    }


def _networks(index: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and class of each part with weights; safety checkers are of neither library."""
    import diffusers
    import transformers

    libraries = {"diffusers": diffusers, "transformers": transformers}
    for name, origin in index.items():
        if name not in SKIPPED and isinstance(origin, (list, tuple)) and len(origin) == 2 and origin[0] in libraries:
            kind = getattr(libraries[origin[0]], origin[1], None)
            if isinstance(kind, type) and issubclass(kind, nn.Module):
                yield name, kind


def _load(kind: Any, folder: Path, dtype: torch.dtype) -> nn.Module:
    from transformers import PreTrainedModel

    if not folder.is_dir():  # a relative path would be looked for on the Hub
        raise ConfigError(f"model.path: there is no folder {folder}; {REMEDY}")
    if (folder / StageFiles.ADAPTER).exists():  # transformers would take base weights from the place it names
        raise ConfigError(
            f"model.path: {folder} has a PEFT adapter ({StageFiles.ADAPTER}); merge it into the weights, or delete it"
        )
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
    options["variant"] = variant_of(path.name for path in folder.iterdir())
    if options["variant"]:
        remedy = "`rilbench fetch` gets full ones where they are published"
        warnings.warn(f"model.path: {folder} has weights in half precision only; {remedy}", stacklevel=2)
    if issubclass(kind, PreTrainedModel):
        options["ignore_mismatched_sizes"] = True  # its report names them, its error does not
    try:
        with silent():
            network, report = kind.from_pretrained(folder, **options)
    except Exception as error:  # diffusers, transformers and safetensors raise a dozen kinds
        raise ConfigError(f"model.path: cannot load {folder}: {_why(error)[:300]}; {REMEDY}") from error
    if faults := _faults(report):
        more = f" and {len(faults) - SHOWN} more" if len(faults) > SHOWN else ""
        raise ConfigError(
            f"model.path: {folder} is not a whole {kind.__name__}: {', '.join(faults[:SHOWN])}{more}; {REMEDY}"
        )
    assert isinstance(network, nn.Module)
    return network


def _why(error: BaseException) -> str:
    """The first of a chain of errors: the later ones only state that a file could not be read."""
    while error.__context__ is not None:
        error = error.__context__
    return reason(error)


def _faults(report: Mapping[str, Any]) -> list[str]:
    """The reports of `from_pretrained` that leave a weight random."""
    shapes = [f"{key} has shape {tuple(found)}, not {tuple(is_)}" for key, found, is_ in report["mismatched_keys"]]
    return [*(f"{key} is missing" for key in sorted(report["missing_keys"])), *sorted(shapes)]


def pick_device(name: str) -> str:
    """`auto` is cuda if available. Raises ConfigError for a device that does not exist."""
    if name == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    try:
        torch.empty(1, device=name)
    except Exception as error:  # torch raises several kinds for an unknown or absent device
        first = str(error).splitlines()[0]
        raise ConfigError(f"model.device: {name!r} is not available here ({first}); use auto, cpu or cuda") from None
    return name
