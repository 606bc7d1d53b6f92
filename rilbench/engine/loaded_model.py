"""The model in memory, loaded on first use, with the pairs of a stage."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import MemoryFullError, is_out_of_memory, reason
from rilbench.contracts.pair import LoraPair
from rilbench.engine.budget import available
from rilbench.engine.components import Components
from rilbench.engine.config import RunConfig
from rilbench.engine.planned import Chain, PlannedStage
from rilbench.engine.progress import Reporter
from rilbench.evaluation.evaluate import LOADED, Origin
from rilbench.files.loras import loras_of
from rilbench.files.prompts import evaluation_prompts, read_prompts
from rilbench.model.adapters import AdapterGroup
from rilbench.model.attach import adapter_group
from rilbench.model.files import load_pair
from rilbench.model.loading import pipeline_folder
from rilbench.model.text_to_image import TextToImage
from rilbench.store.layout import StageFiles, Store


class LoadedModel:
    """The model of a run, and what its stages share."""

    setting = "evaluate.prompts"  # that says what is measured

    def __init__(
        self, config: RunConfig, components: Components, plan: Sequence[PlannedStage], reporter: Reporter
    ) -> None:
        self.config, self.components, self.plan, self.reporter = config, components, plan, reporter
        self.store = Store(Path(config.store))
        self.prompts = evaluation_prompts(config.evaluate.prompts)
        self._remarked = False

    @cached_property
    def model(self) -> TextToImage:
        self.reporter.say("loading the model")
        config, device = self.config.model, self.components.device
        files = [pipeline_folder(config), *(path for lora in loras_of(config.lora) for path in lora.paths)]
        if self.config.check_memory and not available.is_small(config, files, 1, device):
            from rilbench.engine.budget.weights import check_weights

            check_weights(config, device)
        with self.enough_memory("loading the model", available.elsewhere(config)):
            model = TextToImage.load(config)
        self._remark_prompts(model)
        return model

    @cached_property
    def group(self) -> AdapterGroup:
        kept = self.components.parts.kept
        return adapter_group(
            self.model.network, targets=self.config.adapter.targets, earlier=kept.targets if kept else ()
        )

    @property
    def prompts_file(self) -> str:
        """Where the prompts come from."""
        return self.config.evaluate.prompts

    @property
    def columns(self) -> list[str]:
        """What is measured."""
        return self.components.parts.columns()

    @property
    def evaluation_document(self) -> dict[str, Any]:
        """What determines the numbers of an evaluation."""
        return self.components.parts.evaluation_document

    @property
    def images(self) -> int:
        """How many images an evaluation generates."""
        return len(self.prompts) * self.config.evaluate.images_per_prompt

    @property
    def most_images(self) -> int:
        """The same of the evaluation that generates most."""
        evaluate = self.config.evaluate
        return max(len(self.prompts), evaluate.train_prompts) * evaluate.images_per_prompt

    @property
    def captions(self) -> list[str]:
        """Of the sample images."""
        return [prompt.label for prompt in self.prompts[: self.config.evaluate.pictures]]

    def files(self, planned: PlannedStage) -> StageFiles:
        """The files of a stage in the store."""
        return self.store.stage(planned.id)

    def load(self, chain: Chain) -> None:
        """Make the model W + sum c_i A_i B_i."""
        self.group.load_chain(self.pairs(chain))

    def pairs(self, chain: Chain) -> list[tuple[LoraPair, float]]:
        """The pairs of a chain with their coefficients, from the store."""
        return [(load_pair(self.store.stage(key).folder, self.model.device), c) for key, c in chain]

    def origin(self, planned: PlannedStage) -> Origin:
        """The model after a stage, as messages name it."""
        if planned is self.plan[0]:
            return LOADED
        return Origin.of(f"stage {planned.index} ({planned.stage.label})", trained=bool(planned.chain))

    @contextmanager
    def enough_memory(self, where: str, remedy: str) -> Iterator[None]:
        """Within, running out of memory raises MemoryFullError with a remedy."""
        try:
            yield
        except MemoryFullError:
            raise
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            full = f"{self.components.device} ran out of memory {where}"
            raise MemoryFullError(f"{full}. Finished work is kept; {remedy}. ({reason(error)[:200]})") from error

    def _remark_prompts(self, model: TextToImage) -> None:
        """Warn once about prompts that the model cannot read in full."""
        if self._remarked:
            return
        self._remarked = True
        files = {planned.train.prompts: "train.prompts" for planned in self.plan if planned.train}
        for path, setting in (*files.items(), (self.config.evaluate.prompts, "evaluate.prompts")):
            for text in model.remarks(read_prompts(path), f"{setting} ({path})"):
                self.reporter.warn(text)
