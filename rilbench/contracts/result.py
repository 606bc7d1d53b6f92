"""The stage x metric matrix, forgetting and transfer computed from it, and the result of a run (schema 1)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rilbench.contracts import untrusted
from rilbench.contracts.errors import AGAIN, ConfigError, DamagedError, reason
from rilbench.contracts.redact import redacted

SCHEMA = 1
NAN = float("nan")
TRAIN = "@train"  # at the end of the name of a column measured on training prompts


@dataclass(frozen=True, kw_only=True)
class MetricInfo:
    """A column. `target_of`: the rewards that it is a measure of; empty for general metrics."""

    name: str
    higher_is_better: bool
    unit: str = ""
    target_of: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Row:
    """A stage. Row 0 is the untouched base model, without rewards. Metrics not measured are absent.

    sds: the standard deviation (n - 1) between prompts, whose value is the mean over their images; absent for metrics
    that score no single image, and for a single prompt.
    """

    label: str
    rewards: tuple[str, ...] = ()
    stage_id: str = ""
    evaluation: str = ""  # folder of scores and sample images, relative to the store
    values: Mapping[str, float] = field(default_factory=dict)
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    sds: Mapping[str, float] = field(default_factory=dict)
    train_seconds: float = 0.0
    evaluate_seconds: float = 0.0
    training: Mapping[str, float] = field(default_factory=dict)  # medians of its gradients: `rilbench.training.summary`


@dataclass(frozen=True)
class ResultMatrix:
    """a_m^i: metric m after stage i = 0..T; NaN where not measured."""

    rows: tuple[Row, ...]
    metrics: tuple[MetricInfo, ...]

    @property
    def shown(self) -> tuple[MetricInfo, ...]:
        """The columns of tables: all except the scores of perturbed images, `NAME@PERTURBATION`, and those on training
        prompts, `NAME@train`."""
        return tuple(info for info in self.metrics if "@" not in info.name)

    @property
    def labels(self) -> list[str]:
        """The names of the rows in tables and pictures: `base`, `1 aesthetic`, ..."""
        return [row.label if i == 0 else f"{i} {row.label}" for i, row in enumerate(self.rows)]

    def values(self, metric: str) -> list[float]:
        """a_m^0 .. a_m^T."""
        return [row.values.get(metric, NAN) for row in self.rows]

    def forgetting(self, metric: str, stage: int = -1) -> float:
        """F_m (Eq. 3) after a stage (default: the last): the fall from the best of stages 0..stage, never negative."""
        measured = self.values(metric)[: stage % len(self.rows) + 1] if self.rows else [NAN]
        if math.isnan(measured[-1]):
            return NAN
        sign = self._sign(metric)
        return max(sign * a for a in measured if not math.isnan(a)) - sign * measured[-1]

    def masked(self, metric: str, stage: int) -> bool:
        """True if a table shows no forgetting: a target that no earlier stage trained, or that this stage trains alone.

        A target that is trained again together with other rewards may fall below its own stage; tables show that.
        """
        targets, rewards = set(self._info(metric).target_of), set(self.rows[stage].rewards)
        before = {r for row in self.rows[:stage] for r in row.rewards}
        nothing_to_forget = bool(targets) and not targets & before
        return stage == 0 or nothing_to_forget or bool(rewards and rewards <= targets)

    def backward_transfer(self, reward: str) -> float:
        """Change of a reward's mean from the stage that last trained it to the last one; negative is forgetting."""
        return self.gain(reward, self.stage_of(reward), -1)

    def forward_transfer(self, reward: str) -> float:
        """Change of a reward's mean from the base to the stage before its first training: other rewards' effect."""
        first = next((i for i, row in enumerate(self.rows) if reward in row.rewards), 1)
        return self.gain(reward, 0, first - 1)

    def left(self, reward: str) -> float:
        """Change of a reward's mean from the base to the last stage."""
        return self.gain(reward, 0, -1)

    def learned(self, reward: str) -> float:
        """Change of a reward's mean from the base to the stage that last trained it."""
        return self.gain(reward, 0, self.stage_of(reward))

    def plasticity(self, reward: str) -> float:
        """Change of a reward's mean in the stage that last trained it, from the stage before: what it added."""
        return self.gain(reward, self.stage_of(reward) - 1, self.stage_of(reward))

    def gain(self, metric: str, start: int, end: int) -> float:
        """The change of a metric from one row to another; positive is better."""
        values = self.values(metric)
        return self._sign(metric) * (values[end] - values[start])

    def stage_of(self, reward: str) -> int:
        """The last stage that trained a reward; 0 if there is none."""
        return max((i for i, row in enumerate(self.rows) if reward in row.rewards), default=0)

    def trained_rewards(self) -> list[str]:
        """The rewards that stages trained, in order."""
        names = {m.name for m in self.metrics}
        return list(dict.fromkeys(r for row in self.rows for r in row.rewards if r in names))

    def _info(self, metric: str) -> MetricInfo:
        return next(m for m in self.metrics if m.name == metric)

    def _sign(self, metric: str) -> int:
        return 1 if self._info(metric).higher_is_better else -1


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """A run, finished or in progress. `label` is its name in tables, by default the strategy.

    `folder` is the folder it was read from; None if it is not on this disk.
    """

    name: str
    strategy: str
    rewards: tuple[str, ...]
    seed: int
    matrix: ResultMatrix
    status: str = "running"
    command: str = ""
    plugins: Mapping[str, str] = field(default_factory=dict)  # kind/name -> distribution version
    label: str = ""
    folder: Path | None = field(default=None, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.strategy)

    @property
    def order(self) -> str:
        """The rewards in training order, `a > b`."""
        return " > ".join(self.rewards)

    def to_json(self) -> dict[str, Any]:
        """Schema 1 of `result.json`."""
        m, last = self.matrix, len(self.matrix.rows) - 1
        values = asdict(self) | {"schema": SCHEMA}
        del values["matrix"], values["folder"]
        values["metrics"] = [asdict(info) for info in m.metrics]
        values["stages"] = [
            asdict(row)
            | {"forgetting": {i.name: m.forgetting(i.name, t) for i in m.metrics if not m.masked(i.name, t)}}
            for t, row in enumerate(m.rows)
        ]
        values["forgetting"] = {info.name: m.forgetting(info.name, last) for info in m.metrics}
        for name in ("learned", "backward_transfer", "forward_transfer"):
            values[name] = {r: getattr(m, name)(r) for r in m.trained_rewards()}
        return values

    @classmethod
    def from_json(cls, values: Mapping[str, Any], where: str = "result") -> RunResult:
        """The inverse of `to_json`; ConfigError for another schema or when something is missing."""
        if not isinstance(values, Mapping):
            raise ConfigError(f"{where} is damaged: it is not a result. {AGAIN}")
        if values.get("schema") != SCHEMA:
            raise ConfigError(
                f"{where}: has schema {values.get('schema')}; this rilbench reads schema {SCHEMA}. {AGAIN}"
            )
        try:
            metrics = tuple(_metric(info) for info in values["metrics"])
            rows = tuple(_row(stage, where) for stage in values["stages"])
            plain: dict[str, Any] = {k: _text(values[k]) for k in ("name", "strategy", "label", "status", "command")}
            plain |= {"name": untrusted.name(plain["name"], where), "command": redacted(plain["command"])}
            plain |= {"seed": int(values["seed"]), "plugins": {str(k): str(v) for k, v in values["plugins"].items()}}
            return cls(**plain, rewards=_texts(values["rewards"]), matrix=ResultMatrix(rows, metrics))
        except (AttributeError, LookupError, TypeError, ValueError) as error:
            raise DamagedError(f"{where} is damaged: {reason(error)}. {AGAIN}") from None


def _row(stage: Mapping[str, Any], where: str) -> Row:
    return Row(
        label=_text(stage["label"]),
        rewards=_texts(stage["rewards"]),
        stage_id=untrusted.name(stage["stage_id"], where) if stage["stage_id"] else "",
        evaluation=untrusted.relative(stage["evaluation"], where),
        values={k: NAN if v is None else float(v) for k, v in stage["values"].items()},
        intervals={k: (float(v[0]), float(v[1])) for k, v in stage["intervals"].items()},
        sds={k: float(v) for k, v in stage["sds"].items()},
        train_seconds=float(stage["train_seconds"]),
        evaluate_seconds=float(stage["evaluate_seconds"]),
        training={str(k): float(v) for k, v in stage.get("training", {}).items()},
    )


def _metric(values: Mapping[str, Any]) -> MetricInfo:
    return MetricInfo(
        name=_text(values["name"]),
        higher_is_better=bool(values["higher_is_better"]),
        unit=_text(values["unit"]),
        target_of=_texts(values["target_of"]),
    )


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r:.80} is not a text")
    return value


def _texts(values: object) -> tuple[str, ...]:
    if not isinstance(values, list | tuple):
        raise TypeError(f"{values!r:.80} is not a list")
    return tuple(map(_text, values))
