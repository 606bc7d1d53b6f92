"""A stage's model as a folder of its own: weights in a format of the outer world, a card, the settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from rilbench import secret_settings
from rilbench.config import RunConfig, to_yaml
from rilbench.errors import RilbenchError, UsageError
from rilbench.model.adapters import LoraPair
from rilbench.prompts import evaluation_prompts
from rilbench.release import lora, merged
from rilbench.release.card import KINDS, model_card
from rilbench.release.models import hub_id, prefix_of
from rilbench.release.runs import SavedRun
from rilbench.report.grid import save_grid
from rilbench.store import in_the_way, share, write_json, write_text

MARK = "rilbench.json"  # of a folder that an export made, which the next export may replace


@dataclass(frozen=True, kw_only=True)
class Export:
    """The model after `stage` as `kind`: diffusers, peft or merged. `license` is the base model's, for the card."""

    run: SavedRun
    stage: int
    kind: str
    license: str | None = None

    def __post_init__(self) -> None:
        if self.stage == 0 and self.kind != "merged":
            raise UsageError(
                f"--stage 0 is the untouched base model: it has no pair, so there is no LoRA to write as {self.kind}. "
                "Export a later stage, or the base itself with --format merged"
            )
        assert self.kind in KINDS

    @property
    def public(self) -> RunConfig:
        """The run's configuration as strangers may see it."""
        return secret_settings.public(self.run.config, self.run.catalog)

    @property
    def name(self) -> str:
        """Of the folder and of what is in it."""
        return f"{self.run.result.name}-stage{self.stage}"

    def write(self, folder: Path) -> None:
        """Write everything; a folder that holds anything but an earlier export is a UsageError."""
        if in_the_way(folder, MARK):
            raise UsageError(f"{folder} exists and is no earlier export; choose another --output")
        with _replacing(folder) as part:
            prefix, rank = self._weights(part)
            self._describe(part, prefix=prefix, rank=rank)

    def _weights(self, folder: Path) -> tuple[str, int]:
        """Write the weights; the pipeline's name of the denoiser, and the LoRA's rank, 0 when there is none."""
        config, pairs = self.run.config, self.run.pairs(self.stage)
        if self.kind == "merged":
            self.run.check_base()
            return merged.write_merged(folder, config.model, pairs), 0
        whole, targets = LoraPair.concatenated(pairs), config.adapter.targets
        prefix = prefix_of(self.run.stage_folder(self.run.chain(self.stage)[0][0]))
        if self.kind == "peft":
            lora.write_peft(folder, whole, targets=targets, base=hub_id(config.model.path) or "")
        else:
            lora.write_diffusers(folder, whole, prefix=prefix, targets=targets, name=self.name)
        return prefix, lora.rank_of(whole)

    def _describe(self, folder: Path, *, prefix: str, rank: int) -> None:
        run, row = self.run, self.run.rows[self.stage]
        card = model_card(
            replace(run, config=self.public),
            self.stage,
            kind=self.kind,
            prefix=prefix,
            rank=rank,
            name=self.name,
            license=self.license,
            pictures=self._pictures(folder / "samples.png"),
        )
        write_text(folder / "README.md", card)
        write_text(folder / "config.yaml", to_yaml(replace(self.public, store=RunConfig().store)))
        write_json(
            folder / MARK,
            {
                "run": run.result.name,
                "stage": self.stage,
                "label": row.label,
                "format": self.kind,
                "rank": rank,
                "pairs": [list(link) for link in run.chain(self.stage)],
                "values": dict(row.values),
            },
        )

    def _pictures(self, file: Path) -> bool:
        """The grid of samples up to the stage; False when they, or their prompts, are not on this machine."""
        rows, evaluate = self.run.rows[: self.stage + 1], self.run.config.evaluate
        columns = [(row.label, self.run.folder.parent / row.evaluation) for row in rows]
        try:
            save_grid(file, columns=columns, prompts=evaluation_prompts(evaluate.prompts)[: evaluate.samples])
        except (OSError, RilbenchError):
            return False
        return True


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder that becomes `folder` when the block succeeds."""
    part = folder.with_name(f".{os.getpid()}.{folder.name}")
    try:
        part.mkdir(parents=True)
        yield part
        for file in filter(Path.is_file, part.rglob("*")):
            share(file)
        if folder.exists():
            shutil.rmtree(folder)
        part.rename(folder)
    except (OSError, SafetensorError) as error:
        raise RilbenchError(f"cannot write {folder}: {error}. Free the disk or choose another --output") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)
