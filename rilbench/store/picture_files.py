"""Opens image files with one-line errors that name the file."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image

from rilbench.contracts.errors import ConfigError, RilbenchError, is_out_of_memory, reason

# raster formats; not those that Pillow only recognises, or reads with a program of the system (EPS, WMF)
FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "DIB", "PPM", "TGA", "JPEG2000", "AVIF", "SGI", "PCX", "QOI")


@contextmanager
def opened(file: Path) -> Iterator[Image.Image]:
    """The image in a file; reading within may fail too, because Pillow decodes late.

    Raises ConfigError if it is missing, truncated, not an image, or too large to be decoded safely.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(file, formats=FORMATS) as image:
                yield image
    except RilbenchError:
        raise
    except (Image.DecompressionBombWarning, Image.DecompressionBombError):
        most = Image.MAX_IMAGE_PIXELS or 0
        raise ConfigError(
            f"the image {file} has more than {most / 1e6:.0f} million pixels; remove it, or make it smaller"
        ) from None
    except Exception as error:  # Pillow raises OSError, SyntaxError, ValueError, struct.error and others
        if is_out_of_memory(error):
            raise
        raise ConfigError(f"cannot read the image {file}: {reason(error)[:300]}; remove it or get it again") from None
