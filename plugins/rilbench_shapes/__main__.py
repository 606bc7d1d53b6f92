"""`python -m rilbench_shapes`: train the embedded weights from scratch and measure them on held-out data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

DIFFUSERS = "diffusion_pytorch_model.safetensors"  # weights in a folder of diffusers


def train(out: Annotated[Path, typer.Option(help="Folder for the weights")] = Path("recipe"), seed: int = 0) -> None:
    """Train the models of the embedded benchmark (about two hours on two CPU cores) and measure them.

    A part whose file is in the folder is kept, so an interrupted training resumes, and a deleted part is made again.
    """
    from rilbench_shapes.recipe import measure

    out.mkdir(parents=True, exist_ok=True)
    for files, make in parts(out, seed):
        if not any((out / file).exists() for file in files):
            make()
    typer.echo(measure.measure(out))


def parts(out: Path, seed: int) -> list[tuple[tuple[str, ...], Callable[[], object]]]:
    """Each part, after those it needs: the file that it writes last, where it may be, and how it is made."""
    from rilbench_shapes import rules
    from rilbench_shapes.recipe import aesthetic, clip, diffusion, hps, probe, reference, vae
    from rilbench_shapes.recipe.measure import load_clip

    def heads(name: str) -> Callable[[], object]:
        return lambda: aesthetic.train(out, load_clip(out / "clip"), name=name, seed=seed)

    return [
        ((f"vae/{DIFFUSERS}", f"pipeline/vae/{DIFFUSERS}"), lambda: vae.train(out, seed=seed)),
        (("pipeline/captions.json",), lambda: diffusion.train(out, vae.load(out), seed=seed)),
        (("clip/tokenizer.json",), lambda: clip.train(out, seed=seed)),
        *(((f"{name}.safetensors",), heads(name)) for name in rules.RATINGS),
        (("hps/tokenizer.json",), lambda: hps.train(out, load_clip(out / "clip"), seed=seed)),
        (("probe.safetensors",), lambda: probe.train(out, vae.load(out), seed=seed)),
        (("fid.safetensors",), lambda: reference.save_statistics(out, seed=seed)),
        (("prompts/validate.txt",), lambda: reference.save_prompts(out / "prompts", seed=seed)),
    ]


if __name__ == "__main__":
    typer.run(train)
