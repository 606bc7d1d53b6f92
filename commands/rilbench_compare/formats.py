"""A table as text, laid out for a terminal, in Markdown, in LaTeX."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rilbench.store.tables import Marked, escaped, markdown_table

STAR = "*"  # the test over runs
DAGGER = "†"  # the test over prompts
WIDE = 7  # columns from which a LaTeX table is scaled to the width of the text
STACK = 16  # characters from which a note stands under its value in a terminal
ORDER = 20  # characters a label takes in a terminal before it is broken
LATEX = {
    **{c: f"\\{c}" for c in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "↑": r"$\uparrow$",
    "↓": r"$\downarrow$",
    "±": r"$\pm$",
    "†": r"$\dagger$",
    ">": "$>$",
    "<": "$<$",
    "|": r"\textbar{}",
    "[": "{[}",  # at the beginning of a row it would be an argument of the end of the row above
    "]": "{]}",
    "\n": " ",
}

MARKS = {"": "", STAR: "$^{*}$", DAGGER: r"$^{\dagger}$"}


@dataclass(frozen=True)
class Cell:
    """A value with the marks of its tests and, beside or under it, a note in brackets; bold is the best."""

    value: str
    note: str = ""
    bold: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Line:
    """A row; `rule` draws a line above it."""

    labels: tuple[str, ...]
    cells: tuple[Cell, ...]
    rule: bool = False


@dataclass(frozen=True)
class Sheet:
    """A table: names of the label columns, headers of the columns of cells, rows. `bold` says what bold cells are, for
    where they can be seen."""

    title: str
    labels: tuple[str, ...]
    columns: tuple[str, ...]
    lines: tuple[Line, ...]
    caption: str
    bold: str = ""

    def explained(self) -> str:
        """The caption, with what bold means when a cell is."""
        has_bold = any(cell.bold for line in self.lines for cell in line.cells)
        return f"{self.bold} {self.caption}" if has_bold else self.caption


def show(sheet: Sheet, console: Console) -> None:
    """Print a sheet; columns that do not fit side by side follow below, with the labels again."""
    for columns in _parts(sheet, console.width):
        console.print(_table(sheet, columns))
    console.print(Text(sheet.explained() if console.is_terminal else sheet.caption, style="dim"))
    console.print()


def markdown(sheet: Sheet) -> str:
    """Title, table and caption."""
    rows = [[*line.labels, *map(Marked, map(_markdown_cell, line.cells))] for line in sheet.lines]
    table = markdown_table([*sheet.labels, *sheet.columns], rows)
    return f"**{escaped(sheet.title)}**\n\n{table}\n\n{escaped(sheet.explained())}\n"


def latex(sheet: Sheet) -> str:
    """A `table` for the package booktabs."""
    rows = [[_latex(text) for text in (*sheet.labels, *sheet.columns)]]
    rows += [[*map(_latex, line.labels), *map(_latex_cell, line.cells)] for line in sheet.lines]
    head, *body = (" & ".join(row) + r" \\" for row in rows)
    body = [rf"\midrule{chr(10)}{row}" if line.rule else row for line, row in zip(sheet.lines, body, strict=True)]
    layout = "l" * len(sheet.labels) + "r" * len(sheet.columns)
    wide = len(layout) >= WIDE
    lines = [
        rf"\begin{{table}}  % \usepackage{{booktabs{',graphicx' if wide else ''}}}",
        r"\centering",
        rf"\caption{{{_latex(sheet.title)}. {_latex(sheet.explained())}}}",
        *([r"\resizebox{\textwidth}{!}{%"] if wide else []),
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        head,
        r"\midrule",
        *body,
        r"\bottomrule",
        rf"\end{{tabular}}{'}' if wide else ''}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _markdown_cell(cell: Cell) -> str:
    value = f"**{cell.value}**" if cell.bold else cell.value
    return f"{value}{cell.mark.replace('*', chr(92) + '*')} {cell.note}".rstrip()


def _latex_cell(cell: Cell) -> str:
    value = rf"\textbf{{{_latex(cell.value)}}}" if cell.bold else _latex(cell.value)
    return f"{value}{MARKS[cell.mark]} {_latex(cell.note)}".rstrip()


def _latex(text: str) -> str:
    """Plain text as LaTeX; the minus of a number is one."""
    escaped = "".join(LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)


def _parts(sheet: Sheet, width: int) -> Iterator[list[int]]:
    """The columns in portions that fit into a width beside the labels, at least one in each."""
    labels = [
        min(ORDER, max(len(text) for text in (name, *(line.labels[i] for line in sheet.lines))))
        for i, name in enumerate(sheet.labels)
    ]
    start = sum(labels) + 3 * len(labels) + 1  # a border and two spaces each, the last border
    part, used = [0], start + _width(sheet, 0) + 3
    for i in range(1, len(sheet.columns)):
        needed = _width(sheet, i) + 3
        if used + needed > width:
            yield part
            part, used = [], start
        part.append(i)
        used += needed
    yield part


def _width(sheet: Sheet, column: int) -> int:
    """Characters a column of cells needs; a header may be broken between words."""
    lines = [text for line in sheet.lines for text in str(_cell(line.cells[column])).splitlines()]
    return max(map(len, (*lines, *sheet.columns[column].split())))


def _table(sheet: Sheet, columns: Sequence[int]) -> Table:
    table = Table(title=Text(sheet.title))
    for name in sheet.labels:
        table.add_column(name, max_width=ORDER)
    for i in columns:
        table.add_column(Text(sheet.columns[i]), justify="right", width=_width(sheet, i))
    for line in sheet.lines:
        if line.rule:
            table.add_section()
        table.add_row(*map(Text, line.labels), *(_cell(line.cells[i]) for i in columns))
    return table


def _cell(cell: Cell) -> Text:
    text = Text(cell.value, style="bold" if cell.bold else "").append(cell.mark, style="not bold")
    if cell.note:
        joint = "\n" if len(text) + len(cell.note) >= STACK else " "
        text.append(f"{joint}{cell.note}", style="not bold")
    return text
