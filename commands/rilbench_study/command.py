"""`rilbench study`."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated

import typer

from rilbench.cli.options import AsJson, Plugins, Quiet, Rewards, Settings, catalog
from rilbench.cli.output import print_fields, print_json, prints_on_stderr, stdout, warn

if TYPE_CHECKING:
    from rilbench_study.graph import Graph
    from rilbench_study.run import StudyRun

FAILED = 4  # exit code of a study some of whose runs failed

Strategies = Annotated[str | None, typer.Option("--strategies", "-s", help="Strategies to compare: rid,baseline")]
Orders = Annotated[
    list[str] | None,
    typer.Option("--orders", help="all, random:N, or an order such as hps,aesthetic (repeatable)"),
]
Seeds = Annotated[str | None, typer.Option(help="Number of seeds (3 means 0, 1, 2), or a list: 0,5,7")]
StudyFile = Annotated[str | None, typer.Option("--config", "-c", help="A study file, or the name of an included one")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Print the plan and its cost; train nothing")]
Time = Annotated[
    bool, typer.Option("--time", help="With --dry-run: time two forward passes where the store has no timings")
]
Workers = Annotated[int, typer.Option(min=1, help="Number of processes that share the work")]


def study(
    settings: Settings = None,
    strategies: Strategies = None,
    rewards: Rewards = None,
    orders: Orders = None,
    seeds: Seeds = None,
    config: StudyFile = None,
    dry_run: DryRun = False,
    time: Time = False,
    workers: Workers = 1,
    plugin: Plugins = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Run strategies x orders x seeds; stages that several runs share are trained once.

    Rerunning the command resumes an interrupted study, repeats failed runs, and prints the results of a finished
    study. Exit code 4: some runs failed, the others finished.
    """
    from rilbench.engine.secret_settings import command_line
    from rilbench_study import definition
    from rilbench_study.cells import make_cells
    from rilbench_study.graph import Graph
    from rilbench_study.run import StudyRun

    with prints_on_stderr():
        found = catalog(plugin)
        asked = definition.load(
            config,
            settings or (),
            strategies=strategies,
            rewards=rewards,
            orders=orders or (),
            seeds=seeds,
            catalog=found,
        )
        graph = Graph(make_cells(asked, found, warn), probe=time or not dry_run)
    if dry_run:
        print_json(graph.to_json(workers)) if as_json else _print_plan(graph, workers)
        return
    if not quiet:
        _print_plan(graph, workers, err=True)
    command = command_line(sys.argv[1:], found)
    run = StudyRun(asked, graph, found, workers=workers, command=command, plugins=plugin or (), quiet=quiet)
    with prints_on_stderr():
        run.run()
        lines = run.finish()
    _show(run, lines, as_json)
    raise typer.Exit(FAILED if run.failures else 0)


def _print_plan(graph: Graph, workers: int, *, err: bool = False) -> None:
    from rilbench.engine.progress import duration
    from rilbench_study.overview import print_plan
    from rilbench_study.timings import NOTHING

    if graph.seconds:
        print_plan(graph, err=err)
        orders = "; ".join(" > ".join(order) for order in graph.orders)
        among = "" if workers == 1 else f", shared by {workers} workers"
        known = f"{duration(60 * graph.minutes(workers))}{among} ({graph.how})" if not graph.took[NOTHING] else ""
        print_fields({"orders": orders, "time": known or graph.how}, err=err)


def _show(run: StudyRun, plugin_lines: dict[str, str], as_json: bool) -> None:
    from rilbench.analysis.comparison import compare
    from rilbench.analysis.quantities import Quantity
    from rilbench_compare import formats, records, sheets
    from rilbench_study.overview import print_failed

    results, failed = run.finished, run.failed_json()
    compared = compare(results, quantities=[Quantity.FINAL], warn=warn) if results else None
    if as_json:
        values = {"name": run.study.name, "folder": str(run.folder), "failed": failed, "plugins": plugin_lines}
        overview = records.records(compared, only_means=True) if compared else {}
        print_json(values | {"finished": [result.name for result in results], "overview": overview})
        return
    for sheet in sheets.sheets(compared, only_means=True) if compared else []:
        formats.show(sheet, stdout())
    if failed:
        print_failed(failed)
    print_fields(_pointers(run) | plugin_lines)


def _pointers(run: StudyRun) -> dict[str, str]:
    """Where the results are, and the commands to continue."""
    from rilbench.store.layout import RunFiles

    lines = {"study": str(RunFiles(run.folder).study)}
    if run.failures:
        lines["continue"] = f"{run.command}  (repeats the failed runs only)"
        lines["one"] = f"{run.failed[0].command(run.plugins)}  (repeats the first failed run alone)"
    else:
        lines["repeat"] = run.command
    return lines
