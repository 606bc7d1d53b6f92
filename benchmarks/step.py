"""What a training step costs, on `shapes` or on a full-size model with random weights:

    python benchmarks/step.py --reward aesthetic --rounds 20
    python benchmarks/step.py --model sd15 --batches 1 model.steps=2                   # CPU: one or two denoising steps
    python benchmarks/step.py --model sdxl --batches 1,4 --compile                     # GPU
    python benchmarks/step.py --model sd15 --kinds rid@1 model.vae_precision=fp32      # any settings of a run

A kind of step is STRATEGY@STAGE, an update with `stage - 1` frozen pairs below; `floor`, the minimum of any
strategy: the denoiser's forward passes, one backward pass, one decode, one reward; or `forwards`, the denoiser alone.

Prints lines of JSON, the most valuable kind first. The kinds take turns, and `seconds` is the mean of the fastest third
of a kind's steps, because other work on the machine only ever adds time. `peak_gb` is the most memory while a kind ran:
of the process on a CPU (if the system reports it, as Linux does), of the allocator with CUDA. `counted_gb` is the
estimate of a run before it starts: the weights, and the memory a step needs in addition. A kind that fails is a line
with its error.
"""

from __future__ import annotations

import gc
import itertools
import json
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from fullsize import build

from rilbench.contracts.errors import reason
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.prompt import Prompt
from rilbench.contracts.strategy import Stage
from rilbench.engine.budget.memory import count
from rilbench.engine.components import Components
from rilbench.engine.config import RunConfig, load
from rilbench.engine.parts import Parts
from rilbench.host.catalog import Catalog
from rilbench.model.attach import adapter_group
from rilbench.model.loading import pick_device
from rilbench.model.randomness import generator_for
from rilbench.model.text_to_image import TextToImage
from rilbench.training.optimiser import make_optimiser
from rilbench.training.stage import StageTraining
from rilbench.training.step import WeightedReward

PROMPT = "a large red circle in the middle on a white background"
KINDS = "floor,baseline@1,rid@1,rid@8,baseline@8"
MEMORY, RESET = Path("/proc/self/status"), Path("/proc/self/clear_refs")
Kind = tuple[Callable[[], None], Callable[[], None]]


def main(
    settings: Annotated[list[str] | None, typer.Argument(help="Settings of a run as key=value")] = None,
    model: Annotated[str, typer.Option(help="shapes, or with random weights sd15, sdxl or tiny")] = "shapes",
    reward: str = "hps",
    kinds: Annotated[str, typer.Option(help="Kinds of step")] = KINDS,
    batches: Annotated[str, typer.Option(help="Images per step [default: train.batch_size]")] = "",
    rounds: Annotated[
        int, typer.Option(help="Timed steps of each kind after one warm-up step; 0: time the warm-up step")
    ] = 2,
    compile: Annotated[bool, typer.Option("--compile", help="torch.compile the denoiser")] = False,
    folder: Annotated[Path, typer.Option(help="Folder of the random weights")] = Path("build/fullsize"),
) -> None:
    """Print a line of JSON per kind and batch, and their ratios."""
    changes = ["train.samples=1000000", "train.log_gradients_every=1000000", *(settings or ())]
    random = [] if model == "shapes" else build(model, folder, reward)
    config = load("sd15" if random else "shapes", [*random, *changes])
    bench = Bench(config, reward)
    if compile:
        torch._functorch.config.donated_buffer = False  # gradient norms by term differentiate a graph twice
        bench.model.network.compile()
    about: dict[str, Any] = {"model": model, "reward": reward, "compiled": compile, "settings": settings or []}
    about |= {"device": bench.model.device, "threads": torch.get_num_threads()}
    about["parameters"] = sum(p.numel() for p in bench.model.network.parameters())
    typer.echo(json.dumps({"measure": "model"} | about))
    for batch in map(int, batches.split(",") if batches else [config.train.batch_size]):
        bench.config = replace(config, train=replace(config.train, batch_size=batch))
        about = {"batch": batch, "compiled": compile}
        typer.echo(json.dumps({"measure": "counted"} | about | {"counted_gb": counted(bench)}))
        seconds: dict[str, float] = {}
        for kind, found in measured(bench, kinds.split(","), rounds):
            if taken := found.get("seconds"):
                seconds[kind] = taken
                found["images_per_second"] = round(batch / taken, 3)
            typer.echo(json.dumps({"measure": "step", "kind": kind} | about | found))
        typer.echo(json.dumps({"measure": "ratios"} | about | ratios(seconds)))


class Bench:
    """One model for all kinds of step, because two copies in memory differ in speed by several percent."""

    def __init__(self, config: RunConfig, reward: str) -> None:
        self.config, self.name = config, reward
        self.components = Components(Parts(config, Catalog()), device=pick_device(config.model.device))
        self.model = TextToImage.load(config.model)
        self.group = adapter_group(self.model.network, targets=config.adapter.targets)
        self.reward = WeightedReward({reward: self.components.reward(reward)}, {reward: 1.0})

    def kind(self, name: str) -> Kind:
        """The preparation of a timed step, and the step."""
        if name in ("floor", "forwards"):
            return lambda: self.group.load_chain([]), getattr(self, name)
        strategy, _, stage = name.partition("@")
        return self.update(strategy, int(stage))

    def update(self, strategy: str, stage: int) -> Kind:
        """The next update of a stage."""
        below = [(self.random_pair(i), 1.0) for i in range(1, stage)]
        pair = self.random_pair(stage).trainable()
        job = StageTraining(
            model=self.model,
            group=self.group,
            strategy=self.components.strategy(strategy),
            stage=Stage(rewards={self.name: 1.0}),
            index=stage,
            reward=self.reward,
            config=self.config.train,
            prompts=[Prompt(PROMPT)],
            rank=self.config.adapter.rank,
            init=self.config.adapter.init,
            seed=0,
            checkpoint=Path("unused"),
        )
        job.strategy.begin(job.stage, pair)
        optimiser = make_optimiser(pair.factors, self.config.train)
        updates = itertools.count(1)  # the update 0 also measures the gradient of each term

        def prepare() -> None:
            self.group.load_chain(below)
            self.group.start(pair)

        def update() -> None:
            job.update(next(updates), pair, optimiser)

        return prepare, update

    def forwards(self) -> None:
        """The forward passes of one rollout only."""
        self.model.rollout(self.zeros(), self.prompts())

    def floor(self) -> None:
        """N forward passes, the last with gradient to its input, one decode, one reward, one backward; no adapters."""
        z = self.model.rollout(self.zeros(), self.prompts(), stop=1).requires_grad_()
        images = self.model.decode(self.model.finish(z, self.prompts(), last_steps=1))
        self.reward.each(images, self.prompts())[self.name].mean().backward()  # type: ignore[no-untyped-call]

    def zeros(self) -> torch.Tensor:
        """A batch of latents."""
        return torch.zeros(self.config.train.batch_size, *self.model.latent_shape)

    def prompts(self) -> list[str]:
        """Of a batch."""
        return [PROMPT] * self.config.train.batch_size

    def random_pair(self, index: int) -> LoraPair:
        """A small random pair."""
        generator = generator_for("benchmark", index)
        rank = self.config.adapter.rank
        pair = LoraPair.initialised(self.group.layers, rank=rank, init="paper", generator=generator)
        for factor in pair.factors:
            factor.copy_(0.01 * torch.randn(factor.shape, generator=generator))
        return pair


def counted(bench: Bench) -> list[float]:
    """Gigabytes by rilbench's own count: the weights, and in addition a training step on the batch."""
    train, rewards = bench.config.train, {bench.name: bench.components.reward(bench.name)}
    memory = count(bench.model, bench.group, rewards, prompt=PROMPT, last_steps=train.last_steps)
    images = min(train.micro_batch or train.batch_size, train.batch_size)
    step = memory.training(images, rewards, checkpointing=bench.config.model.gradient_checkpointing)
    return [round(memory.weights / 1e9, 2), round(step / 1e9, 2)]


def measured(bench: Bench, kinds: Sequence[str], rounds: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield each kind with its time and peak memory, or its error, as soon as it is measured."""
    cuda = str(bench.model.device).startswith("cuda")
    made, seconds, peaks = dict[str, Kind](), {kind: list[float]() for kind in kinds}, dict.fromkeys(kinds, 0.0)
    for turn in range(rounds + 1):
        for kind in list(seconds):
            try:
                prepare, step = made.get(kind) or made.setdefault(kind, bench.kind(kind))
                prepare()
                gc.collect()
                reset_peak(cuda)
                start = time.perf_counter()
                step()
                if cuda:
                    torch.cuda.synchronize()
                taken, peak = time.perf_counter() - start, peak_gb(cuda)
            except Exception as error:  # any error: continue with the next kind
                del seconds[kind]
                if cuda:
                    torch.cuda.empty_cache()  # the error may be out of memory
                yield kind, {"error": reason(error)[:300]}
                continue
            typer.echo(f"{kind}: {taken:.1f} s, {peak:.2f} GB", err=True)
            if turn or not rounds:
                seconds[kind].append(taken)
                peaks[kind] = max(peaks[kind], peak)
            if turn == rounds:
                fastest = sorted(seconds[kind])[: max(1, rounds // 3)]
                yield kind, {"seconds": round(statistics.mean(fastest), 4), "peak_gb": round(peaks[kind], 2)}


def reset_peak(cuda: bool) -> None:
    """Reset the peak of memory."""
    if cuda:
        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
    elif RESET.exists():
        RESET.write_text("5")


def peak_gb(cuda: bool) -> float:
    """Peak memory since `reset_peak`; NaN if the system does not report it."""
    if cuda:
        return torch.cuda.max_memory_allocated() / 1e9
    if not (MEMORY.exists() and RESET.exists()):
        return math.nan
    (line,) = [line for line in MEMORY.read_text().splitlines() if line.startswith("VmHWM:")]
    return 1024 * int(line.split()[1]) / 1e9


def ratios(seconds: dict[str, float]) -> dict[str, float]:
    """Every kind over the first, and every later stage over the first stage of its strategy."""
    first = next(iter(seconds), "")
    pairs = {(kind, first) for kind in seconds} | {(kind, f"{kind.partition('@')[0]}@1") for kind in seconds}
    pairs.add(("rid@1", "baseline@1"))
    return {
        f"{above} / {below}": round(seconds[above] / seconds[below], 3)
        for above, below in sorted(pairs)
        if above != below and above in seconds and below in seconds
    }


if __name__ == "__main__":
    typer.run(main)
