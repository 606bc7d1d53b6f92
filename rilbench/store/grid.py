"""The image grid: a row per prompt, a column per stage, the same noise along a row."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from rilbench.contracts.errors import reason
from rilbench.store.checksums import damaged
from rilbench.store.files import replacing
from rilbench.store.layout import EvaluationFiles

if TYPE_CHECKING:
    from torch import Tensor

CELL, MARGIN, TEXT, LINE = 128, 6, 220, 13  # pixels


def save_picture(path: Path, pixels: Tensor) -> None:
    """Write an 8-bit image (3, H, W) as PNG."""
    with replacing(path) as part:
        Image.fromarray(pixels.permute(1, 2, 0).numpy()).save(part, format="PNG")


def why_no_picture(path: Path) -> str:
    """What is wrong with a PNG file, whose format has checksums; empty if it is valid."""
    try:
        with Image.open(path, formats=["PNG"]) as image:
            image.verify()
    except Exception as error:  # Pillow raises SyntaxError too, and struct's and zlib's own errors
        return reason(error)
    return ""


def check_picture(path: Path) -> None:
    """Raises DamagedError if a PNG file is missing or damaged."""
    if why := why_no_picture(path):
        raise damaged(path, why)


def save_grid(path: Path, *, columns: Sequence[tuple[str, Path]], prompts: Sequence[str], cell: int = CELL) -> None:
    """Write the grid of the sample images of each column's evaluation, each `cell` pixels wide and high.

    Small images are enlarged without smoothing. Raises DamagedError for one that is missing or damaged.
    """
    width = TEXT + len(columns) * (cell + MARGIN)
    grid = Image.new("RGB", (width, 2 * LINE + len(prompts) * (cell + MARGIN)), "white")
    draw, font = ImageDraw.Draw(grid), ImageFont.load_default()
    for x, (label, folder) in enumerate(columns):
        left = TEXT + x * (cell + MARGIN)
        draw.text((left, 4), label[:22], fill="black", font=font)
        for y in range(len(prompts)):
            check_picture(picture := EvaluationFiles(folder).picture(y))
            with Image.open(picture) as image:
                how = Image.Resampling.NEAREST if image.width < cell else Image.Resampling.LANCZOS
                grid.paste(image.convert("RGB").resize((cell, cell), how), (left, 2 * LINE + y * (cell + MARGIN)))
    for y, prompt in enumerate(prompts):
        for i, line in enumerate(textwrap.wrap(prompt, 34)[:8]):
            draw.text((MARGIN, 2 * LINE + y * (cell + MARGIN) + i * LINE), line, fill="black", font=font)
    with replacing(path) as part:
        grid.save(part, format="PNG")
