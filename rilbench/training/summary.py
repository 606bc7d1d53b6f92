"""What the log of a stage says about its training: the influence of each term of the loss, and of clipping and eps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

from rilbench.training.config import TrainConfig

Log = Sequence[Mapping[str, float]]
NORM, RATIO, TYPICAL, CLIPPED = "gradient/", "ratio/", "gradient_median", "clipped"
NO_INFLUENCE = 0.01  # of the largest term's gradient
FAR = 100  # how many times eps a gradient must be, so that eps changes AdamW's step by less than 1 %


def summarised(log: Log, config: TrainConfig) -> dict[str, float]:
    """Medians over the updates that measured them.

    `gradient/TERM` is the gradient norm of a term, or of a reward, with its weight, in a sum of several; `ratio/TERM`
    is that norm over the first term's, `gradient_median` the median size of a number of the gradient, `gradient` the
    norm of the whole, and `clipped` the share of updates that clipping changed, if it is on. Updates at which a term
    has no gradient, as an equal teacher's distance has none, are left out unless there are no others.
    """
    names = list(dict.fromkeys(key for entry in log for key in entry if key.startswith(NORM)))
    values = {name: _typical([entry[name] for entry in log if name in entry]) for name in names}
    for name in names[1:]:
        ratios = [entry[name] / entry[names[0]] for entry in log if name in entry and entry[names[0]]]
        values[RATIO + name.removeprefix(NORM)] = _typical(ratios)
    for name in (TYPICAL, "gradient"):
        if found := [entry[name] for entry in log if name in entry]:
            values[name] = median(found)
    if log and config.clip_grad:
        values[CLIPPED] = sum(entry["gradient"] > config.clip_grad for entry in log) / len(log)
    return values


def warnings(log: Log, config: TrainConfig, remedies: Mapping[str, str] | None) -> list[str]:
    """What has no effect or a wrong one.

    remedies: term to what raises its influence; None if the gradient is not the sum of those of the terms.
    """
    values = summarised(log, config)
    found = [] if remedies is None else _weak(log, values, remedies)
    typical = values.get(TYPICAL, 0.0)
    if config.optimiser.startswith("adamw") and 0 < typical < FAR * config.eps:
        found.append(
            f"half of the numbers of the gradient are below {typical:.1g}, which is less than {FAR} x train.eps "
            f"({config.eps:g}), so AdamW's steps are too small for them; lower train.eps or raise train.reward_scale"
        )
    return found


def _weak(log: Log, values: Mapping[str, float], remedies: Mapping[str, str]) -> list[str]:
    norms = {name.removeprefix(NORM): value for name, value in values.items() if name.startswith(NORM)}
    largest = max(norms, key=norms.__getitem__, default="")
    found = []
    for name, norm in norms.items():
        if norm < NO_INFLUENCE * norms[largest] and _measured(log, NORM + name):
            share = f"the gradient of {name} is {norm / norms[largest]:.1g} of that of {largest} (median)"
            remedy = remedies.get(name, f"raise the weight of {name}")
            found.append(f"{share}, so it has almost no influence on the training; {remedy}")
    return found


def notes(log: Log, config: TrainConfig) -> list[str]:
    """Clipping that acted on every update, or on none."""
    clipped, norms = summarised(log, config).get(CLIPPED), [entry["gradient"] for entry in log]
    if clipped == 0:
        why = f"the largest gradient norm was {max(norms):.2g}"
        return [f"train.clip_grad={config.clip_grad:g} never clipped: {why}; lower it, or turn clipping off with 0"]
    if clipped == 1:
        why = f"the smallest gradient norm was {min(norms):.2g}, so all gradients had the same length"
        return [f"train.clip_grad={config.clip_grad:g} clipped every update: {why}; raise it, or turn it off with 0"]
    return []


def _typical(values: Sequence[float]) -> float:
    """The median of those that are not 0; 0 if all are."""
    return median([value for value in values if value] or [0.0])


def _measured(log: Log, name: str) -> bool:
    """Whether a 0 says anything: at a stage's first update a teacher equals its student."""
    return any(entry.get(name) for entry in log) or sum(name in entry for entry in log) > 1
