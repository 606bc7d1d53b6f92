"""`rilbench compare`."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from rilbench.analysis.quantities import Quantity
from rilbench.cli.options import AsJson
from rilbench.cli.output import echo, print_json, stdout, warn
from rilbench.contracts.errors import UsageError

if TYPE_CHECKING:
    from rilbench.analysis.comparison import Comparison
    from rilbench.contracts.result import RunResult


class Format(StrEnum):
    """How results are printed."""

    TERMINAL = "terminal"
    MARKDOWN = "markdown"
    LATEX = "latex"
    CSV = "csv"
    JSON = "json"


Sources = Annotated[list[str], typer.Argument(help="Run folders, stores, study folders or MLflow addresses; any mix")]
Wanted = Annotated[
    Quantity, typer.Option("--quantity", "-q", help="The quantity to compare; final includes forgetting")
]
Against = Annotated[str | None, typer.Option(help="The strategy to test the others against [default: rid]")]
SingleGain = Annotated[
    str | None,
    typer.Option(help="The strategy whose single-stage gains are a unit of averages [default: baseline, or --against]"),
]
Strategies = Annotated[str | None, typer.Option(help="Show only these strategies, in this order: rid,baseline")]
Rewards = Annotated[str | None, typer.Option("--rewards", "-r", help="Show only runs of this order: aesthetic,hps")]
Means = Annotated[bool, typer.Option("--means", help="Show only the means over orders and seeds")]
Exchange = Annotated[
    bool, typer.Option("--exchange", help="Show the effect of one stage of every reward on every metric instead")
]
Paper = Annotated[bool, typer.Option("--paper", help="Also show the paper's numbers (different base model)")]
Chosen = Annotated[Format | None, typer.Option("--format", "-f", help="Output format [default: terminal]")]
AsMarkdown = Annotated[bool, typer.Option("--markdown", help="Print Markdown")]


def compare(
    sources: Sources,
    quantity: Wanted = Quantity.FINAL,
    against: Against = None,
    single_gain_of: SingleGain = None,
    strategies: Strategies = None,
    rewards: Rewards = None,
    means: Means = False,
    exchange: Exchange = False,
    paper: Paper = False,
    format: Chosen = None,
    as_json: AsJson = False,
    as_markdown: AsMarkdown = False,
) -> None:
    """Compare finished runs: per order, as means, and by statistical tests."""
    from rilbench.analysis.comparison import compare as compared
    from rilbench.analysis.sources import load_runs
    from rilbench.contracts.expression import items
    from rilbench.contracts.values import split_names
    from rilbench_compare.paper import PUBLISHED

    asked = {f for f in (format, as_json and Format.JSON, as_markdown and Format.MARKDOWN) if f}
    if len(asked) > 1:
        raise UsageError(f"choose one format, not {' and '.join(sorted(asked))}")
    if exchange and (means or paper):
        raise UsageError("--exchange is a table of its own; leave out --means and --paper")
    if paper and quantity not in PUBLISHED:
        raise UsageError(f"--paper: the paper does not report {quantity}; choose {' or '.join(PUBLISHED)}")
    comparison = compared(
        load_runs(sources, _find_runs),
        quantities=(quantity, *([Quantity.FORGETTING] if quantity is Quantity.FINAL else [])),
        against=against,
        single_gain_of=single_gain_of,
        strategies=split_names(strategies) if strategies else None,
        rewards=items(split_names(rewards)) if rewards else None,
        warn=warn,
    )
    _print(comparison, next(iter(asked), Format.TERMINAL), means=means, exchange=exchange, paper=paper)


def _find_runs(source: str) -> Sequence[RunResult]:
    """The runs that a hook plugin finds at an address; plugins are imported only when one is given."""
    from rilbench.cli.options import catalog
    from rilbench.host.hook_caller import HookCaller

    return HookCaller(catalog(), warn).find_runs(source)


def _print(comparison: Comparison, chosen: Format, *, means: bool, exchange: bool, paper: bool) -> None:
    from rilbench.analysis.units import first_reward
    from rilbench_compare import exchange as rates
    from rilbench_compare import formats, records, sheets

    if exchange and not any(map(first_reward, comparison.runs)):
        raise UsageError("--exchange: no run has a first stage that trained one reward alone")
    if chosen in (Format.JSON, Format.CSV):
        whole = {"exchange": rates.records(comparison)} if exchange else None
        tables = whole or records.records(comparison, only_means=means, published=paper)
        print_json(tables) if chosen is Format.JSON else echo(records.as_csv(tables), nl=False)
        return
    shown = rates.sheets(comparison) if exchange else sheets.sheets(comparison, only_means=means, published=paper)
    if chosen is Format.TERMINAL:
        console = stdout()
        for sheet in shown:
            formats.show(sheet, console)
    else:
        layout = formats.markdown if chosen is Format.MARKDOWN else formats.latex
        echo("\n".join(map(layout, shown)), nl=False)
