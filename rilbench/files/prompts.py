"""Prompt files: UTF-8 text, one prompt per line, blank lines ignored."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rilbench.contracts.errors import ConfigError
from rilbench.files.resources import resolve

OTHER = re.compile(
    r"\.(csv|tsv|jsonl?|ndjson|ya?ml|xml|html?|parquet|arrow|xlsx?|ods|docx?|odt|rtf|pdf|pkl|npy|safetensors"
    r"|gz|bz2|xz|zst|zip|tar|png|jpe?g|webp)",
    re.IGNORECASE,
)
REMEDY = "write one prompt per line into a UTF-8 text file"


def read_prompts(path: str) -> list[str]:
    """The prompts of a file, repeated ones included. Raises ConfigError if it is missing, not a prompt file, or empty.

    Lines end with \n or \r\n; a byte order mark is not part of the first prompt.
    """
    prompts = [line.strip() for line in _text(path).split("\n") if line.strip()]
    if not prompts:
        raise ConfigError(f"the prompt file {path!r} contains no prompt; {REMEDY}")
    return prompts


def evaluation_prompts(path: str) -> list[str]:
    """The prompts to measure, each once: a repeated prompt would have the same noise and image."""
    return list(dict.fromkeys(read_prompts(path)))


def _text(path: str) -> str:
    """The text of a prompt file, its lines ended by \\n."""
    file = Path(resolve(path))
    if OTHER.fullmatch(file.suffix):
        raise ConfigError(f"{path!r} is a {file.suffix} file, not a prompt file; {REMEDY}")
    try:
        text = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise ConfigError(f"no prompt file at {path!r}; correct the path") from None
    except (OSError, ValueError) as error:  # not UTF-8, or not a valid file name
        raise ConfigError(f"cannot read the prompt file {path!r}: {error}; {REMEDY}") from None
    if fault := _fault(text):
        raise ConfigError(f"the prompt file {path!r} {fault}; {REMEDY}")
    return text


def _fault(text: str) -> str:
    """Why a text is not a list of prompts, one per line; empty if it is."""
    if "\0" in text:
        return "contains NUL bytes, so it is not text"
    if re.search(r"\r(?!\n)[^\r\n]*\S", text):
        return r"has lines that end with \r alone"
    first = text.strip().partition("\n")[0]
    return "contains JSON" if _is_json(first) or _is_json(text) else ""


def _is_json(text: str) -> bool:
    """True if a text is a JSON object or list; prompts may begin with a bracket too."""
    if not text.strip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
