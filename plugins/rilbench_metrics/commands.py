"""`rilbench reference`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rilbench.cli.options import AsJson, Config, Quiet, Settings, requested
from rilbench.cli.output import print_fields, print_json, prints_on_stderr
from rilbench.contracts.errors import ConfigError

if TYPE_CHECKING:
    from rilbench.engine.request import Request


def reference(
    folder: Annotated[Path, typer.Argument(help="Folder of images, searched recursively")],
    settings: Settings = None,
    config: Config = "shapes",
    output: Annotated[Path | None, typer.Option(help="File to write [default: metric_settings.fid.reference]")] = None,
    size: Annotated[int, typer.Option(min=0, help="Side of the square that images are resized and cropped to")] = 0,
    batch_size: Annotated[int, typer.Option(min=1, help="Images per batch")] = 32,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Compute reference statistics for `fid`, `fid_inf` and `kid` from a folder of images."""
    asked = requested(config, settings, quiet=quiet)
    with prints_on_stderr():
        record = _made(folder, asked, output, size=size, batch_size=batch_size)
    if as_json:
        print_json(record | {"images": int(record["images"])})
    else:
        print_fields(record)


def _made(folder: Path, asked: Request, output: Path | None, *, size: int, batch_size: int) -> dict[str, str]:
    """Write the file; returns its description."""
    import torch
    from safetensors.torch import save_file

    from rilbench.contracts.settings import build
    from rilbench.model.loading import pick_device
    from rilbench.store.files import replacing
    from rilbench_metrics.extractors import make_extractor
    from rilbench_metrics.feature_sets import FeatureSettings
    from rilbench_metrics.folder import images_in
    from rilbench_metrics.reference import measure

    fid = build(FeatureSettings, asked.config.metric_settings.get("fid") or {}, "metric_settings.fid")
    path = output or _writable(fid.reference)
    files = images_in(folder, asked.reporter.warn)
    extractor = make_extractor(fid, pick_device(asked.config.model.device))
    with asked.reporter.work("measuring images", "image") as on_batch:
        moments, sample = measure(files, extractor, size=size, batch_size=batch_size, on_batch=on_batch)
    resize = f"short side to {size}, centre crop" if size else "none"
    record = {"images": str(moments.n), "extractor": extractor.label, "resize": resize}
    tensors = {"mean": moments.mean, "cov": moments.cov, "n": torch.tensor([moments.n]), "features": sample}
    with replacing(path) as part:
        save_file({name: value.contiguous() for name, value in tensors.items()}, part, metadata=record)
    return {"file": str(path), **record}


def _writable(reference: str) -> Path:
    from rilbench.contracts.files import is_reference

    if reference.startswith("package:") or is_reference(reference):
        raise ConfigError(f"metric_settings.fid.reference is {reference}, which cannot be written; give --output")
    return Path(reference).expanduser()
