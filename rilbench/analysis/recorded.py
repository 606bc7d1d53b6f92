"""What the folder of a run says of its settings and surroundings, and the settings that make it another method."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

from rilbench.contracts import redact
from rilbench.contracts.errors import ConfigError, DamagedError
from rilbench.contracts.result import RunResult
from rilbench.contracts.settings import flat
from rilbench.contracts.untrusted import inside
from rilbench.contracts.yaml_text import parse
from rilbench.engine.config import ANY
from rilbench.store.checksums import damaged
from rilbench.store.files import read_json, read_text
from rilbench.store.layout import RunFiles

T = TypeVar("T")
Settings = Mapping[str, Mapping[str, Any]]  # of each run by name, by dotted key

FREE = ("label", "rewards", "seed", "store", "requires", "tracking", "check_memory")  # the run's own
NEUTRAL = (  # these change no number beyond rounding
    "model.device",
    "model.gradient_checkpointing",
    "model.vae_slicing",
    "train.micro_batch",
    "train.log_gradients_every",
    "train.checkpoint_every",
    "evaluate.batch_size",
    "evaluate.pictures",
    "evaluate.bootstrap",
    "evaluate.metrics",  # these two add columns
    "evaluate.perturb",
)


def settings(run: RunResult, known: dict[str, dict[str, Any]] | None = None) -> dict[str, Any]:
    """`config.yaml` by dotted key, addresses without their secrets; empty when there is none, as of a tracking server's
    run; DamagedError when it is damaged. known: sections that were read before, which runs have in common."""
    file = _own(run, RunFiles.SETTINGS)
    if file is None:
        return {}
    known = {} if known is None else known
    found: dict[str, Any] = {}
    try:
        for section in re.split(r"^(?=[^\s#-])", read_text(file), flags=re.MULTILINE):
            if section not in known:
                values = parse(section, str(file)) or {}
                if not isinstance(values, dict):
                    raise ConfigError(f"{file}: holds no settings")
                known[section] = flat(redact.values(values))
            found |= known[section]
    except DamagedError:
        raise
    except ConfigError as error:
        raise damaged(file, error) from None
    return found


def settings_of(runs: Sequence[RunResult]) -> dict[str, dict[str, Any]]:
    """The settings of runs by name. Reading them takes longer than comparing the runs: read them once."""
    known: dict[str, dict[str, Any]] = {}
    return {run.name: settings(run, known) for run in runs}


def environment(run: RunResult) -> dict[str, Any]:
    """`environment.json` by dotted key."""
    file = _own(run, RunFiles.ENVIRONMENT)
    if file is None:
        return {}
    values = read_json(file)
    if not isinstance(values, dict):
        raise damaged(file, "it holds no surroundings")
    return flat(values)


def strategies_of(run: RunResult) -> list[str]:
    """The strategies that planned and trained a run, as far as its result says."""
    return [key.removeprefix("strategy/") for key in run.plugins if key.startswith("strategy/")]


def telling(settings: Mapping[str, T], strategies: Iterable[str] = ()) -> dict[str, T]:
    """The settings, by dotted key, in which two runs of one method agree; those of strategies that take no part in the
    run are left out.

    strategies: those that take part (`strategies_of`), in addition to those that the settings name: `by` has a default.
    """
    strategy = str(settings.get("strategy", ""))
    involved = {*strategies, ANY, strategy, str(settings.get(f"strategy_settings.{strategy}.by", ""))}

    def tells(key: str, value: T) -> bool:
        section, _, rest = key.partition(".")
        others = strategy and section in ("strategy_settings", "recipes") and rest.partition(".")[0] not in involved
        return str(value) != "{}" and key not in NEUTRAL and section not in FREE and not others

    return {key: value for key, value in settings.items() if tells(key, value)}


def _own(run: RunResult, name: str) -> Path | None:
    """A file of the run's folder; None when there is none, or it is a link out of the store."""
    if run.folder is None:
        return None
    folder = run.folder.resolve()
    return inside(folder.parent, folder / name)
