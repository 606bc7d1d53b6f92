"""What a training step costs, as ratios measured in one run:

    python benchmarks/step.py

* over_unet: a step over the bare UNet forwards it cannot do without (N of them, guidance included);
* rid_over_baseline: a RID step over a baseline step of the same batch (N = 20);
* stage_n_over_1: a step with n - 1 frozen pairs below over a step with none.

Steps of the things compared alternate in shuffled rounds. Other work on the machine only ever adds time, so a kind's
time is the mean of its fastest third.
"""

from __future__ import annotations

import itertools
import json
import random
import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import torch
import typer

from rilbench.contracts.pair import LoraPair
from rilbench.contracts.strategy import Stage
from rilbench.engine.components import Components
from rilbench.engine.config import RunConfig, load
from rilbench.engine.parts import Parts
from rilbench.host.catalog import Catalog
from rilbench.model.adapters import AdapterGroup
from rilbench.model.attach import adapter_group
from rilbench.model.loading import pick_device
from rilbench.model.randomness import generator_for
from rilbench.model.text_to_image import TextToImage
from rilbench.training.stage import StageTraining, make_optimiser
from rilbench.training.step import WeightedReward

STAGES = (1, 4, 8)
PROMPT = "a large red circle in the middle on a white background"
Kind = tuple[Callable[[], None], Callable[[], None]]


def main(
    steps: Annotated[int, typer.Option(help="N, denoising steps")] = 20,
    repeats: Annotated[int, typer.Option(help="Timed steps of each kind")] = 15,
    reward: str = "aesthetic",
    config: str = "shapes",
) -> None:
    """Print the ratios as JSON."""
    loaded = load(config, [f"model.steps={steps}", "train.samples=80000", "train.checkpoint_every=100000"])
    bench = Bench(loaded, reward)
    kinds = {f"{s}@{n}": bench.step(s, n) for s in ("baseline", "rid") for n in STAGES} | {"unet": bench.forwards()}
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    for _ in range(repeats + 1):
        for kind, (prepare, step) in random.sample(sorted(kinds.items()), len(kinds)):
            prepare()
            start = time.perf_counter()
            step()
            times[kind].append(time.perf_counter() - start)
    fast = {kind: statistics.mean(sorted(values[1:])[: max(1, repeats // 3)]) for kind, values in times.items()}

    def ratio(a: str, b: str) -> float:
        return round(fast[a] / fast[b], 3)

    result = {
        "steps": steps,
        "batch_size": loaded.train.batch_size,
        "threads": torch.get_num_threads(),
        "seconds": {kind: round(value, 4) for kind, value in fast.items()},
        "over_unet": {s: ratio(f"{s}@1", "unet") for s in ("baseline", "rid")},
        "rid_over_baseline": ratio("rid@1", "baseline@1"),
        "stage_n_over_1": {s: {n: ratio(f"{s}@{n}", f"{s}@1") for n in STAGES} for s in ("baseline", "rid")},
    }
    typer.echo(json.dumps(result, indent=1))


class Bench:
    """One model for all kinds of step: two copies in memory alone differ in speed by several percent."""

    def __init__(self, config: RunConfig, reward: str) -> None:
        self.config, self.name = config, reward
        self.components = Components(Parts(config, Catalog()), device=pick_device(config.model.device))
        self.model = TextToImage.load(config.model)
        self.group = adapter_group(self.model.network, targets=config.adapter.targets)

    def step(self, strategy: str, stage: int) -> Kind:
        """What comes before a timed step, and the step: the next update with `stage - 1` frozen pairs below."""
        below = [(random_pair(self.group, self.config, i), 1.0) for i in range(1, stage)]
        pair = random_pair(self.group, self.config, stage).trainable()
        job = StageTraining(
            model=self.model,
            group=self.group,
            strategy=self.components.strategy(strategy),
            stage=Stage(rewards={self.name: 1.0}),
            index=stage,
            reward=WeightedReward({self.name: self.components.reward(self.name)}, {self.name: 1.0}),
            config=self.config.train,
            prompts=[PROMPT],
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

    def forwards(self) -> Kind:
        """The bare UNet forwards of one rollout, without any pair."""
        z = torch.zeros(self.config.train.batch_size, *self.model.latent_shape)

        def rollout() -> None:
            self.model.rollout(z, [PROMPT] * len(z))

        return lambda: self.group.load_chain([]), rollout


def random_pair(group: AdapterGroup, config: RunConfig, index: int) -> LoraPair:
    """A small random pair."""
    generator = generator_for("benchmark", index)
    pair = LoraPair.initialised(group.layers, rank=config.adapter.rank, init="paper", generator=generator)
    for factor in pair.factors:
        factor.copy_(0.01 * torch.randn(factor.shape, generator=generator))
    return pair


if __name__ == "__main__":
    typer.run(main)
