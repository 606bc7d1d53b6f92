"""Chooses the next cell of a free worker so that workers rarely wait for each other."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from itertools import takewhile

from rilbench_study.cells import Cell


class Schedule:
    """Waiting and running cells, and finished work."""

    def __init__(self, cells: Iterable[Cell], done: Collection[str]) -> None:
        self.waiting = list(cells)
        self.running: dict[int, Cell] = {}  # by worker
        self.done = set(done)
        self._retried: set[str] = set()

    def take(self, worker: int) -> Cell | None:
        """A worker's next cell: the one that soonest reaches work no other worker will do; None when no cell waits.

        Two workers never train the same stage: the second waits for the stage's lock and then finds it done.
        """
        if not self.waiting:
            return None
        others = {key for cell in self.running.values() for key in self.missing(cell)}
        cell = min(self.waiting, key=lambda cell: sum(1 for _ in takewhile(others.__contains__, self.missing(cell))))
        self.waiting.remove(cell)
        self.running[worker] = cell
        return cell

    def missing(self, cell: Cell) -> list[str]:
        """The cell's work that is not done, in order."""
        return [work.key for work in cell.work if work.key not in self.done]

    def left(self) -> set[str]:
        """All unfinished work of waiting and running cells."""
        return {key for cell in (*self.waiting, *self.running.values()) for key in self.missing(cell)}

    def close(self, worker: int) -> Cell:
        """A worker's cell is over."""
        return self.running.pop(worker)

    def retry(self, worker: int) -> bool:
        """Requeue the cell of a worker that died; False if it was requeued before."""
        cell = self.running[worker]
        if cell.name in self._retried:
            return False
        self._retried.add(cell.name)
        self.waiting.insert(0, self.close(worker))
        return True
