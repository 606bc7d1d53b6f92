"""Prompt files: text, one prompt a line, blank lines ignored."""

from __future__ import annotations

from pathlib import Path

from rilbench.errors import ConfigError
from rilbench.resources import resolve


def read_prompts(path: str) -> list[str]:
    """The prompts of a file; ConfigError when it is missing, not text, or has none."""
    file = Path(resolve(path))
    try:
        lines = file.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        raise ConfigError(f"no prompt file at {path!r}") from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"cannot read the prompt file {path!r}: {error}") from None
    prompts = [line.strip() for line in lines if line.strip()]
    if not prompts:
        raise ConfigError(f"the prompt file {path!r} holds no prompt; it needs one a line")
    return prompts
