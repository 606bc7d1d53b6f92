"""Finished runs and their stages: tables, scores, images, pairs and pipelines."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rilbench.contracts.errors import ConfigError, UsageError
from rilbench.contracts.result import Row, RunResult
from rilbench.engine.progress import Reporter
from rilbench.host import global_state
from rilbench.host.catalog import Catalog
from rilbench.store.layout import EvaluationFiles, Store

if TYPE_CHECKING:
    import pandas as pd
    from PIL.Image import Image

    from rilbench.contracts.pair import LoraPair
    from rilbench.engine.saved import SavedRun


@dataclass(frozen=True, kw_only=True, repr=False)
class Run:
    """A finished run. `result` has its values, forgetting and the command that repeats it."""

    result: RunResult
    catalog: Catalog = field(compare=False)
    settings: Sequence[str] = field(default=(), compare=False)

    @property
    def name(self) -> str:
        """The name of its folder in the store."""
        return self.result.name

    @property
    def folder(self) -> Path:
        """Where it is. UsageError for a run that was read from a tracker and is not on this disk."""
        if self.result.folder is None:
            raise UsageError(f"{self.name} is not on this disk; load it from the store it was run in")
        return self.result.folder

    @property
    def stages(self) -> list[RunStage]:
        """Stage 0 is the untouched base model."""
        return [RunStage(run=self, number=number) for number in range(len(self.result.matrix.rows))]

    def stage(self, number: int) -> RunStage:
        """A stage by its number, from the end when negative: -1 is the last. UsageError if there is none."""
        stages = self.stages
        if not -len(stages) <= number < len(stages):
            listed = ", ".join(f"{stage.number} ({stage.label})" for stage in stages)
            raise UsageError(f"stage {number}: {self.name} has the stages {listed}")
        return stages[number]

    def table(self, *, forgetting: bool = False) -> pd.DataFrame:
        """Stages x metrics: the values, or their forgetting (Eq. 3), which is NaN where a table shows none."""
        from rilbench.analysis.table import long_table

        rows = long_table([self.result])
        wide = rows.pivot(index="stage", columns="metric", values="forgetting" if forgetting else "value")
        wide.columns = wide.columns.tolist()
        return wide.rename(index={stage.number: f"{stage.number} {stage.label}" for stage in self.stages})

    def __repr__(self) -> str:
        return f"Run({self.name!r}, {len(self.stages)} stages)"

    def _repr_html_(self) -> str:
        return f"<p>{self.name}</p>{self.table().to_html()}"

    @cached_property
    def _saved(self) -> SavedRun:
        from rilbench.engine.saved import open_run

        return open_run(str(self.folder), self.catalog, self.settings)


@dataclass(frozen=True, kw_only=True)
class RunStage:
    """The model after a stage of a finished run; 0 is the untouched base model."""

    run: Run
    number: int

    @property
    def _row(self) -> Row:
        return self.run.result.matrix.rows[self.number]

    @property
    def label(self) -> str:
        """What it was trained on, or `base`."""
        return self._row.label

    @property
    def rewards(self) -> tuple[str, ...]:
        """What it was trained on; none for the base model and for merges."""
        return self._row.rewards

    @property
    def values(self) -> Mapping[str, float]:
        """Metric to value, the mean over all images for metrics that score single ones."""
        return self._row.values

    @property
    def scores(self) -> pd.DataFrame:
        """Scores of single images: a row for each prompt and image, a column for each metric that scores images.

        Raises ConfigError if the prompts' file is gone or another one, DamagedError for damaged scores.
        """
        import pandas as pd

        from rilbench.evaluation.kept import AGAIN
        from rilbench.files.prompts import evaluation_prompts
        from rilbench.store.tensors import load_tensors

        found, config = load_tensors(self._evaluation.scores, AGAIN), self.run._saved.config.evaluate
        prompts = evaluation_prompts(config.prompts)
        if any(len(scores) != len(prompts) for scores in found.values()):
            raise ConfigError(f"evaluate.prompts: {config.prompts} is not what this run was measured on; restore it")
        labels = [prompt.label for prompt in prompts]
        rows = pd.MultiIndex.from_product([labels, range(config.images_per_prompt)], names=["prompt", "image"])
        return pd.DataFrame({name: scores.flatten().numpy() for name, scores in found.items()}, index=rows)

    def prompts(self, metric: str) -> pd.DataFrame:
        """A row for each prompt, the worst change first: its mean score of a metric, that of the base model, and the
        change, which is positive where the prompt became better. The index is the prompt's number.

        Raises UsageError for a metric that scores no single image, DamagedError for damaged scores.
        """
        import pandas as pd

        from rilbench.analysis.prompts import prompt_changes

        found = prompt_changes(self.run.result, self.number)
        if metric not in found:
            listed = ", ".join(found) or "none: the scores are not on this disk"
            raise UsageError(f"{metric!r} has no scores of single prompts; those that have: {listed}")
        return pd.DataFrame([vars(row) for row in found[metric]]).set_index("number")

    @property
    def images(self) -> list[Image]:
        """The kept pictures: the first image of each of the first `evaluate.pictures` prompts."""
        from rilbench.store.picture_files import opened

        pictures = []
        for _, file in self._evaluation.pictures():
            with opened(file) as image:
                pictures.append(image.convert("RGB"))
        return pictures

    @property
    def pairs(self) -> list[tuple[LoraPair, float]]:
        """The pairs, with coefficients, that make this model: W + sum c_i A_i B_i. Empty for the base model."""
        return self.run._saved.pairs(self.number)

    @property
    def pair(self) -> LoraPair | None:
        """The pair (A_t, B_t) that this stage added; None for the base model and for a merge of weight changes."""
        chain = self.run._saved.chain(self.number)
        own = bool(chain) and chain[-1][0] == self._row.stage_id
        return self.pairs[-1][0] if own else None

    def generate(
        self,
        prompts: str | Sequence[str],
        *,
        negative_prompt: str | None = None,
        images: int = 1,
        seed: int | None = None,
        quiet: bool = False,
    ) -> list[Image]:
        """`images` images of each prompt, prompt by prompt, as `rilbench generate` draws them.

        negative_prompt: of all prompts; None is that of the run, `model.negative_prompt`. seed: of the noise; None is
        that of evaluations, whose images come again with their prompts and number of images. Raises ConfigError if the
        base model is not the one the run was trained on.
        """
        from PIL.Image import fromarray

        from rilbench.api.drawing import draw
        from rilbench.contracts.prompt import Prompt

        saved = self.run._saved.avoiding(negative_prompt)
        evaluate = saved.config.evaluate
        config = replace(evaluate, seed=evaluate.seed if seed is None else seed, images_per_prompt=images)
        wanted = [Prompt(text) for text in ([prompts] if isinstance(prompts, str) else prompts)]
        with usual_modes():
            drawn = draw(saved, wanted, stages=[self.number], config=config, reporter=Reporter(quiet=quiet))
            return [fromarray(pixels.permute(1, 2, 0).numpy()) for _, pixels in drawn]

    def pipeline(self) -> Any:
        """A diffusers pipeline with the pairs up to this stage in its weights and the run's scheduler.

        With the run's `model.steps`, `model.guidance` and `model.negative_prompt` it samples as rilbench does. Raises
        ConfigError if the base model is not the one the run was trained on.
        """
        from rilbench.api.drawing import StageModel

        with usual_modes():
            model = StageModel(self.run._saved, Reporter(quiet=True)).after(self.number)
        pipeline = model.backbone.pipeline
        pipeline.scheduler = model.sampler.scheduler
        return pipeline

    @property
    def _evaluation(self) -> EvaluationFiles:
        return Store(self.run.folder.parent).evaluation(self._row.evaluation)


@contextmanager
def usual_modes() -> Iterator[None]:
    """Within, torch's modes are its initial ones, whatever a notebook has set; at the end they are the notebook's."""
    if "torch" not in sys.modules:
        yield
        return
    import torch

    watched = global_state.modes()
    with torch.inference_mode(False), global_state.restored(watched):
        global_state.restore(watched, global_state.defaults())
        yield
