"""How strongly RID's distillation pulls beside the reward: both gradient norms at the first updates of a stage.

    python benchmarks/influence.py --updates 40                                     # a whole stage of `shapes`
    python benchmarks/influence.py --model sd15 model.resolution=256 model.steps=2 model.precision=fp32 model.device=cpu

The stage is the first of `rid` on the reward, with the settings of configs/shapes.yaml or, with random weights of the
published sizes, of configs/sd15.yaml. At update 1 the teacher is the student. Prints a line of JSON per update and one
with the medians.
"""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import torch
import typer
from fullsize import build
from step import PROMPT, Bench

from rilbench.contracts.prompt import Prompt
from rilbench.contracts.strategy import Stage
from rilbench.engine.config import load
from rilbench.files.prompts import read_prompts
from rilbench.training.stage import StageTraining
from rilbench.training.summary import summarised


def main(
    settings: Annotated[list[str] | None, typer.Argument(help="Settings of a run as key=value")] = None,
    model: Annotated[str, typer.Option(help="shapes, or with random weights sd15, sdxl or tiny")] = "shapes",
    reward: str = "hps",
    updates: int = 6,
    batch: Annotated[int, typer.Option(help="Images per update [default: train.batch_size]")] = 0,
    folder: Annotated[Path, typer.Option(help="Folder of the random weights")] = Path("build/fullsize"),
) -> None:
    """Train the first updates and print the gradient norms of the terms."""
    random = [] if model == "shapes" else build(model, folder, reward)
    config = load("sd15" if random else "shapes", [*random, *(settings or ())])
    train = config.train_for(("rid", "rid"), [reward])
    size = batch or train.batch_size
    train = replace(train, batch_size=size, samples=updates * size, micro_batch=1, log_gradients_every=1)
    bench = Bench(config, reward)
    bench.group.load_chain([])

    def show(number: int, total: int, values: object) -> None:
        typer.echo(json.dumps({"measure": "update"} | dict(training.log[-1])))

    training = StageTraining(
        model=bench.model,
        group=bench.group,
        strategy=bench.components.strategy("rid"),
        stage=Stage(rewards={reward: 1.0}),
        index=1,
        reward=bench.reward,
        config=train,
        prompts=[Prompt(PROMPT)] if random else read_prompts(train.prompts),
        rank=config.adapter.rank,
        init=config.adapter.init,
        seed=0,
        checkpoint=Path("unused"),
        on_update=show,
    )
    training.run()
    about = {"model": model, "reward": reward, "settings": settings or [], "updates": updates, "batch": size}
    about |= {"rid": dict(config.strategy_settings.get("rid", {})), "reward_scale": train.reward_scale, "lr": train.lr}
    about |= {"device": bench.model.device, "threads": torch.get_num_threads()}
    typer.echo(json.dumps({"measure": "medians"} | about | summarised(training.log, train)))


if __name__ == "__main__":
    typer.run(main)
