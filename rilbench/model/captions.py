"""The captions that a model of a closed world was trained on, which a file in its folder describes.

`captions.json` holds `template`, a text with names in braces, `words`, the choices of each name, and an `example`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rilbench.contracts.errors import ConfigError

FILE = "captions.json"


@dataclass(frozen=True)
class Captions:
    """What a prompt must contain to be a caption, and a caption."""

    pattern: re.Pattern[str]
    example: str

    @classmethod
    def of(cls, folder: Path) -> Captions | None:
        """Those of the pipeline in a folder; None for one that takes any text. ConfigError for a damaged file."""
        file = folder / FILE
        if not file.is_file():
            return None
        try:
            values = json.loads(file.read_text(encoding="utf-8"))
            parts = re.split(r"\{(\w+)\}", values["template"])
            words = [f"({'|'.join(map(re.escape, values['words'][name]))})" for name in parts[1::2]]
            texts = [re.escape(text) for text in parts[::2]]
            joined = "".join(text + word for text, word in zip(texts, [*words, ""], strict=True))
            return cls(re.compile(joined, re.IGNORECASE), str(values["example"]))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise ConfigError(f"cannot read {file}: {error}; delete it or make it again") from None

    def remarks(self, prompts: Sequence[str], where: str) -> list[str]:
        """What the user should know of prompts that are none of the captions."""
        other = [prompt for prompt in prompts if not self.pattern.search(prompt)]
        if not other:
            return []
        return [
            f"{where}: {len(other)} of {len(prompts)} prompts are not like the captions that the model was trained on "
            f"({other[0][:80]!r}); its images of them mean little. A caption is {self.example!r}"
        ]
