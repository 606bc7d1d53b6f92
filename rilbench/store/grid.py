"""The image grid: a row per prompt, a column per stage, the same noise along a row."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from rilbench.contracts.errors import reason
from rilbench.store.captions import fitted
from rilbench.store.checksums import damaged
from rilbench.store.files import replacing
from rilbench.store.layout import EvaluationFiles

if TYPE_CHECKING:
    from torch import Tensor

CELL, MARGIN, TEXT, FONT = 128, 6, 220, 13  # pixels; the text's and the font's are the smallest
LABEL = 2  # lines of a column's label


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

    Captions have the size of the font for that cell; a prompt longer than its row ends in `...`. Small images are
    enlarged without smoothing. Raises DamagedError for one that is missing or damaged.
    """
    size = max(FONT, cell // 20)
    font, line, text = ImageFont.load_default(size), math.ceil(1.2 * size), max(TEXT, cell)
    top = LABEL * line + MARGIN
    grid = Image.new("RGB", (text + len(columns) * (cell + MARGIN), top + len(prompts) * (cell + MARGIN)), "white")
    draw = ImageDraw.Draw(grid)

    def write(caption: str, left: int, y: int, width: int, lines: int) -> None:
        for i, part in enumerate(fitted(caption, font, width=width, lines=lines)):
            draw.text((left, y + i * line), part, fill="black", font=font)

    for x, (label, folder) in enumerate(columns):
        left = text + x * (cell + MARGIN)
        write(label, left, MARGIN // 2, cell, LABEL)
        for y in range(len(prompts)):
            grid.paste(_scaled(EvaluationFiles(folder).picture(y), cell), (left, top + y * (cell + MARGIN)))
    for y, prompt in enumerate(prompts):
        write(prompt, MARGIN, top + y * (cell + MARGIN), text - 2 * MARGIN, cell // line)
    with replacing(path) as part:
        grid.save(part, format="PNG")


def _scaled(picture: Path, side: int) -> Image.Image:
    check_picture(picture)
    with Image.open(picture) as image:
        how = Image.Resampling.NEAREST if image.width < side else Image.Resampling.LANCZOS
        return image.convert("RGB").resize((side, side), how)
