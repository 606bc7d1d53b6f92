"""What stands under the tables of a comparison: how each number is made, and what it does not say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rilbench.analysis.comparison import Comparison
from rilbench.analysis.quantities import Quantity
from rilbench_compare import paper
from rilbench_compare.formats import Line

if TYPE_CHECKING:
    import pandas as pd

HALF = "± is half the 95 % interval of the mean (Student's t)"
HOLM = "p < 0.05 after Holm's correction over all tests of the quantity"
PROMPTS = (
    "paired t test over {} prompts, a prompt's value being the mean over its images and the matched runs: it is about "
    "these trained models on prompts like these, not about training again"
)


def orders(comparison: Comparison, *, lines: Sequence[Line], published: bool) -> str:
    """Under the table of strategies and orders."""
    quantity = comparison.quantities[0]
    brackets = " In brackets the forgetting F of Eq. 3." if quantity is Quantity.FINAL else ""
    text = (
        f"After the last stage.{brackets} {HALF} over seeds{_fewer(lines, 'seeds')}. A dash is a value that is not "
        f"measured or has no meaning there: {_MASKED[quantity]}."
    )
    if _marked(lines):
        text += f" †: differs from {comparison.against}, {_over_prompts(comparison.differences)}; {HOLM}."
    return text + _paper(published)


def means(comparison: Comparison, quantity: Quantity, *, lines: Sequence[Line], published: bool) -> str:
    """Under a table of means."""
    text = f"{HALF} over models; runs that are the same model count once{_fewer(lines, 'models')}."
    if _marked(lines):
        text += f" *: differs from {comparison.against}, paired t test over matched runs, {HOLM}."
    if others := _not_comparable(comparison, quantity):
        text += (
            f" Without star and bold, for their means are over other orders and seeds than those of "
            f"{comparison.against}: {', '.join(others)}."
        )
    return text + _paper(published)


def differences(tests: pd.DataFrame) -> str:
    """Under a table of differences: what is tested."""
    text = (
        f"Mean difference of runs with the same order and seed; {HALF} over n pairs, those that share a model counting "
        f"as one. p (runs): paired t test over these pairs; *: {HOLM}; a dash is no test, of fewer than two pairs or "
        "of pairs that all differ by the same."
    )
    if "prompts" in tests and tests["prompts"].notna().any():
        text += f" p (prompts): {_over_prompts(tests)}; †: {HOLM}."
    return text


def _marked(lines: Sequence[Line]) -> bool:
    return any(cell.mark for line in lines for cell in line.cells)


def _fewer(lines: Sequence[Line], what: str) -> str:
    """What `n=` in a cell is, when there is one."""
    some = any("n=" in cell.note for line in lines for cell in line.cells)
    return f"; n= where not all {what} of a row have a value" if some else ""


def _over_prompts(tests: pd.DataFrame) -> str:
    sizes = sorted(tests["prompts"].dropna().astype(int).unique())
    return PROMPTS.format(" or ".join(map(str, sizes)))


def _not_comparable(comparison: Comparison, quantity: Quantity) -> list[str]:
    """Strategies with other orders and seeds than the one compared against; the metrics, when it is not all of them."""
    means = comparison.means[comparison.means["quantity"] == quantity]
    told = []
    for label in comparison.labels:
        own = means[(means["label"] == label) & (means["n"] > 0)]
        other = list(own.loc[~own["comparable"], "metric"])
        if other:
            told.append(label if len(other) == len(own) else f"{label} ({', '.join(other)})")
    return told


def _paper(published: bool) -> str:
    if not published:
        return ""
    source = paper.document()
    return (
        f" Rows marked (paper) are published for {source['model']} ({source['source']}): another model, other prompts "
        "and other scales, part of no mean here."
    )


_LAST = "a target that was trained last, for the first time or alone"
_MASKED = {
    Quantity.FINAL: f"no forgetting of {_LAST}",
    Quantity.FORGETTING: _LAST,
    Quantity.AVERAGE: "no trained reward was measured",
    Quantity.AVERAGE_LEARNED: "no trained reward was measured",
    Quantity.AVERAGE_FORGOTTEN: "nothing was trained before the last stage",
    Quantity.LEFT: "a reward that was not measured",
    Quantity.LEARNED: "a reward that was never trained",
    Quantity.BACKWARD: "a reward that was trained last, or never",
    Quantity.FORWARD: "a reward that was trained first, or never, and every reward of a merge",
    Quantity.PLASTICITY: "a reward that was never trained, and every reward of a merge",
}
