"""The momentum teacher of RID: an average of the pair in training, and of the stages before if it is never reset."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor

    from rilbench import LoraPair


class Teacher:
    """The model whose pair is theta_T <- alpha theta_T + (1 - alpha) theta (Eq. 6).

    It starts as the student. One that is never reset starts a stage off the student by `lag`, the weight changes it
    was behind at the end of the stage before; the student's share of them is frozen, so the lag shrinks by alpha with
    each update.
    """

    def __init__(self, student: LoraPair, alpha: float) -> None:
        self.student, self.alpha = student, alpha
        self.average = student.copy()
        self.lag: LoraPair | None = None
        self.decay = 1.0

    @property
    def pair(self) -> LoraPair:
        """The teacher's weight changes on top of the student's frozen pairs."""
        if self.lag is None or not self.decay:
            return self.average
        return type(self.average).concatenated([(self.average, 1.0), (self.lag, self.decay)])

    def follow(self, student: LoraPair) -> None:
        """One step of Eq. 6."""
        self.average.lerp_(student, 1 - self.alpha)
        self.decay *= self.alpha

    def behind(self) -> dict[str, Tensor]:
        """The lag at the end of a stage: teacher minus student; nothing when they are the same.

        From the second stage on its rank would grow, and with it the cost of a step; the largest part is kept, of the
        rank that the first stage leaves exactly, 2 r.
        """
        import torch

        teacher, student = self.pair, self.student.copy()
        if teacher is self.average and all(map(torch.equal, teacher.factors, student.factors)):
            return {}
        lag = type(teacher).concatenated([(teacher, 1.0), (student, -1.0)])
        return (lag if teacher is self.average else lag.truncated(2 * self._rank)).state()

    @property
    def _rank(self) -> int:
        """r, of a pair."""
        return int(next(iter(self.average.b.values())).shape[0])

    def load_carry(self, lag: Mapping[str, Tensor]) -> None:
        """Start a stage with the lag of the stage before."""
        self.lag = self._placed(lag)

    def state(self) -> dict[str, Tensor]:
        """What must survive a stop; the lag does not change and is inherited again."""
        import torch

        return self.average.state() | {"decay": torch.tensor(self.decay, dtype=torch.float64)}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        self.average = self._placed({key: value for key, value in state.items() if key != "decay"})
        self.decay = float(state["decay"])

    def _placed(self, state: Mapping[str, Tensor]) -> LoraPair:
        return type(self.average).from_state(state).to(self.average.factors[0].device)
