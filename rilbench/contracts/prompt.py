"""A prompt, with what a file may say about it."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Prompt:
    """A prompt to generate images for. Two with the same texts are equal, whatever their weights.

    negative: the text of the unguided branch of classifier-free guidance; empty means `model.negative_prompt`.
    weight: training draws it in proportion to this.
    """

    text: str
    negative: str = ""
    weight: float = field(default=1.0, compare=False)

    @property
    def label(self) -> str:
        """What tables and pictures call it."""
        return f"{self.text} (negative: {self.negative})" if self.negative else self.text
