"""`python -m rilbench_shapes train`: make the embedded weights again, from nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

app = typer.Typer(help="The recipe of the embedded benchmark.", no_args_is_help=True, pretty_exceptions_enable=False)
Out = Annotated[Path, typer.Option(help="Folder for weights, checkpoints and the model card")]


@app.command()
def train(out: Out = Path("recipe"), seed: int = 0) -> None:
    """Train everything (about two hours on two CPU cores). A stopped training continues from its checkpoints."""
    from rilbench_shapes.recipe import aesthetic, clip, diffusion, hps, reference, vae

    out.mkdir(parents=True, exist_ok=True)
    autoencoder = vae.train(out, seed=seed)
    diffusion.train(out, autoencoder, seed=seed)
    encoder = clip.train(out, seed=seed)
    aesthetic.train(out, encoder, seed=seed)
    hps.train(out, encoder, seed=seed)
    reference.save_statistics(out, encoder, seed=seed)
    reference.save_prompts(out / "prompts", seed=seed)
    card(out)


@app.command()
def card(out: Out = Path("recipe")) -> None:
    """Measure trained weights on held-out data and write the model card."""
    from rilbench_shapes.recipe import measure

    typer.echo(measure.measure(out))


if __name__ == "__main__":
    app()
