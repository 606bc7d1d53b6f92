"""The runs of a report, compared by the one analysis."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rilbench.analysis.comparison import Comparison, Row, Warn, compare
from rilbench.analysis.figures import DRIFT
from rilbench.analysis.methods import measured_otherwise, method_settings, told_apart
from rilbench.analysis.quantities import AVERAGES, Quantity, is_merge, is_sequence
from rilbench.analysis.sources import load_environment
from rilbench.analysis.statistics import Spread
from rilbench.analysis.table import quantity_table
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.result import TRAIN, RunResult
from rilbench.contracts.untrusted import inside
from rilbench.files.prompts import evaluation_prompts
from rilbench.store import stage_record
from rilbench.store.grid import check_picture
from rilbench.store.layout import EvaluationFiles, Store
from rilbench.store.picture_files import opened

if TYPE_CHECKING:
    import pandas as pd

QUANTITIES = (Quantity.FINAL, Quantity.FORGETTING, *AVERAGES)
HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{8,}\b")


class Study(Comparison):
    """A comparison of final values, forgetting and gains; strategies are in the order of their runs."""

    @classmethod
    def about(cls, results: Sequence[RunResult], warn: Warn = lambda text: None) -> Study:
        """`warn` receives runs that should not be averaged or compared."""
        labels = list(dict.fromkeys(run.label for run in told_apart(results)))
        return cls(**vars(compare(results, quantities=QUANTITIES, strategies=labels, warn=warn)))

    @cached_property
    def all_orders(self) -> list[str]:
        return sorted({run.order for run in self.runs})

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({run.seed for run in self.runs})

    @cached_property
    def disturbed(self) -> list[str]:
        """The columns `REWARD@DISTURBANCE`: scores of rewards that some run trained, of disturbed images."""
        names = dict.fromkeys(info.name for run in self.runs for info in run.matrix.metrics)
        disturbed = [name for name in names if "@" in name and not name.endswith(TRAIN)]
        return [name for name in disturbed if name.partition("@")[0] in self.rewards]

    @cached_property
    def on_train(self) -> list[str]:
        """The columns `REWARD@train`: scores of rewards that some run trained, on training prompts."""
        names = {info.name for run in self.runs for info in run.matrix.metrics}
        return [f"{name}{TRAIN}" for name in self.rewards if f"{name}{TRAIN}" in names]

    def texts(self, run: RunResult) -> dict[str, str]:
        """The settings of a run, key.of.setting to text."""
        return texts(self.settings[run.name])

    def values(self, key: str) -> list[str]:
        """The values of a setting, each once."""
        return list(dict.fromkeys(value for run in self.runs if (value := self.texts(run).get(key))))

    def cases(self, strategy: str) -> set[tuple[str, int]]:
        """The orders and seeds a strategy has."""
        return {(run.order, run.seed) for run in self.of(strategy)}

    def spread(self, strategy: str, quantity: Quantity, metric: str, order: str = "") -> Spread:
        """Mean and 95 % interval over a strategy's seeds, or those of an order."""
        return Spread.read(self.row(strategy, quantity, metric, order))

    def gains(self, names: Sequence[str]) -> pd.DataFrame:
        """What is left of the gain in any metrics, as a quantity table."""
        return quantity_table(self.runs, (Quantity.LEFT,), names=names)

    def tests(self, quantity: Quantity) -> dict[tuple[str, str], Row]:
        """The paired tests against the reference by strategy and metric, of two seeds or more."""
        return {key: test for key, test in super().tests(quantity).items() if test["n"] > 1}

    def ranked(self, quantity: Quantity, metric: str) -> list[str]:
        """The strategies that can be ranked by a reward or in a unit, the best first; none unless there are two, with
        two seeds. Only sequences are ranked by what they forget."""
        means = {s: row["mean"] for s in self.labels if (row := self.row(s, quantity, metric))["comparable"]}
        forgotten = quantity in (Quantity.FORGETTING, Quantity.AVERAGE_FORGOTTEN)
        chosen = [s for s, mean in means.items() if mean == mean and (not forgotten or self.is_sequence(s))]
        order = sorted(chosen, key=lambda s: means[s] if forgotten else -means[s])
        return order if len(order) > 1 and self.seeds_of(self.against) > 1 else []

    @property
    def shown_units(self) -> list[str]:
        """The units of the averages."""
        return self.units.shown(self.runs)

    @property
    def has_drift(self) -> bool:
        """Whether gain can be drawn against drift."""
        return any(info.name == DRIFT for info in self.metrics)

    def is_sequence(self, strategy: str) -> bool:
        """Whether it trains one stage after another."""
        return all(map(is_sequence, self.of(strategy)))

    def is_merge(self, strategy: str) -> bool:
        return any(map(is_merge, self.of(strategy)))

    def mark(self, strategy: str) -> str:
        """The mark of a strategy measured on another base model: †, †† for a third one."""
        return "†" * max(0, self.base_of(strategy))

    def base_name(self, number: int) -> str:
        """`base†: spacing trailing`: a base model, and the settings in which it differs from the first."""
        if number == 0:
            return "base"
        one, other = (next(run for run in self.runs if self.bases[run.name] == n) for n in (0, number))
        keys = measured_otherwise((one, other), self.settings)
        return f"base{'†' * number}: {', '.join(keys) or 'unrecorded settings'}"

    def variant(self, label: str) -> str:
        """`Differs from rid in: alpha 0.9 (not 0.99).`; without plain runs to compare with, its own settings.

        Empty for the plain strategy, and when no settings are recorded.
        """
        run = self.of(label)[0]
        prefix, own = f"strategy_settings.{run.strategy}.", method_settings(run, self.settings)
        if label == run.strategy or not own:
            return ""
        if run.strategy not in self.labels:
            mine = [f"{key.removeprefix(prefix)} {value}" for key, value in own.items() if key.startswith(prefix)]
            return f"Run with {', '.join(mine)}." if mine else ""
        plain = method_settings(self.of(run.strategy)[0], self.settings)
        parts = [
            f"{key.removeprefix(prefix)} {own.get(key, 'unset')} (not {plain.get(key, 'unset')})"
            for key in dict.fromkeys([*own, *plain])
            if own.get(key) != plain.get(key)
        ]
        return f"Differs from {run.strategy} in: {'; '.join(parts) or 'no recorded setting'}."

    def prompts(self, run: RunResult) -> list[str]:
        """The evaluation prompts; empty when their file is not on this machine."""
        try:
            found = evaluation_prompts(self.texts(run).get("evaluate.prompts", ""))
        except ConfigError:
            return []
        return [prompt.label for prompt in found]


def environment(run: RunResult) -> dict[str, str]:
    """`environment.json`, key.of.value to text."""
    found = texts(load_environment(run))
    if found.get("commit", "").endswith("+"):
        found["commit"] = f"{found['commit'][:-1]} with uncommitted changes"
    return {key: HASH.sub(r"\1", text) for key, text in found.items()}


def picture_size(run: RunResult) -> str:
    """`512 x 512`: width and height of the run's images in pixels; empty if there are none on this machine."""
    pictures = (EvaluationFiles(Path(row.evaluation)).picture(0) for row in run.matrix.rows if row.evaluation)
    file = next(filter(None, (in_store(run, picture) for picture in pictures)), None)
    if file is None:
        return ""
    check_picture(file)
    with opened(file) as picture:
        return f"{picture.width} x {picture.height}"


def trained_samples(run: RunResult) -> list[int]:
    """The number of images each stage generated for training, for stages in the store."""
    files = [in_store(run, Store(Path()).stage(row.stage_id).record) for row in run.matrix.rows if row.rewards]
    return [stage_record.read(file.parent)["document"]["train"]["samples"] for file in files if file]


def in_store(run: RunResult, path: Path) -> Path | None:
    """A file or folder of the run's store; None if it is not on this machine or a link leaves the store."""
    return inside(run.folder.resolve().parent, path) if run.folder else None


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {k: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in values.items()}
