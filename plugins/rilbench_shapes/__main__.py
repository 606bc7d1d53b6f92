"""`python -m rilbench_shapes`: train the embedded weights from scratch and measure them on held-out data."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def train(out: Annotated[Path, typer.Option(help="Folder for the weights")] = Path("recipe"), seed: int = 0) -> None:
    """Train the models of the embedded benchmark (about two hours on two CPU cores) and measure them."""
    from rilbench_shapes.recipe import aesthetic, clip, diffusion, hps, measure, reference, vae

    out.mkdir(parents=True, exist_ok=True)
    diffusion.train(out, vae.train(out, seed=seed), seed=seed)
    encoder = clip.train(out, seed=seed)
    aesthetic.train(out, encoder, seed=seed)
    hps.train(out, encoder, seed=seed)
    reference.save_statistics(out, encoder, seed=seed)
    reference.save_prompts(out / "prompts", seed=seed)
    typer.echo(measure.measure(out))


if __name__ == "__main__":
    typer.run(train)
