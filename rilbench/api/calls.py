"""`rilbench.run`, `rilbench.plan` and `rilbench.load_runs`: what the commands do, as calls.

A call resolves to the same numbers, identities and files as the command line. Every error is a RilbenchError.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rilbench.api.stages import Run, RunStage, usual_modes
from rilbench.engine.progress import Reporter
from rilbench.host.catalog import Catalog
from rilbench.host.hook_caller import HookCaller
from rilbench.store.layout import Store

if TYPE_CHECKING:
    from rilbench.engine.planned import PlannedStage
    from rilbench.engine.request import Request

Names = str | Sequence[str]
Settings = Mapping[str, Any]
Plugins = Sequence[str | type]
OF_STAGES = ("model", "evaluate.seed", "evaluate.batch_size")  # settings that stages of a finished run can be used with


def run(
    *,
    strategy: str | None = None,
    rewards: Names | None = None,
    settings: Settings | None = None,
    after: str | Path | Run | RunStage | None = None,
    config: str | Path | None = None,
    seed: int | None = None,
    store: str | Path | None = None,
    plugins: Plugins = (),
    quiet: bool = False,
) -> Run:
    """Train a sequence of rewards and measure every metric after each, as `rilbench run` does.

    A finished run is returned at once; an interrupted one resumes.

    strategy: `rid`, `baseline`, `joint`, `soup`, `wise_ft` or from a plugin. rewards: names in training order.
    settings: key to value, such as `{"train.lr": 5e-4}`. after: a finished run to continue, or a stage of one, in which
    case `rewards` are those to add. config: the name of a shipped configuration, or a file; it supplies what is not
    given here, by default `shapes`, or the settings of the run to continue. store: the folder of all results. plugins:
    classes, or `module:Class`, of rewards, metrics, strategies and hooks that are not installed. quiet: print warnings
    but no progress on stderr.

    Raises ConfigError for settings that are unknown, out of range or without effect, PluginError for a component that
    is missing or broken, MemoryFullError for a run that does not fit, DivergedError for numbers that are not finite.
    """
    request = _request(
        config,
        settings,
        plugins,
        quiet,
        strategy=strategy,
        rewards=rewards,
        after=_after(after),
        seed=seed,
        store=store,
    )
    with usual_modes():
        outcome = request.run()
    return Run(result=replace(outcome.result, folder=outcome.folder), catalog=request.catalog)


@dataclass(frozen=True, kw_only=True)
class StagePlan:
    """A stage of a planned run. `rewards` maps names to weights; `train` are its training settings, None for the
    untouched model, which comes first, and for merges. `stored`: True if the store has everything of the stage. `kept`:
    True for a stage of the run that is continued."""

    label: str
    rewards: Mapping[str, float]
    id: str
    stored: bool
    train: Mapping[str, Any] | None
    kept: bool = False


def plan(
    *,
    strategy: str | None = None,
    rewards: Names | None = None,
    settings: Settings | None = None,
    after: str | Path | Run | RunStage | None = None,
    config: str | Path | None = None,
    seed: int | None = None,
    store: str | Path | None = None,
    plugins: Plugins = (),
) -> list[StagePlan]:
    """The stages that `run` with the same arguments goes through. Nothing is trained and no weight is loaded.

    Raises ConfigError and PluginError as `run` does.
    """
    from rilbench.engine import identity
    from rilbench.engine.run import prepare

    request = _request(
        config, settings, plugins, True, strategy=strategy, rewards=rewards, after=_after(after), seed=seed, store=store
    )
    pinned = identity.pinned(request.config)
    components, stages = prepare(pinned, request.catalog, request.reporter.warn, request.given)
    evaluation = identity.digest(components.parts.evaluation_document)
    return [
        StagePlan(
            label=planned.stage.label if planned is not stages[0] else "base",
            rewards=dict(planned.stage.rewards),
            id=planned.id,
            stored=all(stored(planned, pinned.store, evaluation)),
            train=asdict(planned.training) if planned.training else None,
            kept=planned.kept,
        )
        for planned in stages
    ]


def stored(planned: PlannedStage, store: str, evaluation: str) -> tuple[bool, bool]:
    """Whether a stage is trained, or needs no training, and whether it is measured.

    evaluation: the identity of what is measured.
    """
    from rilbench.model.files import has_pair

    files = Store(Path(store)).stage(planned.id)
    trained = planned.train is None or has_pair(files.folder)
    return trained, files.evaluation(evaluation).numbers.exists()


def load_runs(*sources: str | Path, settings: Settings | None = None, plugins: Plugins = ()) -> list[Run]:
    """The finished runs at all sources, each once, as `rilbench compare` finds them.

    sources: folders of runs, stores or studies, and addresses of experiments that a tracker plugin reads. settings: of
    the model that stages are loaded with, such as `{"model.device": "cpu"}`. plugins: as in `run`.

    Raises UsageError for a source without finished runs. Warns on stderr about runs that are left out.
    """
    from rilbench.analysis import sources as found
    from rilbench.engine.unused_settings import require_read

    given = _texts(settings)
    require_read(given, OF_STAGES, "load_runs")
    catalog, warn = Catalog.of(plugins), Reporter().warn
    results = found.load_runs([str(source) for source in sources], HookCaller(catalog, warn).find_runs, warn=warn)
    return [Run(result=result, catalog=catalog, settings=given) for result in results]


def _after(run: str | Path | Run | RunStage | None) -> str | None:
    """As `--after` names it."""
    if isinstance(run, RunStage):
        return f"{run.run.folder}@{run.number}"
    return str(run.folder) if isinstance(run, Run) else None if run is None else str(run)


def _request(
    config: str | Path | None, settings: Settings | None, plugins: Plugins, quiet: bool, **options: Any
) -> Request:
    from rilbench.engine.continued import DEFAULT
    from rilbench.engine.request import Request

    given = {key: value for key, value in options.items() if value is not None}
    texts = _texts(given | dict(settings or {}))
    named = [plugin if isinstance(plugin, str) else f"{plugin.__module__}:{plugin.__qualname__}" for plugin in plugins]
    first = [] if config is None and "after" in given else ["--config", str(config or DEFAULT)]
    arguments = ["run", *first, *texts, *(f"--plugin={name}" for name in named)]
    return Request(None if config is None else str(config), texts, plugins, quiet=quiet, arguments=arguments)


def _texts(settings: Settings | None) -> list[str]:
    """`key=value` as on the command line."""
    return [f"{key}={_text(value)}" for key, value in (settings or {}).items()]


def _text(value: Any) -> str:
    if isinstance(value, list | tuple) and all(isinstance(part, str) for part in value):
        return ",".join(value)
    return json.dumps(value, default=str) if value is None or isinstance(value, bool | Mapping | list) else str(value)
