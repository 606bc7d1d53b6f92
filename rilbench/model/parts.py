"""The networks of a diffusers pipeline, each loaded whole: what the libraries only log is refused here."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from rilbench.contracts.errors import ConfigError, reason
from rilbench.files.pipelines import SKIPPED, variant_of
from rilbench.model.libraries import silent
from rilbench.store.layout import StageFiles

LIBRARIES = ("diffusers", "transformers")
SHOWN = 3  # weights in a message
REMEDY = "fetch or make its files again"


def load_parts(folder: Path, index: Mapping[str, Any], dtype: torch.dtype) -> dict[str, nn.Module | None]:
    """Name to network of the pipeline in `folder`, whose model_index.json is `index`; read from safetensors only.

    Parts that no run uses are None. The autoencoder comes in float32 whatever the `dtype`: where it may be less, the
    backbone rounds it.
    ConfigError for a network of which a weight is missing or has another shape.
    """
    unused: dict[str, nn.Module | None] = {name: None for name in SKIPPED if name in index}
    return unused | {
        name: _load(kind, folder / name, torch.float32 if name == "vae" else dtype) for name, kind in _networks(index)
    }


def _networks(index: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Name and class of each part with weights; safety checkers are of neither library."""
    import diffusers
    import transformers

    libraries = dict(zip(LIBRARIES, (diffusers, transformers), strict=True))
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
            f"model.path: {folder} holds a PEFT adapter ({StageFiles.ADAPTER}); merge it into the weights, or delete it"
        )
    options: dict[str, Any] = {"dtype": dtype, "use_safetensors": True, "output_loading_info": True}
    options["variant"] = variant_of(path.name for path in folder.iterdir())
    if options["variant"]:
        told = "`rilbench fetch` gets full ones where they are published"
        warnings.warn(f"model.path: {folder} has weights in half precision only; {told}", stacklevel=2)
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
    """The first of a chain of errors: the later ones only say that a file could not be read."""
    while error.__context__ is not None:
        error = error.__context__
    return reason(error)


def _faults(report: Mapping[str, Any]) -> list[str]:
    """Of what `from_pretrained` reports, that which leaves a weight random."""
    shapes = [f"{key} has shape {tuple(found)}, not {tuple(is_)}" for key, found, is_ in report["mismatched_keys"]]
    return [*(f"{key} is missing" for key in sorted(report["missing_keys"])), *sorted(shapes)]
