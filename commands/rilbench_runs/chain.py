"""The stages of a run: what each was trained on, by which strategy, and the run it comes from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.result import Row, RunResult
from rilbench.engine.continued import parted
from rilbench.store import stage_record
from rilbench.store.layout import Store


def chain_of(result: RunResult, settings: Mapping[str, Any], folder: Path) -> list[dict[str, Any]]:
    """A row for each stage after the base model.

    settings: of the run, by dotted key; `after` says which run it continues.
    """
    store = Store(folder.resolve().parent)
    earlier, kept = parted(str(settings.get("after") or ""), store.folder)
    return [
        {"stage": number, "trained on": row.label, **_trained(store.stage(row.stage_id).folder, row)}
        | {"from": earlier if number <= (kept or 0) else "this run", "folder": row.stage_id}
        for number, row in enumerate(result.matrix.rows)
        if number
    ]


def _trained(folder: Path, row: Row) -> dict[str, Any]:
    """From a stage's record; empty values for a merge, and for a record that is missing or damaged."""
    document: Mapping[str, Any] = {}
    if row.rewards:
        with suppress(RilbenchError):
            document = stage_record.read(folder)["document"]
    strategy = document.get("strategy", {})
    return {
        "strategy": f"{strategy['name']} {strategy['version']}" if strategy else "",
        "rewards": list(_rewards(document)),
        "seed": document.get("seed"),
        "rank": document.get("adapter", {}).get("rank"),
    }


def _rewards(document: Mapping[str, Any]) -> Iterator[str]:
    """Weight, name and version of each reward; an expression's name is followed by those of its rewards."""
    for item in document.get("rewards", ()):
        weight = f"{item['weight']:g} x "
        if "expression" in item:
            yield weight + item["expression"]
            yield from (f"{part['name']} {part['version']}" for part in item["parts"])
        else:
            yield f"{weight}{item['name']} {item['version']}"
