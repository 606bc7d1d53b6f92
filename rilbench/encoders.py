"""Tools that rewards and metrics share: a differentiable resize, a frozen CLIP, and safe reading of weight files.

open_clip is imported when an encoder is made, because it imports torchvision at the top.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor

from rilbench.contracts.errors import ConfigError, unknown
from rilbench.contracts.files import NeededFile, hub_files, is_reference
from rilbench.files.hub import digest, is_hub_id
from rilbench.files.published import hub_folder, require_published
from rilbench.files.resources import WEIGHTS, checked, resolve

Fit = Literal["square", "pad"]  # how images reach the model's size, see `resize`
CLIP_MODEL = "folder, `package:` path, Hub id or open_clip architecture; see `rilbench.encoders.ClipEncoder`"
CLIP_MEAN, CLIP_STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # of CLIP's pixels
CLIP_PRETRAINED = "weight file, reference or open_clip tag of an architecture"


def resize(images: Tensor, size: int, *, mode: str = "square") -> Tensor:
    """Resize images (B, C, H, W) to (B, C, size, size), bicubic with antialias, differentiable and deterministic.

    square: the short side to `size`, then a crop of the centre (CLIP's preprocessing).
    pad: the long side to `size`, then zeros on both sides (HPS v2's preprocessing; pad before normalising).
    Values may leave the range of the input a little, as in torchvision on tensors. ConfigError for another mode.
    """
    if mode not in get_args(Fit):
        raise ConfigError(unknown("fit", mode, get_args(Fit)))
    height, width = images.shape[-2:]
    if mode == "square":
        short = min(height, width)
        images = _resize_to(images, size * height // short, size * width // short)
        top, left = (round((side - size) / 2) for side in images.shape[-2:])
        return images[..., top : top + size, left : left + size]
    scale = size / max(height, width)
    images = _resize_to(images, round(height * scale), round(width * scale))
    rows, columns = (size - side for side in images.shape[-2:])
    return F.pad(images, (columns // 2, columns - columns // 2, rows // 2, rows - rows // 2))


def _resize_to(images: Tensor, height: int, width: int) -> Tensor:
    """Two products with fixed matrices: unlike interpolate, their backward is deterministic on CUDA."""
    if images.shape[-2] != height:
        images = _resize_matrix(images.shape[-2], height, images.dtype, images.device) @ images
    if images.shape[-1] != width:
        images = images @ _resize_matrix(images.shape[-1], width, images.dtype, images.device).T
    return images


def clip_pixels(images: Tensor, size: int, weight: Tensor) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] as CLIP takes them, with the dtype and on the device of a weight."""
    mean, std = (weight.new_tensor(values)[:, None, None] for values in (CLIP_MEAN, CLIP_STD))
    return (resize(images.to(weight), size) - mean) / std


@lru_cache(maxsize=64)
def _resize_matrix(old: int, new: int, dtype: torch.dtype, device: torch.device) -> Tensor:
    """(new, old): what torch's own resize makes of the unit vectors."""
    with torch.inference_mode(False):  # the cached matrix must serve autograd later
        unit = torch.eye(old, dtype=torch.float64)[None, None]
        matrix = F.interpolate(unit, size=(new, old), mode="bicubic", antialias=True, align_corners=False)
        return matrix[0, 0].to(device, dtype)


def clip_files(model: str, pretrained: str | None = None) -> list[NeededFile]:
    """The published files that a `ClipEncoder` with these arguments reads, for `files` of a component."""
    if pretrained is not None and is_reference(pretrained):
        return [NeededFile.parse(pretrained)]
    if model.startswith("hf-hub:"):
        return hub_files(model.removeprefix("hf-hub:"), ("open_clip_config.json", "open_clip_model.safetensors"))
    if pretrained is None or pretrained.endswith(WEIGHTS):
        return []
    from rilbench.files.open_clip import tag_files

    return tag_files(model, pretrained)


class ClipEncoder:
    """A frozen open_clip model that maps images in [0, 1] and prompts to unit vectors, in float32.

    model: a folder with open_clip_config.json, weights and tokenizer (a path or `package:NAME/FOLDER`), an
        `hf-hub:` id, or an open_clip architecture such as "ViT-H-14".
    pretrained: for an architecture, a weight file (a path or a reference, see `rilbench.contracts.files`) or an
        open_clip tag, whose file `rilbench fetch` gets.
    fit: how images reach the model's size, see `resize`; mean, deviation and size are the model's own.
    sha256: the hash of the local weight file.
    setting: the user's name of `model`, for error messages.

    Raises ConfigError for anything unknown, missing or corrupt; weights are loaded strictly.
    """

    def __init__(
        self,
        model: str,
        pretrained: str | None = None,
        device: str = "cpu",
        fit: str = "square",
        *,
        sha256: str | None = None,
        setting: str = "model",
    ) -> None:
        if fit not in get_args(Fit):
            raise ConfigError(unknown("fit", fit, get_args(Fit)))
        name, weights, published = _located(model, pretrained, setting)
        if sha256 is not None:
            check_sha256(_weight_file(name, weights, setting), sha256)
        self.fit, self.device = fit, device
        self.model, self._tokenize = _load(name, weights, published, device, setting)
        preprocess = self.model.visual.preprocess_cfg
        self.image_size = _side(preprocess["size"])
        self._mean, self._std = (torch.tensor(preprocess[key])[:, None, None] for key in ("mean", "std"))
        self._text: dict[str, Tensor] = {}
        with torch.no_grad():
            self.dim = self.image_features(torch.zeros(1, 3, self.image_size, self.image_size)).shape[1]

    def image_features(self, images: Tensor) -> Tensor:
        """Images (B, 3, H, W) in [0, 1] to unit vectors (B, D), differentiable in the images."""
        weight = next(self.model.parameters())
        pixels = resize(images.to(weight), self.image_size, mode=self.fit)
        pixels = (pixels - self._mean.to(weight)) / self._std.to(weight)
        return F.normalize(self.model.encode_image(pixels), dim=-1)

    def text_features(self, prompts: Sequence[str]) -> Tensor:
        """Prompts to unit vectors (B, D), without gradient; computed once per prompt and then cached."""
        for prompt in prompts:
            if prompt not in self._text:
                self._text[prompt] = self._encode(prompt)
        return torch.stack([self._text[prompt] for prompt in prompts])

    @torch.no_grad()
    def _encode(self, prompt: str) -> Tensor:
        """One prompt at a time: its features must not depend on the batch it first came in."""
        tokens = self._tokenize([prompt]).to(self.device)
        return F.normalize(self.model.encode_text(tokens), dim=-1)[0]


def _located(model: str, pretrained: str | None, setting: str) -> tuple[str, str | None, dict[str, Any]]:
    """open_clip's name of a model, the file of its weights, and the preprocessing that is published with them."""
    name = resolve(model)
    if not name.startswith("hf-hub:") and not Path(name).is_dir():
        from rilbench.files.open_clip import weights_of

        return name, *weights_of(name, pretrained, setting)
    if pretrained is not None:
        raise ConfigError(f"{setting}: {model} has its own weights; remove `pretrained`")
    if name.startswith("hf-hub:"):
        return name, None, {}
    if not (Path(name) / "open_clip_config.json").is_file():
        raise ConfigError(f"{setting}: the folder {name} has no open_clip_config.json; give an open_clip folder")
    return f"local-dir:{name}", None, {}


def _weight_file(name: str, pretrained: str | None, setting: str) -> Path:
    """The one local file whose hash can be checked."""
    if pretrained is not None and Path(pretrained).is_file():
        return Path(pretrained)
    if not name.startswith("local-dir:"):
        raise ConfigError(f"sha256: {name} is not a local file; remove `sha256` or download the weights")
    folder = Path(name.removeprefix("local-dir:"))
    files = [path for path in sorted(folder.iterdir()) if path.suffix in WEIGHTS]
    if len(files) != 1:
        raise ConfigError(f"sha256: {folder} has {len(files)} weight files; keep only the one to use")
    return files[0]


def _load(name: str, pretrained: str | None, published: dict[str, Any], device: str, setting: str) -> tuple[Any, Any]:
    """The model, frozen and in eval mode, and its tokenizer."""
    import open_clip

    if name.startswith("hf-hub:"):
        require_published(clip_files(name))
    options = {"precision": "fp32", "device": device, "require_pretrained": True, "weights_only": True}
    try:
        model = open_clip.create_model(name, pretrained, force_preprocess_cfg=published, **options)
        tokenizer = open_clip.get_tokenizer(name)
    except Exception as error:  # open_clip passes on whatever json, safetensors, pickle, torch or the Hub raise
        where = f"{name} with {pretrained}" if pretrained else name.removeprefix("local-dir:")
        raise ConfigError(f"{setting}: cannot load {where} ({brief(error)}); fetch or make its files again") from None
    return model.eval().requires_grad_(False), tokenizer


def _side(size: int | Sequence[int]) -> int:
    """open_clip gives the image size as a number or as (height, width)."""
    if isinstance(size, int):
        return size
    if len(set(size)) != 1:
        raise ConfigError(f"model: takes images of {tuple(size)}; only square ones are supported")
    return size[0]


def local_folder(name: str, setting: str, fetched: Sequence[str]) -> str:
    """A folder by its path or `package:` path, or that of a Hub id in the cache with the files that are `fetched`.

    Given a folder, `from_pretrained` asks the Hub nothing: given an id, it asks for a dozen files, and without a
    network it tries each again and again. ConfigError if there is no folder.
    """
    if is_hub_id(name):
        return str(hub_folder(name, fetched))
    path = Path(resolve(name))
    if not path.is_dir():
        raise ConfigError(f"{setting}: no folder at {path}; download it or correct the path")
    return str(path)


def from_pretrained(kind: Any, folder: str, setting: str, **options: Any) -> Any:
    """Whatever the `from_pretrained` of a class of transformers returns; ConfigError with a remedy when it fails."""
    from transformers.utils import logging

    logging.disable_progress_bar()
    try:
        return kind.from_pretrained(folder, **options)
    except Exception as error:  # transformers passes on whatever json, safetensors, torch or the Hub raise
        raise ConfigError(f"{setting}: cannot load {folder} ({brief(error)}); fetch its files again") from None


def check_vocabulary(tokenizer: Any, size: int, setting: str, name: str) -> None:
    """ConfigError unless a tokenizer has as many tokens as the model; transformers makes an empty one of a folder
    without a tokenizer."""
    if len(tokenizer) != size:
        raise ConfigError(
            f"{setting}: {name} has {len(tokenizer)} tokens, the model {size}; download the model's "
            "tokenizer and give the path of its folder"
        )


def read_tensors(path: str, setting: str) -> dict[str, Tensor]:
    """The tensors of a `.safetensors` or torch file (a path or reference), on the CPU; no pickled code runs.

    ConfigError naming the setting when the file is missing, truncated, or contains anything else.
    """
    file = Path(checked(path))
    if not file.is_file():
        raise ConfigError(f"{setting}: no file at {file}; download it or correct the path")
    try:
        state = load_file(file) if file.suffix == ".safetensors" else torch.load(file, "cpu", weights_only=True)
    except Exception as error:  # torch.load raises nearly anything on a corrupt file
        raise ConfigError(f"{setting}: cannot read {file} ({brief(error)}); fetch or make it again") from None
    if not isinstance(state, dict) or not all(isinstance(value, Tensor) for value in state.values()):
        raise ConfigError(f"{setting}: {file} does not contain a dictionary of tensors")
    return state


def check_sha256(path: str | Path, expected: str) -> None:
    """ConfigError unless the file exists and hashes to `expected` (64 hexadecimal digits)."""
    file = Path(resolve(str(path)))
    if not file.is_file():
        raise ConfigError(f"no file at {file}; download it or correct the path")
    found = digest(file)
    if found != expected.strip().lower():
        raise ConfigError(f"{file} has sha256 {found}, expected {expected}; download it again or correct the sha256")


def brief(error: Exception, limit: int = 200) -> str:
    """An error in one line: its class and the start of its message."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text[:limit]}{'...' if len(text) > limit else ''}"
