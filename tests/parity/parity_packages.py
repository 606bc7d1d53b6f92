"""The reward packages of others, imported from folders they were installed into without what they pin or ask for.

pip install --no-deps --target FOLDER hpsv2 image-reward
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest.mock import patch

import pytest

FOLDER = "RILBENCH_PARITY_PACKAGES"


@contextmanager
def importable(package: str, stand_ins: Sequence[ModuleType]) -> Iterator[str]:
    """Within: the package can be imported, with stand-ins for modules it imports and does not use; its version."""
    folder = os.environ.get(FOLDER)
    if folder is None or not (Path(folder) / package).is_dir():
        pytest.skip(f"{FOLDER} names no folder with {package}; docs/parity.md says how to make it")
    before = set(sys.modules)
    try:
        with patch.object(sys, "path", [folder, *sys.path]), patch.dict(sys.modules):
            sys.modules.update({module.__name__: module for module in stand_ins})
            yield version(package)
    finally:
        for name in set(sys.modules) - before:
            if name.partition(".")[0] == package:
                del sys.modules[name]


def stand_in(name: str, **contents: Any) -> ModuleType:
    """A module of the given contents."""
    module = ModuleType(name)
    vars(module).update(contents)
    return module


@contextmanager
def hpsv2() -> Iterator[tuple[str, ModuleType, ModuleType]]:
    """Version, scoring and open_clip modules of hpsv2, given the vocabulary that its wheel lacks."""
    import open_clip

    unused = [stand_in("turtle", forward=None), stand_in("clint"), stand_in("clint.textui", progress=None)]
    with importable("hpsv2", unused) as number:
        name = "bpe_simple_vocab_16e6.txt.gz"
        shutil.copy(Path(open_clip.__file__).with_name(name), f"{os.environ[FOLDER]}/hpsv2/src/open_clip/{name}")
        yield number, importlib.import_module("hpsv2.img_score"), importlib.import_module("hpsv2.src.open_clip")
