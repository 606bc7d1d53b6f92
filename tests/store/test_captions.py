"""Captions of pictures fit beside them, and what does not fit is marked."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFont

from rilbench.store.captions import fitted
from rilbench.store.grid import save_grid

FONT = ImageFont.load_default(13)
LONG = "a very detailed photo of a cat that sleeps on a red sofa beside an open window, " * 6


@pytest.mark.parametrize("text", [LONG, "x" * 400, "two words", "", "a\nb  c"])
@pytest.mark.parametrize("width", [60, 220])
def test_no_line_is_wider_than_the_place(text: str, width: int) -> None:
    lines = fitted(text, FONT, width=width, lines=5)
    assert len(lines) <= 5
    assert all(FONT.getlength(line) <= width for line in lines)
    whole = fitted(text, FONT, width=width, lines=1000)
    assert "".join(whole).replace(" ", "") == "".join(text.split())
    assert lines == whole or (lines[-1].endswith("...") and lines[:-1] == whole[:4])


def grid(folder: Path, *, cell: int, label: str, prompts: list[str]) -> np.ndarray:
    for column in ("one", "two"):
        (folder / column).mkdir(exist_ok=True)
        for i in range(len(prompts)):
            Image.new("RGB", (16, 16), (255, 0, 0)).save(folder / column / f"sample-{i}.png")
    columns = [(label, folder / "one"), ("2 b", folder / "two")]
    save_grid(folder / "grid.png", columns=columns, prompts=prompts, cell=cell)
    with Image.open(folder / "grid.png") as image:
        return np.asarray(image.convert("L")).astype(int)


@pytest.mark.parametrize("cell", [128, 512])
def test_captions_of_a_grid_stay_in_their_place(tmp_path: Path, cell: int) -> None:
    """Text is dark, pictures are red (76), the rest is white."""
    shown = grid(tmp_path, cell=cell, label="1 a rather long name of a stage " * 3, prompts=[3 * LONG, "short"])
    dark = shown < 60
    text, top = shown.shape[1] - 2 * (cell + 6), shown.shape[0] - 2 * (cell + 6)
    rows, columns = np.nonzero(dark[:, :text])
    assert rows.min() >= top  # no prompt above the pictures
    assert columns.max() < text - 6
    first, second = dark[top : top + cell, :text], dark[top + cell + 6 : top + 2 * cell + 6, :text]
    assert not dark[top + cell : top + cell + 6].any()  # nothing between the rows
    assert np.ptp(np.nonzero(first.any(1))[0]) > 0.8 * cell  # the long prompt fills its row
    height = np.ptp(np.nonzero(second.any(1))[0]) + 1
    assert height >= cell / 30  # legible next to pictures of any size
    head = np.nonzero(dark[:top, text:].any(0))[0]
    assert head.max() < 2 * cell + 6
    between = dark[:top, text + cell : text + cell + 6]
    assert not between.any()  # a stage's label stays above its own pictures
