"""A comparison for scripts: one record for every number, by table."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from rilbench.analysis.comparison import Comparison
from rilbench.analysis.quantities import Quantity
from rilbench.store.files import finite
from rilbench_compare import paper

if TYPE_CHECKING:
    import pandas as pd

Record = dict[str, Any]
ABOUT = ("quantity", "metric", "unit", "higher_is_better")
SPREAD = ("n", "mean", "sd", "low", "high")
PROMPTS = ("prompts", "p_prompts", "p_prompts_holm", "significant_prompts")
TESTS = ("label", "against", *ABOUT, "matched", *SPREAD, "p", "p_holm", "significant", *PROMPTS)
FIELDS = (
    *("table", "label", "against", "order", *ABOUT, *SPREAD, "best", "matched", "p", "p_holm", "significant"),
    *PROMPTS,
)


def records(comparison: Comparison, *, only_means: bool = False, published: bool = False) -> dict[str, list[Record]]:
    """Tables `base`, `orders`, `means`, `differences`; the published numbers are tables of their own, `paper_*`.

    label is the strategy's name unless its runs were given another; n is the number of models (for differences, of
    independent pairs) behind mean, sd and the 95 % interval low to high.
    """
    names = [info.name for info in comparison.columns(Quantity.FINAL)]
    base = [{"label": "base", "quantity": "final", "metric": n, "mean": comparison.base(n)} for n in names]
    tables: dict[str, list[Record]] = {"base": list(_described(comparison, base, ("label", *ABOUT, "mean")))}
    if not only_means:
        tables["orders"] = _records(comparison, comparison.orders, ("label", "order", *ABOUT, *SPREAD))
    tables["means"] = _records(comparison, comparison.means, ("label", *ABOUT, *SPREAD, "best"))
    if not only_means:
        tables["differences"] = _records(comparison, comparison.differences, TESTS)
    if published:
        rows = paper.rows(comparison)
        for name in ("base", "means") if only_means else ("base", "orders", "means"):
            tables[f"paper_{name}"] = list(_described(comparison, _published(comparison, rows[name])))
    return tables


def as_csv(tables: Mapping[str, list[Record]]) -> str:
    """All records below each other under one header; a field a record lacks, and NaN, is empty."""
    import pandas as pd

    every = [
        {"table": name} | finite(row) | ({"order": " > ".join(row["order"])} if "order" in row else {})
        for name, rows in tables.items()
        for row in rows
    ]
    table = pd.DataFrame(every, columns=list(FIELDS), dtype=object)
    return str(table.to_csv(index=False, lineterminator="\n"))


def _records(comparison: Comparison, table: pd.DataFrame, fields: tuple[str, ...]) -> list[Record]:
    return list(_described(comparison, table.to_dict("records"), fields))


def _described(
    comparison: Comparison, rows: list[Record], fields: tuple[str, ...] = ("label", "order", *ABOUT, "mean")
) -> Iterator[Record]:
    """Records with the unit and direction of their column, and the fields of their table."""
    infos = {(q.value, i.name): i for q in (*comparison.quantities, Quantity.FINAL) for i in comparison.columns(q)}
    for row in rows:
        info = infos[row["quantity"], row["metric"]]
        record = row | {"unit": info.unit, "higher_is_better": info.higher_is_better}
        if isinstance(record.get("order"), str):
            record["order"] = record["order"].split(" > ")
        tested = record.get("prompts", 0) > 0  # over prompts
        kept = [f for f in fields if f in record and (tested or f not in PROMPTS)]
        yield {field: int(record[field]) if field in ("n", "matched", "prompts") else record[field] for field in kept}


def _published(comparison: Comparison, rows: list[paper.Row]) -> list[Record]:
    return [
        {"label": row["strategy"], "order": row["rewards"], "quantity": quantity.value, "metric": info.name}
        | {"mean": value}
        for row in rows
        for quantity in comparison.quantities
        for info in comparison.columns(quantity)
        if (value := row.get(paper.PUBLISHED[quantity], {}).get(info.name)) is not None
    ]
