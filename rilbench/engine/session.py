"""One process's work on stages: nothing that is in the store is done twice."""

from __future__ import annotations

from rilbench.contracts.result import Row, RunResult
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.measuring import Measuring
from rilbench.engine.plan import PlannedStage
from rilbench.engine.training import Training
from rilbench.store import stage_record, temporary
from rilbench.store.locks import locked


class Session:
    """Trains and measures planned stages. earlier: the finished result of the same run, when there is one."""

    def __init__(self, loaded: LoadedModel, *, earlier: RunResult | None = None) -> None:
        self.loaded = loaded
        self.training, self.measuring = Training(loaded, earlier), Measuring(loaded)

    def row(self, planned: PlannedStage) -> Row:
        """The row of a stage: from the store, or trained and measured now; what is missing or damaged is made again."""
        if not (self.training.whole(planned) and self.measuring.whole(planned)):
            folder = self.loaded.files(planned).folder
            with locked(folder, self.loaded.reporter.waiting):
                temporary.sweep(folder, alone=True)
                self.training.complete(planned)
                self.measuring.complete(planned)
        return self._read(planned)

    def evaluations(self) -> list[str]:
        """The folders of all stages' evaluations, relative to the store."""
        return [self._evaluation(planned) for planned in self.loaded.plan]

    def _evaluation(self, planned: PlannedStage) -> str:
        return self.loaded.store.relative(self.measuring.kept(planned).files.folder)

    def _read(self, planned: PlannedStage) -> Row:
        numbers = self.measuring.kept(planned).numbers()
        folder = self.loaded.files(planned).folder
        return Row(
            label="base" if planned is self.loaded.plan[0] else planned.stage.label,
            rewards=tuple(planned.stage.rewards),
            stage_id=planned.id,
            evaluation=self._evaluation(planned),
            values={k: float("nan") if v is None else v for k, v in numbers["values"].items()},
            intervals={k: (v[0], v[1]) for k, v in numbers["intervals"].items()},
            train_seconds=stage_record.read(folder)["seconds"] if planned.train else 0.0,
            evaluate_seconds=numbers["seconds"],
        )
