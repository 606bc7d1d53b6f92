"""The influence of each term of a loss, from the first updates of a stage on the base model."""

from __future__ import annotations

from dataclasses import replace

from rilbench.contracts.errors import RilbenchError
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.planned import PlannedStage
from rilbench.engine.training import stage_training
from rilbench.store import stage_record
from rilbench.training.config import TrainConfig
from rilbench.training.optimiser import make_optimiser
from rilbench.training.summary import NORM, RATIO, Log, summarised
from rilbench_study.probe import Cost

UPDATES = 4  # at the first, a teacher is its student
LONGEST = 60.0  # seconds of all stages' updates; beyond that nothing is tried


def of_stages(loaded: LoadedModel, plan: list[PlannedStage], cost: Cost) -> list[dict[str, float] | None]:
    """For each stage, the gradient norm of each term over the first term's, named `TERM / FIRST`: as trained, or as a
    probe finds it; None where there is nothing to train or trying takes too long."""
    model = loaded.config.model
    trains = [planned.train for planned in plan if planned.train and not _trained(loaded, planned)]
    seconds = sum(2 * cost.training(UPDATES, model.steps, train.last_steps) for train in trains)  # a backward a term
    return [_of_stage(loaded, planned, probes=seconds < LONGEST) for planned in plan]


def _of_stage(loaded: LoadedModel, planned: PlannedStage, *, probes: bool) -> dict[str, float] | None:
    if planned.train is None:
        return None
    if _trained(loaded, planned):
        return _ratios(stage_record.read(loaded.files(planned).folder)["log"], planned.train)
    return probe(loaded, planned, planned.train) if probes else None


def _trained(loaded: LoadedModel, planned: PlannedStage) -> bool:
    return not stage_record.damage(loaded.files(planned).folder)


def _ratios(log: Log, train: TrainConfig) -> dict[str, float]:
    values = summarised(log, train)
    first = next((key.removeprefix(NORM) for key in values if key.startswith(NORM)), "")
    return {f"{key.removeprefix(RATIO)} / {first}": ratio for key, ratio in values.items() if key.startswith(RATIO)}


def probe(loaded: LoadedModel, planned: PlannedStage, train: TrainConfig) -> dict[str, float]:
    """The same from a few updates of one image; empty for a loss of one term, and where training fails, which a run
    reports."""
    config = replace(train, batch_size=1, samples=train.updates, log_gradients_every=1)
    loaded.group.load_chain([])
    training = stage_training(loaded, planned, config)
    try:
        pair = training.begin()
        optimiser = make_optimiser(pair.factors, config)
        for number in range(min(UPDATES, config.updates)):
            training.log.append(training.update(number, pair, optimiser))
    except RilbenchError:
        return {}
    return _ratios(training.log, config)
