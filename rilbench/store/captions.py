"""Text for pictures: wrapped and shortened to a width."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont
CUT = "..."


def fitted(text: str, font: Font, *, width: float, lines: int) -> list[str]:
    """At most so many lines of a text, none wider than `width` pixels; a text that is too long ends in `...`."""
    wrapped = list(islice(_wrapped(text, font, width), lines + 1))
    if len(wrapped) <= lines:
        return wrapped
    last = wrapped[lines - 1]
    while last and font.getlength(f"{last}{CUT}") > width:
        last = last[:-1]
    return [*wrapped[: lines - 1], f"{last.rstrip()}{CUT}"]


def _wrapped(text: str, font: Font, width: float) -> Iterator[str]:
    """Lines broken between words; a word that is wider than a line is broken anywhere."""
    line = ""
    for word in text.split():
        if line and font.getlength(f"{line} {word}") > width:
            yield line
            line = ""
        line = f"{line} {word}".lstrip()
        while font.getlength(line) > width and len(line) > 1:
            fits = next(n for n in range(len(line) - 1, 0, -1) if n == 1 or font.getlength(line[:n]) <= width)
            yield line[:fits]
            line = line[fits:]
    if line:
        yield line
