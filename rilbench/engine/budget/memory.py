"""How much memory a training step keeps for its backward pass, counted in one forward of one image.

The forward runs with a hook that sees every tensor autograd would save and drops it, so counting needs no more memory
than a forward without gradient.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef

from rilbench.contracts.components import Metric, Reward
from rilbench.contracts.pair import LoraPair
from rilbench.host.guard import blamed
from rilbench.model.adapters import AdapterGroup
from rilbench.model.backbones.base import DTYPES
from rilbench.model.config import ModelConfig
from rilbench.model.randomness import generator_for
from rilbench.model.text_to_image import TextToImage

SLACK = 1.15  # the backward pass's own tensors, over what was saved
LIVE = 4  # tensors of the largest size that a forward without gradient holds at a time


@dataclass(frozen=True)
class Memory:
    """Bytes. Activations are those of one image."""

    weights: int  # of the model, the rewards, the metrics and the adapters
    folding: int  # what the adapters will add
    condition: int  # of one prompt; the model keeps them all
    plain: int  # kept for the backward pass of denoiser and decoder
    checkpointed: int  # the same with gradient checkpointing: inputs of its blocks, and the largest block
    casts: int  # weights of a denoiser in half precision that are kept in float32 for the backward pass, in all
    checkpointed_casts: int  # the same with gradient checkpointing, of the block that has most
    rewards: Mapping[str, int]  # kept for each reward's
    denoising: int  # the largest tensor of the denoiser, with guidance
    decoding: int  # the largest tensor of the decoder
    scoring: int  # the largest tensor of a reward

    def standing(self, prompts: int) -> int:
        """What stays in memory, in addition to the weights, during a run with this number of prompts."""
        return self.folding + prompts * self.condition

    def training(self, images: int, rewards: Iterable[str], *, checkpointing: bool) -> int:
        """What a step on this number of images needs in addition to weights and what stays."""
        model, casts = (self.checkpointed, self.checkpointed_casts) if checkpointing else (self.plain, self.casts)
        return casts + int(SLACK * images * (model + sum(self.rewards[name] for name in rewards)))

    def evaluation(self, images: int, *, slicing: bool) -> int:
        """What generating and scoring this number of images without gradient needs in addition to weights and what
        stays."""
        decoding = self.decoding * (1 if slicing else images)
        return LIVE * max(images * self.denoising, decoding, images * self.scoring)


class _Counter:
    """Bytes of the tensors that autograd saves, each storage once, inside and outside of checkpointed regions."""

    def __init__(self, weights: Mapping[int, int]) -> None:
        self.weights = weights  # address to size of storages that are there anyway
        self.outside = self.inside = self.inputs = self.region = self.largest_region = self.largest = 0
        self.casts = self.casts_of_region = self.most_casts = 0
        self.depth = 0
        self._seen: dict[int, StorageWeakRef] = {}

    def saved(self, tensor: Tensor) -> None:
        size = self._new(tensor)
        self.largest = max(self.largest, size)
        if self.depth:
            self.inside += size
            self.region += size
            self.largest_region = max(self.largest_region, self.region)
        else:
            self.outside += size

    def cast(self, weight: Tensor) -> None:
        """Count a weight that was cast for this forward and is kept, however many images there are."""
        size = self._new(weight) if torch.is_grad_enabled() else 0
        self.casts += size
        self.casts_of_region += size
        self.most_casts = max(self.most_casts, self.casts_of_region)

    def checkpoint(self, function: Callable[..., Any], *inputs: Any) -> Any:
        """Replaces torch's checkpointing: counts what it would keep and what it would recompute."""
        if not self.depth:
            self.region = self.casts_of_region = 0
            self.inputs += sum(t.untyped_storage().nbytes() for t in inputs if isinstance(t, Tensor))
        self.depth += 1
        try:
            return function(*inputs)
        finally:
            self.depth -= 1

    def take_largest(self) -> int:
        """`largest` since the last call, which resets it."""
        taken, self.largest = self.largest, 0
        return taken

    def _new(self, tensor: Tensor) -> int:
        """The size of its storage, or 0 for a weight or a counted one; a later storage may have the address of an
        earlier one."""
        storage = tensor.untyped_storage()
        address = storage.data_ptr()
        if address in self.weights or (address in self._seen and not self._seen[address].expired()):  # type: ignore[no-untyped-call]
            return 0
        self._seen[address] = StorageWeakRef(storage)  # type: ignore[no-untyped-call]
        return storage.nbytes()


def count(
    model: TextToImage,
    group: AdapterGroup,
    rewards: Mapping[str, Reward],
    metrics: Iterable[Metric] = (),
    *,
    prompt: str,
    last_steps: int,
) -> Memory:
    """Count what one image needs: the last steps, the decoder, each reward. The group has no pairs afterwards."""
    backbone = model.backbone
    weights = dict(_storages([*backbone.parts, group.base, group.frozen, *rewards.values(), *metrics]))
    counter = _Counter(weights)
    pair = LoraPair.initialised(group.layers, rank=1, init="paper", generator=generator_for("memory"))
    channels = backbone.channels * model.sampler.maps(last_steps)
    z = torch.zeros(1, channels, *model.latent_shape[1:], device=model.device)
    group.start(pair.trainable())
    backbone.checkpoint(counter.checkpoint)
    backbone.exact.seen = counter.cast
    try:
        with torch.autograd.graph.saved_tensors_hooks(counter.saved, _never):
            z_0 = model.finish(z, [prompt], last_steps=last_steps)
            denoising = counter.take_largest()
            images = model.decode(z_0)
            decoding = counter.take_largest()
            outside, of_rewards = counter.outside, {}
            for name, reward in rewards.items():
                counter.outside = 0
                with blamed(f"reward {name!r}"):
                    reward(images, [prompt])
                of_rewards[name] = counter.outside
    finally:
        backbone.checkpoint(None)
        backbone.exact.seen = None
        group.load_chain([])
    one_branch = backbone.guided and not model.config.guidance_gradient  # both run at once without gradient
    return Memory(
        weights=sum(weights.values()),
        folding=group.folding_bytes,
        condition=sum(value.nbytes for value in model.encode([prompt]).values()),
        plain=outside + counter.inside,
        checkpointed=outside + counter.inputs + counter.largest_region,
        casts=counter.casts,
        checkpointed_casts=counter.most_casts,
        rewards=of_rewards,
        denoising=denoising * (2 if one_branch else 1),
        decoding=decoding,
        scoring=counter.take_largest(),
    )


def under(model: TextToImage, config: ModelConfig) -> TextToImage:
    """The loaded model with other settings of gradient and precision, to count its memory."""
    backbone = copy.copy(model.backbone)
    backbone.config = config
    if config.vae_precision != model.config.vae_precision:
        backbone.vae = nn.Module.to(copy.deepcopy(model.vae), DTYPES[config.vae_precision])
        backbone.parts = [backbone.vae if part is model.vae else part for part in backbone.parts]
    return TextToImage(backbone)


def _storages(value: Any, depth: int = 4) -> Iterator[tuple[int, int]]:
    """Address and size of the tensors in modules, containers and plain objects."""
    if isinstance(value, Tensor):
        yield value.untyped_storage().data_ptr(), value.untyped_storage().nbytes()
    elif isinstance(value, nn.Module):
        for tensor in (*value.parameters(), *value.buffers()):
            yield from _storages(tensor)
    elif depth:
        inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
        for part in (*inside, *getattr(value, "__dict__", {}).values()):
            yield from _storages(part, depth - 1)


def _never(_: None) -> Tensor:
    raise AssertionError("nothing is differentiated while counting")
