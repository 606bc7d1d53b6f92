"""`rilbench reference`, the command that makes the statistics `fid` compares with."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated

import typer

from rilbench import hookimpl
from rilbench.contracts.errors import ConfigError


class Commands:
    """Adds `rilbench reference`."""

    @hookimpl
    def commands(self) -> Mapping[str, Callable[..., None]]:
        return {"reference": reference}


def reference(
    folder: Annotated[Path, typer.Argument(help="Folder of images; folders in it count too")],
    settings: Annotated[list[str] | None, typer.Argument(help="Settings as key=value")] = None,
    config: Annotated[
        str, typer.Option("--config", "-c", help="Configuration; its metric_settings.fid is used")
    ] = "shapes",
    output: Annotated[Path | None, typer.Option(help="File to write; by default metric_settings.fid.reference")] = None,
    size: Annotated[int, typer.Option(min=0, help="Short side and centre crop in pixels; 0 leaves images alone")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Images of one size at a time")] = 32,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr, only warnings")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON")] = False,
) -> None:
    """Compute the mean and covariance that `fid` compares with, from a folder of images such as COCO's val2014."""
    from rilbench.cli.output import print_fields, print_json, quiet_libraries

    quiet_libraries()
    with redirect_stdout(sys.stderr):
        record = _make(folder, settings or [], config, output, size, batch_size, quiet)
    if as_json:
        print_json(record | {"images": int(record["images"])})
    else:
        print_fields(record)


def _make(
    folder: Path, settings: list[str], config: str, output: Path | None, size: int, batch_size: int, quiet: bool
) -> dict[str, str]:
    import torch
    from safetensors.torch import save_file

    from rilbench.contracts.settings import build
    from rilbench.engine.config import load
    from rilbench.engine.progress import Reporter
    from rilbench.model.loading import pick_device
    from rilbench.store.files import replacing
    from rilbench_metrics.extractors import make_extractor
    from rilbench_metrics.fid import FIDSettings
    from rilbench_metrics.folder import images_in
    from rilbench_metrics.reference import contents, measure

    loaded = load(config, settings)
    fid = build(FIDSettings, loaded.metric_settings.get("fid") or {}, "metric_settings.fid")
    place = output or _place(fid.reference, config)
    reporter = Reporter(quiet=quiet)
    files = images_in(folder, reporter.warn)
    extractor = make_extractor(fid.extractor, fid.model, fid.pretrained, pick_device(loaded.model.device))
    with reporter.images("measuring images") as on_batch:
        moments = measure(files, extractor, size=size, batch_size=batch_size, on_batch=on_batch)
    resize = f"short side to {size}, centre crop" if size else "none"
    record = {"images": str(moments.n), "extractor": extractor.label, "resize": resize, "contents": contents(files)}
    tensors = {"mean": moments.mean, "cov": moments.cov, "n": torch.tensor([moments.n])}
    with replacing(place) as part:
        save_file({name: value.contiguous() for name, value in tensors.items()}, part, metadata=record)
    return {"file": str(place), **record}


def _place(reference: str, config: str) -> Path:
    from rilbench.contracts.files import is_reference

    if reference.startswith("package:") or is_reference(reference):
        raise ConfigError(
            f"metric_settings.fid.reference of {config} is {reference}, not a path to write to; give --output"
        )
    return Path(reference).expanduser()
