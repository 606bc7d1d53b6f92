"""A comparison for scripts: one record for every number, by table."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from rilbench.analysis.comparison import Comparison
from rilbench.analysis.differences import Difference
from rilbench.analysis.groups import Group
from rilbench.analysis.quantities import Quantity
from rilbench.analysis.statistics import Spread
from rilbench.contracts.result import MetricInfo
from rilbench.store.files import finite
from rilbench_compare import paper

Record = dict[str, Any]
FIELDS = (
    *("table", "label", "against", "order", "quantity", "metric", "unit", "higher_is_better", "n"),
    *("mean", "sd", "low", "high", "best", "matched", "p", "p_holm", "significant"),
    *("prompts", "p_prompts", "p_prompts_holm", "significant_prompts"),
)


def records(comparison: Comparison, *, only_means: bool = False, published: bool = False) -> dict[str, list[Record]]:
    """Tables `base`, `orders`, `means`, `differences`; the published numbers are tables of their own, `paper_*`.

    label is the strategy's name unless its runs were given another; n is the number of models (for differences, of
    independent pairs) behind mean, sd and the 95 % interval low to high.
    """
    infos = comparison.columns(Quantity.FINAL)
    tables = {
        "base": [
            {"label": "base"} | _about(info, Quantity.FINAL) | {"mean": comparison.base(info.name)} for info in infos
        ],
        "orders": [r for q in comparison.shown() for g in comparison.orders for r in _of_group(comparison, g, q)],
        "means": list(_means(comparison)),
        "differences": list(_differences(comparison)),
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


def _spread(spread: Spread) -> Record:
    return {"n": spread.n, "mean": spread.mean, "sd": spread.sd, "low": spread.low, "high": spread.high}


def _of_group(comparison: Comparison, group: Group, quantity: Quantity) -> Iterator[Record]:
    for info in comparison.columns(quantity):
        about = {"label": group.label, "order": list(group.rewards)} | _about(info, quantity)
        yield about | _spread(group.spread(quantity, info.name))


def _means(comparison: Comparison) -> Iterator[Record]:
    for quantity in comparison.shown():
        tops = {info.name: comparison.best(quantity, info) for info in comparison.columns(quantity)}
        for group in comparison.strategies:
            for record in _of_group(comparison, group, quantity):
                del record["order"]
                yield record | {"best": group.label in tops[record["metric"]]}


def _differences(comparison: Comparison) -> Iterator[Record]:
    for quantity in comparison.shown():
        about = {info.name: _about(info, quantity) for info in comparison.columns(quantity)}
        for test in comparison.differences:
            if test.quantity is quantity:
                names = {"label": test.label, "against": test.against}
                yield names | about[test.metric] | {"matched": test.matched} | _tests(test)


def _tests(test: Difference) -> Record:
    """The test over runs, and the one over prompts where there is one."""
    runs, prompts = test.runs, test.prompts
    record = _spread(runs.spread) | {"p": runs.p, "p_holm": runs.p_holm, "significant": runs.significant}
    if prompts is None:
        return record
    return record | {
        "prompts": prompts.spread.n,
        "p_prompts": prompts.p,
        "p_prompts_holm": prompts.p_holm,
        "significant_prompts": prompts.significant,
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
