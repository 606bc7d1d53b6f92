"""The files of an evaluation in the store: numbers, scores of single images, a few images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rilbench.contracts.errors import DamagedError
from rilbench.evaluation.evaluate import Evaluation
from rilbench.store.files import read_json, write_json
from rilbench.store.grid import save_picture, why_no_picture
from rilbench.store.layout import EvaluationFiles
from rilbench.store.tensors import load_tensors, save_tensors

AGAIN = "Rerun the run's command to have it measured again."


@dataclass(frozen=True)
class KeptEvaluation:
    """An evaluation with sample images of `pictures` prompts."""

    files: EvaluationFiles
    pictures: int

    @property
    def exists(self) -> bool:
        """True if the evaluation was finished: its numbers are written last."""
        return self.files.numbers.exists()

    def numbers(self) -> Mapping[str, Any]:
        """`values`, `intervals`, names of `scores`, `seconds`; DamagedError if they differ from what was written."""
        like = {"values": dict, "intervals": dict, "scores": list, "seconds": float, "images": int}
        numbers: Mapping[str, Any] = read_json(self.files.numbers, like=like, remedy=AGAIN)
        return numbers

    def sds(self) -> dict[str, float]:
        """The standard deviation between prompts of every metric with scores; empty for a single prompt."""
        means = {name: scores.double().mean(1) for name, scores in load_tensors(self.files.scores, AGAIN).items()}
        return {name: float(of.std()) for name, of in means.items() if len(of) > 1}

    def damage(self) -> str:
        """What is wrong with the numbers and scores of a finished evaluation; empty if they are usable."""
        try:
            if missing := set(self.numbers()["scores"]) - load_tensors(self.files.scores, AGAIN).keys():
                return f"{self.files.scores} is damaged: it has no {', '.join(sorted(missing))}."
        except DamagedError as error:
            return str(error).removesuffix(f" {AGAIN}")
        return ""

    def absent_pictures(self) -> list[int]:
        """The numbers of sample images that are missing or damaged."""
        return [number for number in range(self.pictures) if why_no_picture(self.files.picture(number))]

    def write(self, result: Evaluation, *, seconds: float, images: int) -> None:
        """Write everything, the numbers last."""
        for number, pixels in enumerate(result.pictures):
            save_picture(self.files.picture(number), pixels)
        save_tensors(self.files.scores, result.scores)
        numbers = {"values": result.values, "intervals": result.intervals, "scores": sorted(result.scores)}
        write_json(self.files.numbers, numbers | {"seconds": seconds, "images": images})
