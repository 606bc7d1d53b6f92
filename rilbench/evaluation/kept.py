"""What an evaluation leaves in the store: numbers, scores of single images, a few pictures."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rilbench.contracts.errors import DamagedError
from rilbench.evaluation.evaluate import Evaluation
from rilbench.store.files import read_json, write_json
from rilbench.store.grid import save_picture, why_no_picture
from rilbench.store.tensors import load_tensors, save_tensors

NUMBERS, SCORES = "metrics.json", "scores.safetensors"
AGAIN = "Repeat the run's command to have it measured again."


@dataclass(frozen=True)
class KeptEvaluation:
    """The folder of an evaluation with pictures of `samples` prompts."""

    folder: Path
    samples: int

    @property
    def exists(self) -> bool:
        """Whether the evaluation was finished: its numbers are written last."""
        return (self.folder / NUMBERS).exists()

    def numbers(self) -> Mapping[str, Any]:
        """`values`, `intervals` and `seconds`; DamagedError when they are not what was written."""
        like = {"values": dict, "intervals": dict, "seconds": float}
        numbers: Mapping[str, Any] = read_json(self.folder / NUMBERS, like=like, remedy=AGAIN)
        return numbers

    def damage(self) -> str:
        """What is wrong with the numbers and scores of a finished evaluation; empty when they can be used."""
        try:
            intervals = self.numbers()["intervals"]
            if missing := intervals.keys() - load_tensors(self.folder / SCORES, AGAIN).keys():
                return f"{self.folder / SCORES} is damaged: it holds no {', '.join(sorted(missing))}"
        except DamagedError as error:
            return str(error).removesuffix(f" {AGAIN}")
        return ""

    def picture(self, number: int) -> Path:
        """The file of a prompt's picture."""
        return self.folder / f"sample-{number}.png"

    def missing_pictures(self) -> Iterator[int]:
        """The numbers of pictures that are not there or not what was written."""
        return (number for number in range(self.samples) if why_no_picture(self.picture(number)))

    def write(self, result: Evaluation, *, seconds: float, images: int) -> None:
        """Write everything, the numbers last."""
        for number, pixels in enumerate(result.samples):
            save_picture(self.picture(number), pixels)
        save_tensors(self.folder / SCORES, result.scores)
        numbers = {"values": result.values, "intervals": result.intervals, "seconds": seconds, "images": images}
        write_json(self.folder / NUMBERS, numbers)
