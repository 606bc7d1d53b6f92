"""A comparison for scripts: one record for every number, by table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from rilbench.compare import paper
from rilbench.compare.comparison import Comparison
from rilbench.compare.groups import Group, best
from rilbench.compare.quantities import Quantity
from rilbench.result import MetricInfo
from rilbench.store import finite

Record = dict[str, Any]
FIELDS = (
    *("table", "label", "against", "order", "quantity", "metric", "unit", "higher_is_better", "n"),
    *("mean", "sd", "low", "high", "best", "over", "runs", "p", "p_holm", "significant"),
)


def records(comparison: Comparison, *, only_means: bool = False, published: bool = False) -> dict[str, list[Record]]:
    """Tables `base`, `orders`, `means`, `differences`; the published numbers are tables of their own, `paper_*`.

    label is the strategy's name unless its runs were given another; n is the number of runs (for differences, of what
    `over` names) behind mean, sd and the 95 % interval low to high.
    """
    infos = comparison.columns(Quantity.FINAL)
    tables = {
        "base": [
            {"label": "base"} | _about(info, Quantity.FINAL) | {"mean": comparison.base(info.name)} for info in infos
        ],
        "orders": [r for q in comparison.shown() for g in comparison.orders for r in _of_group(comparison, g, q)],
        "means": list(_means(comparison)),
        "differences": list(_differences(comparison, infos)),
    }
    if published:
        tables["paper_base"] = list(_published([paper.base()], infos, comparison.shown()))
        tables["paper_orders"] = list(_published(paper.beside_orders(comparison.orders), infos, comparison.shown()))
        tables["paper_means"] = list(_published(paper.beside_means(comparison.strategies), infos, comparison.shown()))
    left_out = {"orders", "differences", "paper_orders"} if only_means else set()
    return {name: rows for name, rows in tables.items() if name not in left_out}


def as_csv(tables: dict[str, list[Record]]) -> str:
    """All records below each other under one header; a field a record lacks, and NaN, is empty."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, FIELDS, lineterminator="\n")
    writer.writeheader()
    for table, rows in tables.items():
        for row in rows:
            order = {"order": " > ".join(row["order"])} if "order" in row else {}
            writer.writerow({"table": table} | finite(row) | order)
    return stream.getvalue()


def _about(info: MetricInfo, quantity: Quantity) -> Record:
    return {
        "quantity": quantity.value,
        "metric": info.name,
        "unit": info.unit,
        "higher_is_better": info.higher_is_better,
    }


def _of_group(comparison: Comparison, group: Group, quantity: Quantity) -> Iterator[Record]:
    for info in comparison.columns(quantity):
        spread = group.spread(quantity, info.name)
        numbers = {"n": spread.n, "mean": spread.mean, "sd": spread.sd, "low": spread.low, "high": spread.high}
        yield {"label": group.label, "order": list(group.rewards)} | _about(info, quantity) | numbers


def _means(comparison: Comparison) -> Iterator[Record]:
    for quantity in comparison.shown():
        for group in comparison.strategies:
            for record in _of_group(comparison, group, quantity):
                del record["order"]
                top = best(comparison.strategies, quantity, record["metric"], record["higher_is_better"])
                yield record | {"best": group.label in top}


def _differences(comparison: Comparison, infos: Sequence[MetricInfo]) -> Iterator[Record]:
    about = {info.name: _about(info, Quantity.FINAL) for info in infos}
    for test in comparison.differences:
        spread = test.spread
        yield {
            "label": test.label,
            "against": test.against,
            **about[test.metric],
            **{"n": spread.n, "mean": spread.mean, "sd": spread.sd, "low": spread.low, "high": spread.high},
            **{"over": test.over, "runs": test.runs, "p": test.p, "p_holm": test.p_holm},
            "significant": test.significant,
        }


def _published(
    rows: Sequence[paper.Line], infos: Sequence[MetricInfo], quantities: Sequence[Quantity]
) -> Iterator[Record]:
    for row in rows:
        for quantity in quantities:
            values = row.final if quantity is Quantity.FINAL else row.forgetting
            for info in infos:
                if values.get(info.name) is not None:
                    about = {"label": row.label, "order": list(row.rewards)} | _about(info, quantity)
                    yield about | {"mean": values[info.name]}
