"""`rilbench run` and `explain`."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

import typer

from rilbench.cli.options import AsJson, Config, Given, Quiet, Rewards, Seed, Settings, Strategy, catalog
from rilbench.cli.output import print_json, print_outcome, quiet_libraries, stdout
from rilbench.engine.terminal import Terminal

if TYPE_CHECKING:
    from rilbench.engine.memo import Outcome


def run(
    settings: Settings = None,
    strategy: Strategy = None,
    rewards: Rewards = None,
    config: Config = "shapes",
    seed: Seed = None,
    plugin: Given = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Train a sequence of rewards and measure every metric after each.

    The same command again continues a stopped run, or prints a finished one at once.
    """
    from rilbench.engine.request import Request

    quiet_libraries()
    chosen = {"strategy": strategy, "rewards": rewards, "seed": seed}
    request = Request.of(config, settings or (), plugin or (), quiet=quiet, arguments=sys.argv[1:], **chosen)
    try:
        with redirect_stdout(sys.stderr):  # whatever a plugin prints; stdout is for results
            outcome = request.run()
    except KeyboardInterrupt:  # Typer would turn it into a silent exit
        Terminal(stderr=True).print("interrupted; finished work is kept, the same command continues")
        raise typer.Exit(130) from None
    _show(outcome, as_json)


def _show(outcome: Outcome, as_json: bool) -> None:
    if as_json:
        print_json(outcome.result.to_json() | {"folder": str(outcome.folder)})
    else:
        print_outcome(outcome)


def explain(
    settings: Settings = None,
    strategy: Strategy = None,
    rewards: Rewards = None,
    config: Config = "shapes",
    seed: Seed = None,
    plugin: Given = None,
    quiet: Quiet = False,
    as_json: AsJson = False,
) -> None:
    """Print the plan, the resolved settings and an estimate of time and memory; train nothing.

    Without the model's or other needed files it prints all but the estimates, what is missing, and how to get it.
    """
    from rilbench.engine.config import load
    from rilbench.engine.layers import values_of
    from rilbench.engine.progress import Reporter
    from rilbench.engine.run import prepare
    from rilbench.files.published import MissingFilesError
    from rilbench_explain.explain import explain as explained
    from rilbench_explain.explain import outline
    from rilbench_explain.view import show

    quiet_libraries()
    loaded = load(config, settings or (), strategy=strategy, rewards=rewards, seed=seed)
    reporter = Reporter(quiet=quiet)
    with redirect_stdout(sys.stderr):
        known, given = catalog(plugin), values_of(settings or ())
        try:
            told = explained(loaded, *prepare(loaded, known, reporter.warn, given), reporter)
        except MissingFilesError as absent:
            told = outline(loaded, known, absent, given)
    if as_json:
        print_json(told)
    else:
        show(told, stdout())
