"""Which files of a folder are pictures, what a picture is as 8-bit RGB, and that a hostile one is one line."""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from small_runs import write_run
from typer.testing import CliRunner

from rilbench.cli.main import app
from rilbench.contracts.errors import ConfigError, UsageError
from rilbench.store.grid import save_grid
from rilbench.store.picture_files import opened
from rilbench_metrics.folder import images_in, read_rgb
from rilbench_metrics.reference import read_image
from rilbench_report.pictures import data_uri

RAMP = np.arange(256, dtype=np.uint8).reshape(16, 16)
RGB = np.stack([RAMP, RAMP.T, RAMP[::-1]], axis=-1)


def read(file: Path) -> np.ndarray:
    return np.asarray(read_rgb(file))


def test_16_bits_are_the_same_picture_as_8(tmp_path: Path) -> None:
    Image.fromarray(RAMP).save(tmp_path / "8.png")
    for factor in (256, 257):  # both ways to widen
        Image.fromarray(RAMP.astype(np.uint16) * factor).save(tmp_path / "16.png")
        Image.fromarray(RAMP.astype(np.uint16) * factor).save(tmp_path / "16.tif")
        with Image.open(tmp_path / "16.png") as image:
            assert image.mode == "I;16"
        for name in ("16.png", "16.tif"):
            assert torch.equal(read_image(tmp_path / name, 0), read_image(tmp_path / "8.png", 0))
    assert torch.equal((read_image(tmp_path / "16.png", 0)[0] * 255).byte(), torch.from_numpy(RAMP.copy()))


@pytest.mark.parametrize("end", ["tif", "TIFF", "gif", "bmp", "ppm", "tga", "qoi", "webp", "png"])
def test_lossless_formats_give_the_same_picture(tmp_path: Path, end: str) -> None:
    source = Image.fromarray(RGB if end != "gif" else np.stack([RAMP] * 3, -1))
    for i in range(2):
        source.save(tmp_path / f"{i}.{end}", **({"lossless": True} if end == "webp" else {}))
    files = images_in(tmp_path, pytest.fail)
    assert len(files) == 2
    assert np.array_equal(read(files[0]), np.asarray(source))


def test_transparent_parts_show_white(tmp_path: Path) -> None:
    half = np.dstack([RGB, np.full((16, 16), 128, np.uint8)])
    half[:8, :, 3], half[8:, 8:, 3] = 0, 255
    Image.fromarray(half).save(tmp_path / "a.png")
    found = read(tmp_path / "a.png").astype(int)
    assert (found[:8] == 255).all()
    assert np.array_equal(found[8:, 8:], RGB[8:, 8:])
    assert np.abs(found[8:, :8] - (RGB[8:, :8] * 128.0 + 255 * 127) / 255).max() <= 1
    grey = Image.fromarray(RAMP)
    grey.putalpha(0)
    grey.save(tmp_path / "la.png")
    palette = Image.fromarray(RAMP).convert("P")
    palette.save(tmp_path / "p.png", transparency=0)
    assert (read(tmp_path / "la.png") == 255).all()
    assert read(tmp_path / "p.png")[0, :2].tolist() == [[255] * 3, [1] * 3]


def test_orientation_and_colour_models(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # the camera was turned: shown, the first row is the last column
    Image.fromarray(RGB[:8]).save(tmp_path / "turned.png", exif=exif)
    assert np.array_equal(read(tmp_path / "turned.png"), np.rot90(RGB[:8], -1))
    cmyk = Image.fromarray(RGB).convert("CMYK")
    cmyk.save(tmp_path / "cmyk.tif")
    assert np.array_equal(read(tmp_path / "cmyk.tif"), np.asarray(cmyk.convert("RGB")))
    Image.fromarray(RAMP).convert("1").save(tmp_path / "1.png")
    assert set(np.unique(read(tmp_path / "1.png"))) == {0, 255}
    frames = [Image.new("RGB", (16, 16), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "two.tif", save_all=True, append_images=frames[1:])
    assert read(tmp_path / "two.tif")[0, 0].tolist() == [255, 0, 0]
    for mode in ("I", "F"):
        Image.fromarray(RAMP.astype({"I": np.int32, "F": np.float32}[mode])).save(tmp_path / "deep.tif")
        with pytest.raises(ConfigError, match=rf"deep\.tif: .*32-bit .*mode {mode}.*8 bits"):
            read(tmp_path / "deep.tif")


def picture(file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RGB).save(file)


def test_linked_folders_are_searched_once(tmp_path: Path) -> None:
    folder, away = tmp_path / "val", tmp_path / "disk"
    picture(folder / "0.png")
    picture(away / "sub" / "1.png")
    picture(folder / ".hidden" / "no.png")
    picture(folder / "._0.png")
    (folder / "linked").symlink_to(away)
    (away / "back").symlink_to(folder)  # a loop
    assert images_in(folder, pytest.fail) == [folder / "0.png", folder / "linked" / "sub" / "1.png"]


def test_what_is_left_out_is_said(tmp_path: Path) -> None:
    for i in range(3):
        picture(tmp_path / f"{i}.png")
    (tmp_path / "captions.json").write_text("{}")
    told: list[str] = []
    assert len(images_in(tmp_path, told.append)) == 3
    assert [(str(tmp_path) in text, "1 files" in text, "captions.json" in text) for text in told] == [
        (True, True, True)
    ]
    for name in ("a.HEIC", "b.heic", "c.svg"):
        (tmp_path / name).write_text("")
    with pytest.raises(UsageError, match=r"2 \.heic, 1 \.svg.*a\.HEIC.*PNG"):
        images_in(tmp_path)


def test_links_to_nothing_and_pipes_are_named(tmp_path: Path) -> None:
    picture(tmp_path / "0.png")
    picture(tmp_path / "1.png")
    (tmp_path / "2.png").symlink_to(tmp_path / "away.png")
    with pytest.raises(UsageError, match=r"2\.png .*link.*remove it"):
        images_in(tmp_path)
    (tmp_path / "2.png").unlink()
    os.mkfifo(tmp_path / "3.png")  # opening it would wait for ever
    with pytest.raises(UsageError, match=r"3\.png .*not a regular file.*remove it"):
        images_in(tmp_path)


def bomb(file: Path) -> None:
    """A small PNG that says it has 4e8 pixels."""
    header = b"IHDR" + (20_000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    chunk = (13).to_bytes(4, "big") + header + zlib.crc32(header).to_bytes(4, "big")
    file.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk)


def large(file: Path) -> None:
    Image.new("1", (10_000, 9_000)).save(file, "PNG")


def long_text(file: Path) -> None:
    info = PngInfo()
    info.add_text("comment", "x" * 3_000_000, zip=True)
    Image.fromarray(RGB).save(file, "PNG", pnginfo=info)


def cut(file: Path) -> None:
    Image.fromarray(RGB).save(file, "PNG")
    file.write_bytes(file.read_bytes()[:60])


def postscript(file: Path) -> None:
    file.write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\nshowpage\n")


@pytest.mark.parametrize("make", [bomb, large, long_text, cut, postscript])
def test_a_hostile_picture_is_one_line(tmp_path: Path, make: Callable[[Path], None]) -> None:
    picture(tmp_path / "val" / "0.png")
    make(tmp_path / "val" / "1.png")
    done = CliRunner().invoke(app, ["reference", str(tmp_path / "val"), "--output", str(tmp_path / "x")])
    assert isinstance(done.exception, ConfigError)  # which the command line prints in one line
    assert f"image {tmp_path}/val/1.png" in str(done.exception)
    assert "\n" not in str(done.exception)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize("make", [bomb, cut])
def test_so_is_one_in_a_store(tmp_path: Path, make: Callable[[Path], None]) -> None:
    write_run(tmp_path, "rid")
    file = sorted(tmp_path.rglob("sample-0.png"))[0]
    make(file)
    with pytest.raises(ConfigError, match=r"sample-0\.png"):
        save_grid(tmp_path / "grid.png", columns=[("a", file.parent)], prompts=["a"])
    if make is bomb:  # a small picture is embedded as it is
        with pytest.raises(ConfigError, match=r"sample-0\.png"):
            data_uri(file)
    with pytest.raises(ConfigError, match=r"cannot read the image .*away\.png"), opened(tmp_path / "away.png"):
        pass
