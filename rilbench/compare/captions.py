"""What stands under the tables of a comparison: how each number is made, and what it does not say."""

from __future__ import annotations

from rilbench.compare import paper
from rilbench.compare.comparison import Comparison
from rilbench.compare.quantities import Quantity


def orders(quantity: Quantity, *, published: bool) -> str:
    """Under the table of strategies and orders."""
    brackets = " In brackets the forgetting F of Eq. 3." if quantity is Quantity.FINAL else ""
    masked = f" A dash is a value that is not measured or has no meaning there: {_MASKED[quantity]}."
    half = " ± is half the 95 % interval of the mean over seeds (Student's t)."
    return f"After the last stage.{brackets}{half}{masked}{_paper(published)}"


def means(comparison: Comparison, quantity: Quantity, *, published: bool) -> str:
    """Under the table of means."""
    text = (
        "Mean over all orders and seeds ± standard deviation between runs, [95 % interval of the mean, Student's t "
        "over runs]; runs that are the same model count once. Bold: the best strategy."
    )
    if not comparison.same_runs():
        text += " The strategies do not all have the same orders and seeds, so these are means over different runs."
    if quantity is Quantity.FINAL and comparison.differences:
        text += f" *: differs from {comparison.against}, p < 0.05 as in the table of differences."
    return text + _paper(published)


def differences(comparison: Comparison) -> str:
    """Under the table of differences: what is tested."""
    by_prompts = dict.fromkeys(d.metric for d in comparison.differences if d.over == "prompts")
    by_runs = dict.fromkeys(d.metric for d in comparison.differences if d.over == "runs")
    sizes = sorted({d.spread.n for d in comparison.differences if d.over == "prompts"})
    text = "Runs of the same order and seed are matched. "
    if by_prompts:
        text += (
            f"Paired t test over {' or '.join(map(str, sizes))} prompts, a prompt's value being the mean over its "
            "images and the matched runs: it is about these trained models on prompts like these, not about training "
            "again. "
        )
    if by_runs:
        text += f"Without scores of single images, paired t test over the matched runs: {', '.join(by_runs)}. "
    return text + "p after Holm's correction over the metrics of a row; *: p < 0.05."


def _paper(published: bool) -> str:
    if not published:
        return ""
    source = paper.document()
    return (
        f" Rows marked (paper) are published for {source['model']} ({source['source']}): another model, other prompts "
        "and other scales, part of no mean here."
    )


_MASKED = {
    Quantity.FINAL: "no forgetting of a target that was trained last",
    Quantity.FORGETTING: "a target that was trained last",
    Quantity.AVERAGE: "no trained reward was measured",
    Quantity.BACKWARD: "a reward that was trained last, or never",
    Quantity.FORWARD: "a reward that was trained first, or never",
    Quantity.LEARNED: "a reward that was never trained",
    Quantity.PLASTICITY: "a reward that was never trained",
}
