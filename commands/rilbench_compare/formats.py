"""Formats tables for the terminal, Markdown and LaTeX."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from rich.console import Console
from rich.table import Table
from rich.text import Text

from rilbench.store.tables import Marked, escaped, markdown_table

STAR = "*"  # the test over seeds
DAGGER = "†"  # the test over seeds x prompts
WIDE = 7  # columns from which a LaTeX table is scaled to the width of the text
STACK = 16  # characters; a longer note is printed below its value in a terminal
ORDER = 20  # characters; a longer label is wrapped in a terminal
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
    """A text with the marks of its tests and a note in brackets next to or below it; the best is bold."""

    text: str
    note: str = ""
    bold: bool = False
    mark: str = ""


@dataclass(frozen=True)
class Sheet:
    """A table: column names and rows of cells; an empty row is a rule. The first `names` columns identify a row."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    names: int = 1
    caption: str = ""

    def explained(self) -> str:
        """The caption; it explains bold if a cell is bold."""
        has_bold = any(cell.bold for row in self.rows for cell in row)
        return f"Bold: the best mean. {self.caption}" if has_bold else self.caption


def rank(value: float) -> str:
    """A mean rank; `-` where a method is not ranked."""
    return "-" if math.isnan(value) else f"{value:.2f}".rstrip("0").rstrip(".")


def show(sheet: Sheet, console: Console) -> None:
    """Print a sheet; columns that do not fit follow below, with the names repeated."""
    wide = console.options.update(width=10_000)
    left = list(range(sheet.names, len(sheet.head)))
    while left:
        tables = (_table(sheet, left[:n]) for n in range(len(left), 0, -1))
        fits = (table for table in tables if console.measure(table, options=wide).maximum <= console.width)
        table = next(fits, _table(sheet, left[:1]))
        console.print(table)
        left = left[len(table.columns) - sheet.names :]
    console.print(Text(sheet.explained() if console.is_terminal else sheet.caption, style="dim"))
    console.print()


def markdown(sheet: Sheet) -> str:
    """Title, table and caption."""
    n = sheet.names
    rows = [
        [*(cell.text for cell in row[:n]), *(Marked(_markdown_cell(cell)) for cell in row[n:])]
        for row in sheet.rows
        if row
    ]
    return f"**{escaped(sheet.title)}**\n\n{markdown_table(sheet.head, rows)}\n\n{escaped(sheet.explained())}\n"


def latex(sheet: Sheet) -> str:
    """A `table` environment that uses the package booktabs."""
    rows = [" & ".join(map(_latex_cell, row)) + r" \\" if row else r"\midrule" for row in sheet.rows]
    layout = "l" * sheet.names + "r" * (len(sheet.head) - sheet.names)
    wide = len(layout) >= WIDE
    lines = [
        rf"\begin{{table}}  % \usepackage{{booktabs{',graphicx' if wide else ''}}}",
        r"\centering",
        rf"\caption{{{_latex(sheet.title)}. {_latex(sheet.explained())}}}",
        *([r"\resizebox{\textwidth}{!}{%"] if wide else []),
        rf"\begin{{tabular}}{{{layout}}}",
        r"\toprule",
        " & ".join(map(_latex, sheet.head)) + r" \\",
        r"\midrule",
        *rows,
        r"\bottomrule",
        rf"\end{{tabular}}{'}' if wide else ''}",
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _markdown_cell(cell: Cell) -> str:
    value = f"**{cell.text}**" if cell.bold else cell.text
    return f"{value}{cell.mark.replace('*', chr(92) + '*')} {cell.note}".rstrip()


def _latex_cell(cell: Cell) -> str:
    value = rf"\textbf{{{_latex(cell.text)}}}" if cell.bold else _latex(cell.text)
    return f"{value}{MARKS[cell.mark]} {_latex(cell.note)}".rstrip()


def _latex(text: str) -> str:
    """Plain text as LaTeX, with proper minus signs in numbers."""
    escaped = "".join(LATEX.get(character, character) for character in text)
    return re.sub(r"(?<![\w.])-(?=\d)", "$-$", escaped)


def _table(sheet: Sheet, columns: Sequence[int]) -> Table:
    """The table with some of the columns; only headers may wrap, between words."""
    table = Table(title=Text(sheet.title))
    for name in sheet.head[: sheet.names]:
        table.add_column(name, max_width=ORDER)
    for i in columns:
        texts = [line for row in sheet.rows if row for line in str(_cell(row[i])).splitlines()]
        width = max(map(len, (*texts, *sheet.head[i].split())))
        table.add_column(Text(sheet.head[i]), justify="right", width=width)
    for row in sheet.rows:
        cells = (*range(sheet.names), *columns)
        table.add_row(*(_cell(row[i]) for i in cells)) if row else table.add_section()
    return table


def _cell(cell: Cell) -> Text:
    text = Text(cell.text, style="bold" if cell.bold else "").append(cell.mark, style="not bold")
    if cell.note:
        joint = "\n" if len(text) + len(cell.note) >= STACK else " "
        text.append(f"{joint}{cell.note}", style="not bold")
    return text
