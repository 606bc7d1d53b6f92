"""`rilbench fetch`."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import cache, partial
from typing import TYPE_CHECKING, Annotated, Any

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
    requested,
)
from rilbench.cli.output import print_fields, print_json, print_table, prints_on_stderr
from rilbench.contracts.redact import public
from rilbench.files.published import is_present, place_of

if TYPE_CHECKING:
    from rilbench.contracts.files import NeededFile
    from rilbench.engine.config import RunConfig
    from rilbench.engine.progress import Reporter
    from rilbench_fetch.download import OnBytes
    from rilbench_fetch.fetch import State

Check = Annotated[bool, typer.Option("--check", help="List the files and their states; download nothing")]


def fetch(
    settings: Settings = None,
    strategy: Strategy = None,
    rewards: Rewards = None,
    after: After = None,
    config: RunConfiguration = None,
    seed: Seed = None,
    plugin: Plugins = None,
    quiet: Quiet = False,
    check: Check = False,
    as_json: AsJson = False,
) -> None:
    """Download the published files a run needs.

    Takes the options of `rilbench run`, which then works offline. Downloads resume and are verified by size and hash.
    Exit code 0: all files are present.
    """
    from rilbench.engine import unused_settings
    from rilbench.engine.after import read_kept
    from rilbench.engine.components import Components
    from rilbench.engine.parts import Parts
    from rilbench.engine.plan import planned_stages
    from rilbench_fetch import fetch as fetching

    asked = requested(config, settings, plugin, quiet=quiet, strategy=strategy, rewards=rewards, after=after, seed=seed)
    with prints_on_stderr():
        parts = Parts(asked.config, asked.catalog, read_kept(asked.config, asked.catalog))
        parts.check()
        stages = planned_stages(asked.config, Components(parts))
        unused_settings.require_none(unused_settings.find(asked.given, parts, stages))
        work = fetching.check if check or _offline() else fetching.fetch
        states = work(asked.config, parts, partial(_bar, asked.reporter))
    _show(states, asked.config, as_json)
    raise typer.Exit(0 if all(state.state == fetching.PRESENT for state in states) else 1)


def _offline() -> bool:
    from huggingface_hub import constants

    return bool(constants.is_offline_mode())


@contextmanager
def _bar(reporter: Reporter, file: NeededFile) -> Iterator[OnBytes]:
    """The progress bar of a file, shown from its first bytes on."""
    if is_present(file):  # hashing a large file takes a while
        reporter.say(f"checking {file.name}")
    with ExitStack() as stack:
        download = cache(lambda: stack.enter_context(reporter.work(f"downloading {file.name}", "kB")))
        yield lambda there, size: download()(there // 1000, (size or there) // 1000, "")


def _show(states: list[State], config: RunConfig, as_json: bool) -> None:
    from rilbench.files.hub import INDEX
    from rilbench_fetch.fetch import PRESENT, prompts_line

    if as_json:
        print_json([_told(state) for state in states])
        return
    if states:
        print_table(["file", "for", "from", "licence", "size", "state"], [_row(state) for state in states])
    lines = {state.need.file.name: state.reason for state in states if state.reason}
    index = [state for state in states if state.need.file.name == INDEX and not is_present(state.need.file)]
    lines |= {"model": f"{INDEX} is missing; the weights are listed once it is downloaded"} if index else {}
    lines |= {"offline": "HF_HUB_OFFLINE is set; nothing was downloaded"} if _offline() else {}
    if absent := sum(state.state != PRESENT for state in states):
        lines["files"] = f"{absent} of {len(states)} are missing or not as published"
    else:
        lines["prompts"] = prompts_line(config)
        lines["files"] = f"all {len(states)} are present" if states else "this run needs none"
    print_fields(lines)


def _row(state: State) -> list[str]:
    from rich.filesize import decimal

    file, size = state.need.file, state.size
    shown = decimal(size) if size else "?"
    return [file.name, ", ".join(state.need.by), file.origin, file.licence or "-", shown, state.state]


def _told(state: State) -> dict[str, Any]:
    file = state.need.file
    told: dict[str, Any] = {"name": file.name, "for": list(state.need.by), "source": public(file.source)}
    told |= {"place": str(place_of(file)), "licence": file.licence, "size": state.size, "sha256": file.sha256}
    return told | {"md5": file.md5, "state": state.state, "reason": state.reason}
