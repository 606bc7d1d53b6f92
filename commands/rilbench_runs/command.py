"""List, show, delete and clean up the runs of a store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rilbench.cli.options import AsJson
from rilbench.cli.output import echo, print_fields, print_json, print_result, print_table, warn
from rilbench.contracts.errors import ConfigError

if TYPE_CHECKING:
    from rilbench_runs.cleaning import Removable
    from rilbench_runs.inventory import KeptRun

app = typer.Typer(help=__doc__, no_args_is_help=True)
Store = Annotated[Path, typer.Argument(metavar="[STORE]", help="Folder of the store")]
InStore = Annotated[Path, typer.Option("--store", help="Store of the named runs")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only print what would be deleted")]
Yes = Annotated[bool, typer.Option("--yes", "-y", help="Delete without asking")]
RUNS = Path("runs")


@app.command("list")
def list_runs(store: Store = RUNS, as_json: AsJson = False) -> None:
    """List the runs of a store with status, stages, size, date, and settings that differ within a label."""
    from rilbench.analysis.methods import differing, settings_of
    from rilbench_runs.inventory import runs_in

    runs = runs_in(store)
    results = [run.result for run in runs if run.result]
    apart: Mapping[str, Any] = {}
    with suppress(ConfigError):  # `show` reports the fault
        apart = differing(results, settings_of(results))
    rows = [_listed(run) | {"differs": apart.get(run.folder.name, {})} for run in runs]
    if as_json:
        print_json(rows)
        return
    head = ["run", "label", "strategy", "rewards", "seed", "status", "stages", "size", "changed", "differs in"]
    print_table(head, [[_cell(key, value) for key, value in each.items() if key != "damage"] for each in rows])
    for damage in (run.damage for run in runs if run.damage):
        warn(damage)


@app.command()
def show(
    run: Annotated[str, typer.Argument(metavar="RUN", help="Folder of a run, or its name in the store")],
    store: InStore = RUNS,
    as_json: AsJson = False,
) -> None:
    """Show the stages of a run and what each was trained on, the settings and results."""
    from rilbench.analysis.sources import load_settings
    from rilbench.store.layout import Store
    from rilbench_runs.chain import chain_of
    from rilbench_runs.inventory import find

    (kept,) = find([run], store)
    row = _listed(kept)
    files = Store(kept.folder.parent)
    settings = load_settings(kept.result) if kept.result else {}
    stages_of = chain_of(kept.result, settings, kept.folder) if kept.result else []
    stages = [str(files.stage(stage).folder) for stage in sorted(kept.stages)]
    if as_json:
        result = kept.result.to_json() if kept.result else None
        print_json(
            row
            | {
                "folder": str(kept.folder),
                "settings": settings,
                "chain": stages_of,
                "stage_folders": stages,
                "result": result,
            }
        )
        return
    fields = {key: _cell(key, value) for key, value in row.items() if value not in ("", None, {})}
    command = {"repeat": kept.result.command} if kept.result and kept.result.command else {}
    print_fields(fields | {"folder": str(kept.folder), "stage folders": "\n".join(stages)} | command)
    if stages_of:
        print_table(list(stages_of[0]), [[_cell(key, value) for key, value in each.items()] for each in stages_of])
    print_table(["setting", "value"], [[key, str(value)] for key, value in settings.items()])
    if kept.result and kept.result.matrix.rows:
        print_result(kept.result)


@app.command()
def remove(
    run: Annotated[list[str], typer.Argument(metavar="RUN...", help="Folders of runs, or their names in the store")],
    store: InStore = RUNS,
    yes: Yes = False,
    dry_run: Dry = False,
) -> None:
    """Delete runs, and the stages and evaluations that no other run of the store needs."""
    from rilbench_runs.cleaning import of_runs
    from rilbench_runs.inventory import find

    runs = find(run, store)
    removable: list[Removable] = []
    for folder in dict.fromkeys(each.folder.parent for each in runs):
        removable += of_runs([each for each in runs if each.folder.parent == folder], warn)
    _delete(removable, yes=yes, dry_run=dry_run)


@app.command()
def clean(store: Store = RUNS, yes: Yes = False, dry_run: Dry = False) -> None:
    """Delete what no run needs: temporary files, unused stages and evaluations, checkpoints of trained stages.

    Keeps everything that another process is using or that changed in the last hour.
    """
    from rilbench_runs.cleaning import of_store

    _delete(of_store(store, warn), yes=yes, dry_run=dry_run)


def _delete(removable: Sequence[Removable], *, yes: bool, dry_run: bool) -> None:
    """Print what would be deleted and its size, ask, and delete."""
    from rilbench_runs.cleaning import delete

    for each in removable:
        echo(f"{_bytes(each.size):>9}  {each.path}  ({each.why})")
    total = f"{len(removable)} to delete, {_bytes(sum(each.size for each in removable))}"
    echo(total if removable else "nothing to delete", err=True)
    if not removable or dry_run:
        return
    if not yes and not typer.confirm("Delete?", err=True):
        raise typer.Exit(1)
    delete(removable)


def _listed(run: KeptRun) -> dict[str, Any]:
    result, planned = run.result, run.planned
    rows = len(result.matrix.rows) if result else 0
    return {
        "name": run.folder.name,
        "label": result.label if result else "",
        "strategy": result.strategy if result else "",
        "rewards": list(result.rewards) if result else [],
        "seed": result.seed if result else None,
        "status": run.status,
        "stages": f"{max(0, rows - 1)} of {len(planned) - 1}" if planned else str(max(0, rows - 1)),
        "size": run.size(),
        "changed": run.changed.isoformat(timespec="seconds"),
        "damage": run.damage,
    }


def _cell(key: str, value: Any) -> str:
    if key == "size":
        return _bytes(value)
    if key == "changed":
        return str(value)[:16].replace("T", " ")
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {text}" for name, text in value.items())
    return ", ".join(value) if isinstance(value, list) else "" if value is None else str(value)


def _bytes(count: int) -> str:
    from rich.filesize import decimal

    return decimal(count)
