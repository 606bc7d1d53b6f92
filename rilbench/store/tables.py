"""The stage x metric table in the paper's form: values, forgetting in brackets, `-` where it is masked."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from rilbench.contracts.result import TRAIN, MetricInfo, ResultMatrix, RunResult

MOST_DECIMALS = 9  # of a table's cell


def header(info: MetricInfo) -> str:
    """Name, unit and direction of a column."""
    return f"{named(info)} {'↑' if info.higher_is_better else '↓'}"


def named(info: MetricInfo) -> str:
    """Name and unit of a column."""
    unit = f" {info.unit}" if info.unit and info.unit.lower() not in info.name.lower() else ""
    return f"{info.name}{unit}"


def number(value: float, like: float | None = None) -> str:
    """Three or four significant digits; `like` fixes the decimals, so that a column lines up."""
    if math.isnan(value):
        return "-"
    size = abs(value if like is None or math.isnan(like) else like)
    decimals = 1 if size >= 100 else 2 if size >= 10 else 3 if size >= 0.1 else 5
    if 0 < size < 1e-3:
        decimals = min(2 - math.floor(math.log10(size)), MOST_DECIMALS)
    return f"{value:z.{decimals}f}"


def headers(result: RunResult) -> list[str]:
    """The names of the columns."""
    return ["stage", *map(header, result.matrix.shown)]


def rows(result: RunResult) -> list[list[str]]:
    """All cells, one list per stage, the stage's label first."""
    matrix = result.matrix
    return [[label, *(_cell(matrix, info.name, i) for info in matrix.shown)] for i, label in enumerate(matrix.labels)]


def _cell(matrix: ResultMatrix, metric: str, stage: int) -> str:
    """A value and, in brackets, how much of the best so far is forgotten."""
    values = matrix.values(metric)
    text = number(values[stage], values[0])
    if stage == 0:
        return text
    lost = "-" if matrix.masked(metric, stage) else number(matrix.forgetting(metric, stage), values[0])
    return f"{text} ({lost})"


def ratios(result: RunResult) -> list[str]:
    """For each stage whose loss has several terms, their gradient norms relative to the first term's."""
    lines = []
    for i, row in enumerate(result.matrix.rows):
        terms = [key.removeprefix("gradient/") for key in row.training if key.startswith("gradient/")]
        shares = [f"{name} {row.training[f'ratio/{name}']:.2g}" for name in terms[1:]]
        if shares:
            lines.append(f"{i} {row.label}: {', '.join(shares)} of {terms[0]}")
    return lines


def on_training_prompts(result: RunResult) -> list[str]:
    """For each stage the gains of the trained rewards from the base, on the evaluation prompts and on training prompts;
    empty if these were not measured."""
    matrix = result.matrix
    measured = {info.name for info in matrix.metrics}
    rewards = [name for name in matrix.trained_rewards() if f"{name}{TRAIN}" in measured]

    def gains(name: str, stage: int) -> str:
        base = matrix.values(name)[0]
        both = [number(matrix.gain(each, 0, stage), base) for each in (name, f"{name}{TRAIN}")]
        return f"{name} {' and '.join(both)}"

    stages = range(1, len(matrix.rows)) if rewards else ()
    return [f"{matrix.labels[i]}: {', '.join(gains(name, i) for name in rewards)}" for i in stages]


def markdown(result: RunResult) -> str:
    """The table in Markdown."""
    return markdown_table(headers(result), rows(result))


def markdown_table(head: Sequence[str], body: Sequence[Sequence[str]]) -> str:
    """A Markdown table of plain texts, the first column left, the others right."""
    lines = [[*map(escaped, head)], ["---", *["---:"] * (len(head) - 1)], *([*map(escaped, line)] for line in body)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


class Marked(str):
    """Markdown text with its own markup, of which only the end of a cell is escaped."""


def escaped(text: str) -> str:
    """A plain text as Markdown on one line, without markup, tags, links or the end of a cell."""
    marks = r"|" if isinstance(text, Marked) else r"\\|`*<\["
    return re.sub(rf"([{marks}])", r"\\\1", " ".join(text.splitlines()))
