"""`rilbench run`."""

from __future__ import annotations

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
    requested,
)
from rilbench.cli.output import print_json, print_outcome, prints_on_stderr


def run(
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
    """Train on one reward after another and measure every metric.

    Rerunning the command prints the stored result; an interrupted run resumes.
    """
    asked = requested(config, settings, plugin, quiet=quiet, strategy=strategy, rewards=rewards, after=after, seed=seed)
    with prints_on_stderr():
        outcome = asked.run()
    if as_json:
        print_json(outcome.result.to_json() | {"folder": str(outcome.folder)})
    else:
        print_outcome(outcome)
