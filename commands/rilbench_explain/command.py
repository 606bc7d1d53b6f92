"""`rilbench explain` and `rilbench settings`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rilbench.cli.options import (
    After,
    AsJson,
    Plugins,
    Quiet,
    Rewards,
    RunConfiguration,
    Seed,
    Settings,
    Strategy,
    catalog,
    requested,
)
from rilbench.cli.output import echo, print_fields, print_json, print_table, prints_on_stderr, warn

if TYPE_CHECKING:
    from rilbench_explain.reference import Section

Key = Annotated[str | None, typer.Argument(help="A setting such as train.lr, or a section such as train")]


def explain(
    settings: Settings = None,
    strategy: Strategy = None,
    rewards: Rewards = None,
    after: After = None,
    config: RunConfiguration = None,
    seed: Seed = None,
    plugin: Plugins = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Print the plan, settings and estimated cost of a run; train nothing.

    If files are missing, list them and the command that gets them instead of the estimates.
    """
    from rilbench.engine.run import prepare
    from rilbench.files.published import MissingFilesError
    from rilbench_explain.explain import explain as explained
    from rilbench_explain.explain import outline
    from rilbench_explain.view import show

    asked = requested(config, settings, plugin, quiet=quiet, strategy=strategy, rewards=rewards, after=after, seed=seed)
    with prints_on_stderr():
        try:
            prepared = prepare(asked.config, asked.catalog, asked.reporter.warn, asked.given)
            plan = explained(asked.config, *prepared, asked.reporter)
        except MissingFilesError as missing:
            plan = outline(asked.config, asked.catalog, missing, asked.given)
    if as_json:
        print_json(plan)
    else:
        show(plan)


def settings(key: Key = None, plugin: Plugins = None, as_json: AsJson = False) -> None:
    """Print the meaning, type, range and default of every setting."""
    from rilbench_explain import reference

    with prints_on_stderr():
        known = catalog(plugin)
        found = reference.find(key, known, warn) if key else list(reference.sections(known, warn))
    if as_json:
        print_json([reference.fields(one) for section in found for one in section.settings])
    else:
        _show(found, key)


def _show(found: list[Section], key: str | None) -> None:
    from rilbench_explain.reference import fields

    rows = [fields(one) for section in found for one in section.settings]
    if not rows:
        echo(f"{key} has no settings")
    elif len(rows) == 1 and rows[0]["key"] == key:
        print_fields({name: value for name, value in rows[0].items() if value})
    else:
        print_table(list(rows[0]), [list(row.values()) for row in rows])
