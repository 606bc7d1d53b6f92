"""A comparison as data: one record per number, by table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rilbench.analysis.comparison import Comparison
from rilbench.analysis.quantities import Quantity
from rilbench.contracts.result import MetricInfo
from rilbench.store.files import finite
from rilbench_compare import paper

Record = dict[str, Any]
FIELDS = (  # of all tables, in order; a record has those of its table
    *("label", "against", "order", "quantity", "reward", "scale", "metric", "unit", "higher_is_better"),
    *("n", "mean", "sd", "low", "high", "best", "rank", "matched", "p", "p_holm", "significant", "seeds_needed"),
    *("untested", "prompts", "low_crossed", "high_crossed", "p_crossed", "p_crossed_holm", "significant_crossed"),
)
WHOLE = ("n", "matched", "prompts")


def records(comparison: Comparison, *, only_means: bool = False, published: bool = False) -> dict[str, list[Record]]:
    """Tables `base`, `orders`, `means`, `differences`; the published numbers are tables of their own, `paper_*`.

    label is the strategy's name unless its runs were given another; n is the number of seeds behind mean, sd and the
    95 % interval low to high.
    """
    names = [info.name for info in comparison.columns(Quantity.FINAL)]
    base = [{"label": "base", "quantity": "final", "metric": n, "mean": comparison.base(n)} for n in names]
    orders, means, differences = (
        table.to_dict("records") for table in (comparison.orders, comparison.means, comparison.differences)
    )
    tables = {"base": base, "orders": orders, "means": means, "differences": differences}
    if published:
        tables |= {f"paper_{name}": _published(comparison, rows) for name, rows in paper.rows(comparison).items()}
    infos = {(q.value, i.name): i for q in (*comparison.quantities, Quantity.FINAL) for i in comparison.columns(q)}
    left_out = ("orders", "differences", "paper_orders") if only_means else ()
    return {
        name: [_record(row, infos[row["quantity"], row["metric"]]) for row in rows]
        for name, rows in tables.items()
        if name not in left_out
    }


def as_csv(tables: Mapping[str, list[Record]]) -> str:
    """All records under one header; missing fields and NaN are empty."""
    import pandas as pd

    every = [
        {"table": name} | finite(row) | ({"order": " > ".join(row["order"])} if "order" in row else {})
        for name, rows in tables.items()
        for row in rows
    ]
    table = pd.DataFrame(every, columns=["table", *FIELDS], dtype=object)
    return str(table.to_csv(index=False, lineterminator="\n"))


def _record(row: Record, info: MetricInfo) -> Record:
    """A row with the unit and direction of its metric; prompt-test fields only if there was such a test."""
    row = row | {"unit": info.unit, "higher_is_better": info.higher_is_better}
    if isinstance(row.get("order"), str):
        row["order"] = row["order"].split(" > ")
    crossed = row.get("prompts", 0) > 0
    kept = [key for key in FIELDS if key in row and (crossed or (key != "prompts" and "crossed" not in key))]
    return {key: int(row[key]) if key in WHOLE else row[key] for key in kept}


def _published(comparison: Comparison, rows: list[paper.Row]) -> list[Record]:
    return [
        {"label": row["strategy"], "order": row["rewards"], "quantity": quantity.value, "metric": info.name}
        | {"mean": value}
        for row in rows
        for quantity in comparison.quantities
        for info in comparison.columns(quantity)
        if (value := row.get(paper.PUBLISHED[quantity], {}).get(info.name)) is not None
    ]
