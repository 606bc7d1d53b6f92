"""Exports the model of a stage as a folder: weights in a common format, model card and settings."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from safetensors import SafetensorError

from rilbench.contracts.errors import ConfigError, RilbenchError, UsageError, reason
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.untrusted import inside
from rilbench.engine import secret_settings
from rilbench.engine.config import RunConfig, to_yaml
from rilbench.engine.saved import SavedRun
from rilbench.files.loras import loras_of
from rilbench.files.prompts import evaluation_prompts
from rilbench.store import temporary
from rilbench.store.files import read_json, share, write_json, write_text
from rilbench.store.grid import save_grid
from rilbench.store.layout import EvaluationFiles, RunFiles
from rilbench_release import lora, merged, whole
from rilbench_release.base_lora import BaseLora
from rilbench_release.card import model_card
from rilbench_release.models import hub_id, prefix_of
from rilbench_release.sequence import write_sequence

MARK = "rilbench.json"  # describes an export and lists its files


@dataclass(frozen=True, kw_only=True)
class Export:
    """The model after `stage` as `kind`: diffusers, peft or merged. `license` is the base model's, for the card.

    with_base_lora: a LoRA contains those of `model.lora` too, as a merged model always does.
    """

    run: SavedRun
    stage: int
    kind: str
    license: str | None = None
    with_base_lora: bool = False

    def __post_init__(self) -> None:
        if self.with_base_lora and not self.run.config.model.lora:
            raise UsageError("--with-base-lora: the base model of this run has no LoRA (model.lora)")
        if self.stage == 0 and self.kind != "merged":
            raise UsageError(
                f"--stage 0 is the base model, which has no LoRA to export as {self.kind}. "
                "Export a later stage, or use --format merged"
            )

    @property
    def public(self) -> RunConfig:
        """The run's configuration without secrets."""
        return secret_settings.public(self.run.config, self.run.catalog)

    @property
    def name(self) -> str:
        """The name of the folder and its files."""
        return f"{self.run.result.name}-stage{self.stage}"

    def write(self, folder: Path) -> None:
        """Write everything; raises UsageError if the folder contains anything but an earlier export."""
        with _replacing(folder) as part:
            prefix, rank = self._weights(part)
            self._describe(part, prefix=prefix, rank=rank)
            if self.kind != "merged":
                write_sequence(replace(self.run, config=self.public), self.stage, part)

    def _weights(self, folder: Path) -> tuple[str, int]:
        """Write the weights; returns the pipeline's name of the denoiser and the LoRA's rank (0 without LoRA)."""
        config, pairs = self.run.config, self.run.pairs(self.stage)
        if self.kind == "merged":
            self.run.check_base()
            return merged.write_merged(folder, config.model, pairs), 0
        if self.with_base_lora:
            self.run.check_base()
        pair, targets = LoraPair.concatenated(pairs), self.run.targets(self.stage)
        prefix = prefix_of(self.run.stage_folder(self.run.chain(self.stage)[0][0]))
        base = hub_id(config.model.path) or ""
        if self.with_base_lora or len({len(b) for b in pair.b.values()}) > 1:
            layers = whole.layers_of(pair, prefix, config.model if self.with_base_lora else None)
            if self.kind == "peft":
                whole.write_peft(folder, layers, prefix=prefix, base=base)
            else:
                whole.write_diffusers(folder, layers, prefix=prefix, name=self.name)
            return prefix, whole.largest_rank(layers)
        if self.kind == "peft":
            lora.write_peft(folder, pair, targets=targets, base=base)
        else:
            lora.write_diffusers(folder, pair, prefix=prefix, targets=targets, name=self.name)
        return prefix, lora.rank_of(pair)

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
            loras=self._missing_loras(),
            next_stage=self.next_stage,
            pictures=self._pictures(RunFiles(folder).pictures),
        )
        write_text(folder / "README.md", card)
        write_text(RunFiles(folder).settings, to_yaml(replace(run, config=self.public).settings))
        about = {"run": run.result.name, "stage": self.stage, "label": row.label, "format": self.kind, "rank": rank}
        pairs = [list(link) for link in run.chain(self.stage)]
        needs = {"base_lora": [lora.record for lora in self._missing_loras()], "next_stage": self.next_stage}
        write_json(folder / MARK, about | needs | {"pairs": pairs, "values": dict(row.values)})

    def _missing_loras(self) -> list[BaseLora]:
        """The base model's LoRAs that the export does not contain."""
        inside = self.with_base_lora or self.kind == "merged"
        return [] if inside else [BaseLora.of(lora) for lora in loras_of(self.run.config.model.lora)]

    @property
    def next_stage(self) -> int:
        """The `first_stage` of a run that continues the model."""
        documents = (self.run.document(number) for number in range(1, self.stage + 1))
        return 1 + max((d["index"] for d in documents if d), default=self.run.config.first_stage - 1)

    def _pictures(self, file: Path) -> bool:
        """Write the grid of samples up to the stage; False if they or their prompts are not on this machine, or are
        outside the store."""
        rows, evaluate = self.run.rows[: self.stage + 1], self.run.config.evaluate
        store = RunFiles(self.run.folder).store
        labels = self.run.result.matrix.labels
        columns = [(label, store.evaluation(row.evaluation).folder) for label, row in zip(labels, rows, strict=False)]
        pictures = [file for _, folder in columns for _, file in EvaluationFiles(folder).pictures()]
        if not all(inside(store.folder, file) for file in pictures):
            return False
        try:
            prompts = evaluation_prompts(evaluate.prompts)[: evaluate.pictures]
            save_grid(file, columns=columns, prompts=[prompt.label for prompt in prompts])
        except (OSError, RilbenchError):
            return False
        return True


@contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    """A temporary folder that replaces `folder`, an earlier export or nothing, when the block succeeds."""
    folder = folder.resolve()  # the target if it is a link
    _check_free(folder)
    part, earlier = temporary.beside(folder), temporary.beside(folder)
    try:
        part.mkdir(parents=True)
        yield part
        files = files_of(part)
        write_json(part / MARK, read_json(part / MARK) | {"files": [file for file in files if file != MARK]})
        for file in files:
            share(part / file)
        _check_free(folder)  # check again, because the work took a while
        if folder.exists():
            folder.rename(earlier)
        part.rename(folder)
    except (OSError, SafetensorError) as error:
        raise RilbenchError(
            f"cannot write {folder}: {error}. Free some disk space or choose another --output"
        ) from None
    finally:
        if earlier.exists() and not folder.exists():  # interrupted between the two renames
            earlier.rename(folder)
        shutil.rmtree(part, ignore_errors=True)
        shutil.rmtree(earlier, ignore_errors=True)


def files_of(folder: Path) -> list[str]:
    """The files and links of a folder, as paths relative to it."""
    paths = [path for path in sorted(folder.rglob("*")) if path.is_symlink() or not path.is_dir()]
    return [path.relative_to(folder).as_posix() for path in paths]


def _check_free(folder: Path) -> None:
    """Raises UsageError if a folder contains files other than those in the record of an earlier export."""
    try:
        known = {MARK, *map(str, read_json(folder / MARK, like={"files": list})["files"])}
    except ConfigError:
        known = set()
    others = [file for file in files_of(folder) if file not in known]
    if others or folder.is_file():
        what = f"contains {others[0]}" if others else "is a file"
        raise UsageError(f"{folder} {what}, which is not part of an earlier export; choose another --output")


def check_push(repo_id: str) -> None:
    """Raises UsageError when an export cannot be pushed: wrong name, offline mode, or not logged in."""
    import huggingface_hub
    from huggingface_hub.errors import HFValidationError
    from huggingface_hub.utils import validate_repo_id  # type: ignore[attr-defined]

    try:
        validate_repo_id(repo_id)
    except HFValidationError as error:
        raise UsageError(f"--push {repo_id}: {reason(error)}") from None
    if "/" not in repo_id:
        raise UsageError(f"--push {repo_id}: the owner is missing; use --push OWNER/{repo_id}")
    if huggingface_hub.constants.is_offline_mode():
        raise UsageError("--push: HF_HUB_OFFLINE is set; unset it, or export without --push")
    if not huggingface_hub.get_token():
        raise UsageError("--push: you are not logged in to the Hub; run `hf auth login` or set HF_TOKEN")


def push_to_hub(folder: Path, repo_id: str, *, private: bool) -> str:
    """Create the repository if missing, upload the folder, and return the address of the commit.

    Raises RilbenchError when the Hub cannot be reached or refuses.
    """
    import huggingface_hub

    api = huggingface_hub.HfApi()
    try:
        api.create_repo(repo_id, private=private, exist_ok=True)
        said = f"rilbench: {folder.name}"
        return str(api.upload_folder(repo_id=repo_id, folder_path=folder, commit_message=said))
    except Exception as error:  # many kinds: of the Hub's client and of the connection
        kept = f"{folder} is kept; try again: hf upload {repo_id} {folder} (after `hf auth login`, or with HF_TOKEN)"
        raise RilbenchError(f"the upload to the Hub failed: {reason(error)[:300]}. {kept}") from error
