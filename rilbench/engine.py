"""A run, from configuration to result: plan, train, measure, report to the hooks."""

from __future__ import annotations

import shlex
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from rilbench import config as configuration
from rilbench import environment, identity
from rilbench.components import Components, versions
from rilbench.config import RunConfig
from rilbench.errors import RilbenchError
from rilbench.host import requirements
from rilbench.host.catalog import Catalog
from rilbench.host.moments import Moments, Warn
from rilbench.plan import PlannedStage, make_plan
from rilbench.progress import Reporter
from rilbench.report.grid import save_grid
from rilbench.report.tables import markdown
from rilbench.result import ResultMatrix, Row, RunResult
from rilbench.session import Session
from rilbench.store import read_json, write_json, write_text

LONGEST = 120  # characters of a run's name that are its rewards


def prepare(config: RunConfig, catalog: Catalog, warn: Warn) -> tuple[Components, list[PlannedStage]]:
    """Check everything that can be checked without loading a weight, and plan; `warn` hears of broken plugins."""
    requirements.check(config.requires)
    catalog.survey(warn)
    return planned_run(config, catalog)


def planned_run(config: RunConfig, catalog: Catalog) -> tuple[Components, list[PlannedStage]]:
    """The checked components and the plan of a run whose plugins are looked through and whose files are there."""
    components = checked(config, catalog)
    return components, planned(config, components)


def checked(config: RunConfig, catalog: Catalog) -> Components:
    """The components of a configuration whose names, settings and files are all there."""
    from rilbench.fetch.needed import require
    from rilbench.model.loading import pick_device
    from rilbench.prompts import read_prompts

    components = Components(config, catalog, device=pick_device(config.model.device))
    components.check()
    require(config, components)
    read_prompts(config.evaluate.prompts)
    return components


def planned(config: RunConfig, components: Components) -> list[PlannedStage]:
    """The plan of a run. Its configuration may differ from that of the components in the order of rewards and in the
    seed."""
    from rilbench.prompts import read_prompts

    plan = make_plan(config, components)
    for path in {stage.train.prompts for stage in plan if stage.train is not None}:
        read_prompts(path)
    return plan


class Outcome(NamedTuple):
    """A finished run: its folder, its result, and where its hook plugins put it (name to text)."""

    folder: Path
    result: RunResult
    summary: dict[str, str]


def run(
    config: RunConfig, *, catalog: Catalog, reporter: Reporter, command: str = "", moments: Moments | None = None
) -> Outcome:
    """Do what is not in the store yet.

    A finished stage is never trained again, so the same call continues a stopped run and repeats a finished one
    at once. `moments` are the hook plugins when they serve several runs; by default every run has its own.
    """
    config = identity.pinned(config)
    components, plan = prepare(config, catalog, reporter.warn)
    reporter.stages = sum(planned.train is not None for planned in plan)
    if moments is None:
        moments = Moments(catalog, reporter.warn, enabled=config.tracking)
    folder, result = _open(config, components, plan, command, hooks=list(moments.managers))
    moments.run_started(folder=folder, result=result)
    session = Session(config, components, plan, reporter)
    rows: list[Row] = []
    finished = _finished(folder)
    try:
        session.check_memory()
        for i, planned in enumerate(plan):
            rows.append(session.row(planned))
            result = replace(result, matrix=ResultMatrix(tuple(rows), result.matrix.metrics))
            if not finished:
                write_json(folder / "result.json", result.to_json())
            moments.stage_finished(folder=folder, result=result, stage=i)
        result = replace(result, status="finished")
        write_result(folder, result, session)
    except BaseException as error:
        result = replace(result, status="failed")
        with suppress(RilbenchError):  # a full disk must not hide the error
            write_json(folder / "result.json", result.to_json())
        moments.run_failed(folder=folder, result=result, error=error)
        raise
    moments.run_finished(folder=folder, result=result)
    return Outcome(folder, result, moments.summary(folder=folder, result=result))


def _finished(folder: Path) -> bool:
    """Whether the folder holds a finished result, which a repetition must not replace by a partial one."""
    file = folder / "result.json"
    return file.exists() and read_json(file).get("status") == "finished"


def run_name(config: RunConfig, components: Components, plan: list[PlannedStage]) -> str:
    """Label, rewards and seed for people; the hash of the plan and of what is measured for uniqueness."""
    document = [[planned.id for planned in plan], components.evaluation_document()]
    label, rewards = config.label or config.strategy, "-".join(config.rewards)
    if len(rewards) > LONGEST:  # of a long sequence; file systems take 255 characters
        rewards = f"{rewards[:LONGEST]}-{identity.digest(rewards)[:8]}"
    return f"{label}-{rewards}-seed{config.seed}-{identity.digest(document)[:8]}"


def repeat_command(arguments: list[str]) -> str:
    """The shell line of a run."""
    return shlex.join(["rilbench", *arguments])


def _open(
    config: RunConfig, components: Components, plan: list[PlannedStage], command: str, *, hooks: list[str]
) -> tuple[Path, RunResult]:
    name = run_name(config, components, plan)
    folder = Path(config.store) / name
    if not (folder / "environment.json").exists():
        write_json(folder / "environment.json", environment.describe(components.device))
    write_text(folder / "config.yaml", configuration.to_yaml(config))
    used = {
        "strategy": sorted({config.strategy, *(planned.by for planned in plan if planned.by)}),
        "reward": [r for r in components.metric_names() if components.metric_kind(r) == "reward"],
        "metric": [m for m in components.metric_names() if components.metric_kind(m) == "metric"],
        "hook": hooks,
    }
    return folder, RunResult(
        name=name,
        strategy=config.strategy,
        label=config.label,
        rewards=tuple(config.rewards),
        seed=config.seed,
        matrix=ResultMatrix((), components.metric_infos()),
        command=command,
        plugins=versions(components.catalog, used),
    )


def write_result(folder: Path, result: RunResult, session: Session) -> None:
    """The files of a finished result: table, pictures, numbers."""
    write_text(folder / "table.md", markdown(result) + "\n")
    save_grid(
        folder / "samples.png",
        columns=[(row.label, folder.parent / row.evaluation) for row in result.matrix.rows],
        prompts=session.prompts[: session.config.evaluate.samples],
    )
    write_json(folder / "result.json", result.to_json())
