"""Images of a run's stages, with the noise that an evaluation gives them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from torch import Tensor

from rilbench.contracts.prompt import Prompt
from rilbench.engine.progress import Reporter
from rilbench.engine.saved import SavedRun
from rilbench.evaluation.config import EvaluateConfig
from rilbench.evaluation.evaluate import Origin, batches, generate, to_pixels
from rilbench.model.attach import adapter_group
from rilbench.model.text_to_image import TextToImage


class StageModel:
    """The run's base model, loaded once, which becomes the model after any of its stages.

    ConfigError if the model at `model.path` is not the one the run was trained on.
    """

    def __init__(self, run: SavedRun, reporter: Reporter) -> None:
        run.check_base()
        reporter.say("loading the model")
        self.run, self.model = run, TextToImage.load(run.config.model)
        self._group = adapter_group(self.model.network, targets=run.targets(len(run.rows) - 1))

    def after(self, stage: int) -> TextToImage:
        """The model with the pairs up to a stage in its weights; the same object for every stage."""
        self._group.load_chain(self.run.pairs(stage, self.model.device))
        return self.model


def draw(
    run: SavedRun, prompts: Sequence[Prompt], *, stages: Sequence[int], config: EvaluateConfig, reporter: Reporter
) -> Iterator[tuple[int, Tensor]]:
    """The stage and the pixels (3, H, W) uint8 of `config.images_per_prompt` images of each prompt at each stage.

    An image is a function of stage, `config.seed`, prompt and its number, up to the rounding of another batch; with
    the prompts, number of images and batch size of an evaluation it is that evaluation's, bit for bit.
    """
    loaded = StageModel(run, reporter)
    for text in loaded.model.remarks(prompts, "prompts"):
        reporter.warn(text)
    total, done = len(stages) * len(prompts) * config.images_per_prompt, 0
    with reporter.work("generating", "image") as advance:
        for stage in stages:
            model = loaded.after(stage)
            for of_batch, noise in batches(model, prompts, config):
                images = generate(model, of_batch, noise, Origin.of(f"stage {stage}", trained=stage > 0))
                yield from ((stage, pixels) for pixels in to_pixels(images))
                done += len(of_batch)
                advance(done, total)
