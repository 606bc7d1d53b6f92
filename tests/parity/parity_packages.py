"""The reward packages of others, imported from folders they were installed into without what they pin or ask for.

pip install --no-deps --target FOLDER hpsv2 image-reward
"""

from __future__ import annotations

import importlib
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
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
        pytest.skip(f"{FOLDER} names no folder with {package}; docs/evidence.md says how to make it")
    before = set(sys.modules)
    try:
        with patch.object(sys, "path", [folder, *sys.path]), patch.dict(sys.modules):
            sys.modules.update({module.__name__: module for module in stand_ins})
            yield version({"ImageReward": "image-reward"}.get(package, package))
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


@contextmanager
def imagereward(tokenizer: Path) -> Iterator[tuple[str, ModuleType]]:
    """Version and model module of image-reward: no training code, its tokenizer from a folder, and the names that
    transformers 5 and timm 1 have dropped or moved."""
    import timm.layers
    import timm.models.vision_transformer
    import transformers.modeling_utils
    from transformers import BertTokenizer
    from transformers.pytorch_utils import apply_chunking_to_forward

    folder = os.environ.get(FOLDER, "")
    package = stand_in("ImageReward", __path__=[f"{folder}/ImageReward"])  # its own __init__ imports the training code
    models = stand_in("ImageReward.models", __path__=[f"{folder}/ImageReward/models"])
    moved = [
        package,
        models,
        stand_in("fairscale"),
        stand_in("fairscale.nn"),
        stand_in("fairscale.nn.checkpoint"),
        stand_in("fairscale.nn.checkpoint.checkpoint_activations", checkpoint_wrapper=None),
        stand_in("timm.models.hub", download_cached_file=None),
        stand_in("timm.models.registry", register_model=None),
        stand_in("timm.models.layers", **{name: getattr(timm.layers, name) for name in ("trunc_normal_", "DropPath")}),
        stand_in("timm.models.helpers", named_apply=None, adapt_input_conv=None),
        stand_in("transformers.file_utils", ModelOutput=transformers.utils.ModelOutput),
    ]
    dropped = {
        "apply_chunking_to_forward": apply_chunking_to_forward,
        "find_pruneable_heads_and_indices": None,
        "prune_linear_layer": None,
    }

    def from_folder() -> Any:
        """As the package's `init_tokenizer`."""
        words = BertTokenizer.from_pretrained(tokenizer)
        words.add_special_tokens({"bos_token": "[DEC]"})
        words.add_tokens(["[ENC]"], special_tokens=True)
        return words

    with importable("ImageReward", moved) as number, ExitStack() as patches:
        for name, value in dropped.items():
            patches.enter_context(patch.object(transformers.modeling_utils, name, value, create=True))
        patches.enter_context(patch.object(timm.models.vision_transformer, "_cfg", None, create=True))
        blip = importlib.import_module("ImageReward.models.BLIP.blip_pretrain")
        med = importlib.import_module("ImageReward.models.BLIP.med")
        patches.enter_context(patch.object(blip, "init_tokenizer", from_folder))
        methods = {
            "get_head_mask": lambda self, mask, layers: [None] * layers,
            "invert_attention_mask": lambda self, mask: -1e4 * (1 - mask[:, None, None].float()),
            "init_weights": lambda self: None,
        }
        patches.enter_context(patch.multiple(med.BertModel, create=True, **methods))  # type: ignore[call-overload]
        yield number, importlib.import_module("ImageReward.ImageReward")
