"""The training of one stage: its updates, and the checkpoint from which an interrupted one resumes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.optim.lr_scheduler import LRScheduler

from rilbench.contracts.errors import DamagedError, DivergedError
from rilbench.contracts.pair import LoraPair
from rilbench.contracts.strategy import Stage
from rilbench.model.randomness import generator_for
from rilbench.store.tensors import RESTART, load_checkpoint, save_checkpoint
from rilbench.training import summary
from rilbench.training.checked import CheckedStrategy
from rilbench.training.choice import Best
from rilbench.training.optimiser import make_optimiser, make_schedule
from rilbench.training.target import Target
from rilbench.training.update import Trainer

OnUpdate = Callable[[int, int, Mapping[str, float]], None]  # update, of how many, its logged values

VALIDATED = "validate/"  # how names of validation metrics begin in the log


@dataclass(kw_only=True)
class StageTraining(Trainer):
    """A stage to train on the chain of pairs that `group` holds, from its checkpoint if there is one."""

    stage: Stage
    rank: int
    init: str
    checkpoint: Path
    initial: LoraPair | None = None  # the pair to continue; None starts a new one
    carry: Mapping[str, Tensor] | None = None  # the tensors of the strategy at the end of the previous stage
    warn: Callable[[str], None] = lambda text: None
    say: Callable[[str], None] = lambda text: None
    on_update: OnUpdate = lambda update, total, values: None
    best: Best | None = None  # of the validations, if the stage keeps it
    validate: Callable[[int], Mapping[str, float]] = lambda update: {}  # what is measured after an update
    between: Callable[[Callable[[], None]], None] = lambda save: None  # called between updates; saves if it ends them
    log: list[dict[str, float]] = field(default_factory=list)
    _saved: float = field(default=0.0, init=False)  # when the last checkpoint was, or the start

    def run(self) -> LoraPair:
        """Train the stage's pair and return it detached."""
        pair, self._saved = self.begin(), time.monotonic()
        optimiser, total = make_optimiser(pair.factors, self.config), self.config.updates
        schedule = make_schedule(optimiser, self.config)
        for number in range(self._resume(pair, optimiser, schedule), total):  # Alg. 1, line 1
            if self._reached():
                break
            try:
                self.log.append(self.update(number, pair, optimiser))
            except DivergedError as error:
                where = f"in stage {self.index} ({self.stage.label}), update {number + 1} of {total}"
                remedy = f"Try a lower learning rate (now {self.config.lr:g}) or check the reward."
                raise DivergedError(f"{error} {where}. Finished stages are kept. {remedy}") from None
            if schedule:
                self.log[-1]["lr"] = optimiser.param_groups[0]["lr"]
                schedule.step()
            self.on_update(number + 1, total, self.log[-1])
            save = partial(self._save, number + 1, pair, optimiser, schedule)
            if number + 1 < total and self._due(number + 1):
                save()
            self.between(save)
            if self._validated(number + 1, pair, save):
                self.between(save)
        self._report()
        if self.best:
            self.best.put(pair.factors)
        return pair.copy()

    def _due(self, update: int) -> bool:
        """Whether a checkpoint is due, by updates or by time."""
        minutes = (time.monotonic() - self._saved) / 60
        return update % self.config.checkpoint_every == 0 or 0 < self.config.checkpoint_minutes <= minutes

    def _validated(self, update: int, pair: LoraPair, save: Callable[[], None]) -> bool:
        """`_validate`; an error in it loses no update."""
        try:
            return self._validate(update, pair)
        except Exception:
            with suppress(Exception):  # the first error is the one to tell
                save()
            raise

    def _validate(self, update: int, pair: LoraPair) -> bool:
        """Log a validation if it is due; not again if the checkpoint has it."""
        if not self.config.validates(update) or any(key.startswith(VALIDATED) for key in self.log[-1]):
            return False
        values = self.validate(update)
        self.log[-1] |= {f"{VALIDATED}{name}": value for name, value in values.items()}
        if self.best:
            self.best.see(update, values, pair.factors)
        return True

    def _reached(self) -> bool:
        """Whether the last validation reached the target."""
        if not (self.config.until and self.log):
            return False
        last = {key.removeprefix(VALIDATED): v for key, v in self.log[-1].items() if key.startswith(VALIDATED)}
        return Target.parse(self.config.until).reached(last)

    def _report(self) -> None:
        """Warn of terms without influence and of an eps that matters; tell what clipping did."""
        where = f"stage {self.index} ({self.stage.label})"
        remedies = None if self._strategy.combines else self.strategy.remedies
        for text in summary.warnings(self.log, self.config, remedies):
            self.warn(f"{where}: {text}")
        for text in summary.notes(self.log, self.config):
            self.say(f"{where}: {text}")
        if self._reached():
            self.say(f"{where}: {self.config.until} after update {len(self.log)} of {self.config.updates}")
        if self.best:
            self.say(
                f"{where}: the pair of update {self.best.update} is kept, {self.best.metric} {self.best.value:.4g}"
            )

    def begin(self) -> LoraPair:
        """Start the stage's pair and return it."""
        pair = (self.initial or self._new_pair()).trainable()
        self.group.start(pair)
        self._strategy.begin(self.stage, pair, self.carry)
        return pair

    def carry_left(self) -> dict[str, Tensor]:
        """The tensors that the strategy passes to the next stage."""
        return self._strategy.carry()

    @property
    def _strategy(self) -> CheckedStrategy:
        return CheckedStrategy(self.strategy)

    def _new_pair(self) -> LoraPair:
        generator = generator_for("init", self.seed, self.index)
        return LoraPair.initialised(self.group.layers, rank=self.rank, init=self.init, generator=generator)

    def _resume(self, pair: LoraPair, optimiser: torch.optim.Optimizer, schedule: LRScheduler | None) -> int:
        """Restore the checkpoint, if there is one, and return the number of finished updates."""
        try:
            saved = load_checkpoint(self.checkpoint)
        except DamagedError as error:
            self.warn(
                f"{str(error).removesuffix(RESTART)}Stage {self.index} ({self.stage.label}) starts from its beginning"
            )
            return 0
        if saved is None:
            return 0
        with torch.no_grad():
            for factor, value in zip(pair.factors, saved["factors"], strict=True):
                factor.copy_(value)
        optimiser.load_state_dict(saved["optimiser"])
        if schedule:
            schedule.load_state_dict(saved["schedule"])
        if self.best:
            self.best.load_state(saved["best"])
        self._strategy.load_state(saved["strategy"])
        self.log.extend(saved["log"])
        self._validate(saved["update"], pair)
        return int(saved["update"])

    def _save(
        self, update: int, pair: LoraPair, optimiser: torch.optim.Optimizer, schedule: LRScheduler | None
    ) -> None:
        state: dict[str, Any] = {"update": update, "log": self.log, "optimiser": optimiser.state_dict()}
        state |= {"factors": [f.detach() for f in pair.factors], "strategy": self._strategy.state()}
        if schedule:
            state["schedule"] = schedule.state_dict()
        if self.best:
            state["best"] = self.best.state()
        save_checkpoint(state, self.checkpoint)
        self._saved = time.monotonic()
