"""A stage's model as a folder of its own: weights in a format of the outer world, a card, the settings."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from rilbench.api.saved import SavedRun
from rilbench.contracts.errors import ConfigError, RilbenchError, UsageError
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.untrusted import inside, relative
from rilbench.engine import secret_settings
from rilbench.engine.config import RunConfig, to_yaml
from rilbench.files.prompts import evaluation_prompts
from rilbench.store import temporary
from rilbench.store.files import in_the_way, read_json, share, write_json, write_text
from rilbench.store.grid import save_grid
from rilbench.store.layout import EvaluationFiles, RunFiles
from rilbench_release import lora, merged
from rilbench_release.card import model_card
from rilbench_release.models import hub_id, prefix_of

MARK = "rilbench.json"  # what an export is and its files, which the next export may replace


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

    @property
    def public(self) -> RunConfig:
        """The run's configuration as others may see it."""
        return secret_settings.public(self.run.config, self.run.catalog)

    @property
    def name(self) -> str:
        """Of the folder and of what is in it."""
        return f"{self.run.result.name}-stage{self.stage}"

    def write(self, folder: Path) -> None:
        """Write everything; a folder that holds anything but an earlier export is a UsageError."""
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
            pictures=self._pictures(RunFiles(folder).pictures),
        )
        write_text(folder / "README.md", card)
        write_text(RunFiles(folder).settings, to_yaml(replace(self.public, store=RunConfig().store)))
        about = {"run": run.result.name, "stage": self.stage, "label": row.label, "format": self.kind, "rank": rank}
        pairs = [list(link) for link in run.chain(self.stage)]
        write_json(folder / MARK, about | {"pairs": pairs, "values": dict(row.values)})

    def _pictures(self, file: Path) -> bool:
        """The grid of samples up to the stage; False when they, or their prompts, are not on this machine,
        or lie outside the store."""
        rows, evaluate = self.run.rows[: self.stage + 1], self.run.config.evaluate
        store = RunFiles(self.run.folder).store
        columns = [(row.label, store.evaluation(row.evaluation).folder) for row in rows]
        pictures = [file for _, folder in columns for _, file in EvaluationFiles(folder).pictures()]
        if not all(inside(store.folder, file) for file in pictures):
            return False
        try:
            save_grid(file, columns=columns, prompts=evaluation_prompts(evaluate.prompts)[: evaluate.pictures])
        except (OSError, RilbenchError):
            return False
        return True


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder whose files come into `folder` when the block succeeds, in place of those of an earlier
    export; what anybody else put there stays."""
    earlier = own_files(folder)
    part = temporary.beside(folder)
    try:
        part.mkdir(parents=True)
        yield part
        made = [str(path.relative_to(part)) for path in sorted(part.rglob("*")) if path.is_file()]
        _check_free(folder, made, earlier)
        for file in made:
            share(part / file)
        _move(part, folder, made, earlier)
    except (OSError, SafetensorError) as error:
        raise RilbenchError(f"cannot write {folder}: {error}. Free the disk or choose another --output") from None
    finally:
        shutil.rmtree(part, ignore_errors=True)


def own_files(folder: Path) -> list[str]:
    """The files of the export in a folder, by their paths in it; UsageError when it is not an export's."""
    if in_the_way(folder, MARK) or (folder / MARK).is_symlink():
        raise UsageError(f"{folder} exists and is no earlier export; choose another --output")
    if not (folder / MARK).exists():
        return []
    try:
        record = read_json(folder / MARK, like={"files": list})
        return [MARK, *(relative(file, str(folder / MARK)) for file in record["files"])]
    except ConfigError as error:
        raise UsageError(f"{folder} is no export that can be replaced ({error}); choose another --output") from None


def _check_free(folder: Path, made: Sequence[str], earlier: Sequence[str]) -> None:
    """UsageError when a file would replace one that no export wrote, or lie behind a link."""
    for file in made:
        place = folder / file
        if file not in earlier and (place.exists() or place.is_symlink()):
            raise UsageError(f"{place} is not of an earlier export; move it away, or choose another --output")
        if any((folder / above).is_symlink() for above in Path(file).parents if above != Path()):
            raise UsageError(f"{place.parent} is a link; remove it, or choose another --output")


def _move(part: Path, folder: Path, made: Sequence[str], earlier: Sequence[str]) -> None:
    """The record names old and new files until all are moved, so that a killed export can be repeated."""
    record = read_json(part / MARK)
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / MARK, record | {"files": sorted({*made, *earlier} - {MARK})})
    for file in set(earlier) - {*made, MARK}:
        (folder / file).unlink(missing_ok=True)
    for file in (file for file in made if file != MARK):
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(part / file, folder / file)
    for inner in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(inner.iterdir()) and not inner.is_symlink():
            inner.rmdir()
    write_json(folder / MARK, record | {"files": [file for file in made if file != MARK]})
