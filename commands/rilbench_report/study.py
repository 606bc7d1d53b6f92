"""The runs of a report, compared by the one analysis."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rilbench.analysis import recorded
from rilbench.analysis.comparison import Comparison, Warn, compare
from rilbench.analysis.methods import measured_otherwise, told_apart
from rilbench.analysis.quantities import Quantity, is_merge, is_sequence
from rilbench.analysis.recorded import strategies_of, telling
from rilbench.analysis.statistics import Spread
from rilbench.analysis.table import long_table, quantity_table
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.result import MetricInfo, ResultMatrix, RunResult
from rilbench.contracts.untrusted import inside
from rilbench.files.prompts import evaluation_prompts
from rilbench.store import stage_record
from rilbench.store.grid import check_picture
from rilbench.store.layout import EvaluationFiles, Store
from rilbench.store.picture_files import opened

if TYPE_CHECKING:
    import pandas as pd

Test = dict[str, Any]  # a row of `differences`
SUMMARY = (Quantity.AVERAGE, Quantity.AVERAGE_LEARNED, Quantity.AVERAGE_FORGOTTEN)
QUANTITIES = (*SUMMARY, Quantity.FINAL, Quantity.FORGETTING)
NONE = Spread(0, *[float("nan")] * 4)
HASH = re.compile(r"\b([0-9a-f]{8})[0-9a-f]{8,}\b")


@dataclass(frozen=True)
class Study:
    """A comparison of the summary columns, final values and forgetting; strategies are in the order of their runs."""

    comparison: Comparison

    @classmethod
    def about(cls, results: Sequence[RunResult], warn: Warn = lambda text: None) -> Study:
        """`warn` hears of runs that should not be averaged or compared."""
        labels = list(dict.fromkeys(run.label for run in told_apart(results)))
        return cls(compare(results, quantities=QUANTITIES, strategies=labels, warn=warn))

    @cached_property
    def runs(self) -> list[Run]:
        return [Run(run, texts(self.comparison.settings[run.name])) for run in self.comparison.runs]

    @property
    def strategies(self) -> list[str]:
        return self.comparison.labels

    @property
    def reference(self) -> str:
        return self.comparison.against

    @cached_property
    def orders(self) -> list[str]:
        return sorted({run.order for run in self.runs})

    @cached_property
    def seeds(self) -> list[int]:
        return sorted({run.result.seed for run in self.runs})

    @property
    def metrics(self) -> list[MetricInfo]:
        """The columns of all runs, each once, without those of disturbed pictures."""
        return self.comparison.metrics

    @cached_property
    def disturbed(self) -> list[str]:
        """The columns `REWARD@DISTURBANCE`: scores of rewards that some run trained, of disturbed pictures."""
        names = dict.fromkeys(info.name for run in self.runs for info in run.matrix.metrics)
        return [name for name in names if "@" in name and name.partition("@")[0] in self.rewards]

    @cached_property
    def rewards(self) -> list[str]:
        """The rewards any run trained, in the order of the first run."""
        return list(dict.fromkeys(name for run in self.runs for name in run.result.rewards))

    @cached_property
    def long(self) -> pd.DataFrame:
        return long_table(self.comparison.runs)

    def of(self, strategy: str) -> list[Run]:
        return [run for run in self.runs if run.label == strategy]

    def values(self, key: str) -> list[str]:
        """The values of a setting, each once."""
        return list(dict.fromkeys(run.settings[key] for run in self.runs if run.settings.get(key)))

    def models(self, strategy: str) -> int:
        """How many models are behind a strategy: runs that are the same model count once."""
        table = self.comparison.table
        return int(table.loc[table["label"] == strategy, "model"].nunique())

    def cases(self, strategy: str) -> set[tuple[str, int]]:
        """The orders and seeds a strategy has."""
        return {(run.order, run.result.seed) for run in self.of(strategy)}

    def spread(self, strategy: str, quantity: Quantity, metric: str = "average", order: str = "") -> Spread:
        """Mean and 95 % interval over a strategy's models, or those of an order."""
        return self._spreads.get((strategy, order, quantity, metric), NONE)

    def gains(self, names: Sequence[str]) -> pd.DataFrame:
        """What is left of the gain in any metrics, as a quantity table, each model once."""
        table = quantity_table(self.comparison.runs, (Quantity.LEFT,), names=names)
        return table.drop_duplicates(["label", "model", "metric"])

    def tests(self, quantity: Quantity) -> dict[tuple[str, str], Test]:
        """The paired tests against the reference by strategy and metric, of two pairs or more."""
        found = self.comparison.differences
        chosen = found[(found["quantity"] == quantity) & (found["n"] > 1)]
        return {(test["label"], test["metric"]): test for test in chosen.to_dict("records")}

    def best(self, strategy: str, quantity: Quantity, metric: str = "average") -> bool:
        found = self.comparison.means
        own = (found["label"] == strategy) & (found["quantity"] == quantity) & (found["metric"] == metric)
        return bool(found.loc[own, "best"].any())

    def ranked(self, quantity: Quantity) -> list[str]:
        """The strategies that can be ranked by a summary column, the best first; none unless there are two, with two
        orders and seeds. Only sequences are ranked by what they forget."""
        found = self.comparison.means
        chosen = found[(found["quantity"] == quantity) & found["comparable"] & found["mean"].notna()]
        labels = set(self.sequences()) if quantity is Quantity.AVERAGE_FORGOTTEN else set(self.strategies)
        chosen = chosen[chosen["label"].isin(labels)]
        order = chosen.sort_values("mean", ascending=quantity is Quantity.AVERAGE_FORGOTTEN, kind="stable")
        return list(order["label"]) if len(order) > 1 and len(self.cases(self.reference)) > 1 else []

    def sequences(self) -> list[str]:
        """The strategies that train one stage after another."""
        return [s for s in self.strategies if all(is_sequence(run.result) for run in self.of(s))]

    def merges(self, strategy: str) -> bool:
        return any(is_merge(run.result) for run in self.of(strategy))

    def mark(self, strategy: str) -> str:
        """What a strategy measured on another base model is marked with: †, †† for a third one."""
        return "†" * max(0, self.comparison.base_of(strategy))

    def base_name(self, number: int) -> str:
        """`base†: spacing trailing`: a base model, and in what it is, or is measured, otherwise than the first."""
        if number == 0:
            return "base"
        one, other = (next(r for r in self.comparison.runs if self.comparison.bases[r.name] == n) for n in (0, number))
        keys = measured_otherwise((one, other), self.comparison.settings)
        return f"base{'†' * number}: {', '.join(keys) or 'what its own runs do not record'}"

    def variant(self, label: str) -> str:
        """`Differs from rid in: alpha 0.9 (not 0.99).`; without plain runs to compare with, the settings that it has.

        Empty for the plain strategy, and when no settings are recorded.
        """
        run = self.of(label)[0]
        strategy, own = run.result.strategy, _telling(run)
        prefix = f"strategy_settings.{strategy}."
        if label == strategy or not own:
            return ""
        if strategy not in self.strategies:
            mine = [f"{k.removeprefix(prefix)} {v}" for k, v in own.items() if k.startswith(prefix)]
            return f"Here with {', '.join(mine)}." if mine else ""
        plain = _telling(self.of(strategy)[0])
        parts = [
            f"{k.removeprefix(prefix)} {f'{v} (not {plain[k]})' if k in plain else v}"
            for k, v in own.items()
            if plain.get(k) != v
        ]
        parts += [f"{k.removeprefix(prefix)} not set (else {v})" for k, v in plain.items() if k not in own]
        return f"Differs from {strategy} in: {'; '.join(parts) or 'no recorded setting'}."

    @cached_property
    def _spreads(self) -> dict[tuple[str, str, str, str], Spread]:
        tables = (self.comparison.means.assign(order=""), self.comparison.orders)
        names = ["label", "order", "quantity", "metric", *Spread._fields]
        rows = [row for table in tables for row in table[names].itertuples(index=False, name=None)]
        return {row[:4]: Spread(*row[4:]) for row in rows}


def _telling(run: Run) -> dict[str, str]:
    """The settings that a method can be made of."""
    own = telling({"strategy": run.result.strategy} | dict(run.settings), strategies_of(run.result))
    return {key: value for key, value in own.items() if key != "strategy"}


@dataclass(frozen=True)
class Run:
    """A finished run. settings: `config.yaml`, key.of.setting to text; empty when there is none."""

    result: RunResult
    settings: Mapping[str, str]

    @property
    def label(self) -> str:
        """What the report calls its strategy."""
        return self.result.label

    @property
    def matrix(self) -> ResultMatrix:
        return self.result.matrix

    @property
    def order(self) -> str:
        """The rewards in training order."""
        return " > ".join(self.result.rewards)

    @cached_property
    def environment(self) -> dict[str, str]:
        """`environment.json`, key.of.value to text."""
        found = texts(recorded.environment(self.result))
        if found.get("commit", "").endswith("+"):
            found["commit"] = f"{found['commit'][:-1]} with uncommitted changes"
        return {key: HASH.sub(r"\1", text) for key, text in found.items()}

    @cached_property
    def picture_size(self) -> str:
        """`512 x 512`: width and height of its pictures in pixels; empty when there are none here."""
        files = (
            self.in_store(EvaluationFiles(Path(row.evaluation)).picture(0))
            for row in self.matrix.rows
            if row.evaluation
        )
        file = next(filter(None, files), None)
        if file is None:
            return ""
        check_picture(file)
        with opened(file) as picture:
            return f"{picture.width} x {picture.height}"

    @cached_property
    def prompts(self) -> list[str]:
        """The evaluation prompts; empty when their file is not on this machine."""
        try:
            return evaluation_prompts(self.settings.get("evaluate.prompts", ""))
        except ConfigError:
            return []

    @cached_property
    def trained_samples(self) -> list[int]:
        """How many images each trained stage generated for training, as far as the store knows."""
        files = [self.in_store(Store(Path()).stage(row.stage_id).record) for row in self.matrix.rows if row.rewards]
        return [stage_record.read(file.parent)["document"]["train"]["samples"] for file in files if file]

    def in_store(self, path: str | Path) -> Path | None:
        """A file or folder of the store the run lies in; None when it is not on this disk or a link leads out."""
        return inside(self._store, path) if self._store else None

    @cached_property
    def _store(self) -> Path | None:
        return self.result.folder.resolve().parent if self.result.folder else None


def texts(values: Mapping[str, Any]) -> dict[str, str]:
    return {k: ", ".join(map(str, v)) if isinstance(v, list) else str(v) for k, v in values.items()}
