"""Prompt files: UTF-8 text with one prompt per line, or rows with weights and negative prompts (.jsonl and .csv)."""

from __future__ import annotations

import json
import re
from pathlib import Path

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.prompt import Prompt
from rilbench.files.fingerprints import resolved_fingerprint
from rilbench.files.prompt_rows import rows
from rilbench.files.resources import resolve

OTHER = re.compile(
    r"\.(tsv|json|ndjson|ya?ml|xml|html?|parquet|arrow|xlsx?|ods|docx?|odt|rtf|pdf|pkl|npy|safetensors"
    r"|gz|bz2|xz|zst|zip|tar|png|jpe?g|webp)",
    re.IGNORECASE,
)
ROWS = (".jsonl", ".csv")
REMEDY = (
    "write one prompt per line into a UTF-8 text file, or rows with prompt, negative_prompt and weight into a .jsonl "
    "or .csv file"
)


def read_prompts(path: str) -> list[Prompt]:
    """The prompts of a file, repeated ones included. Raises ConfigError if it is missing, not a prompt file, or empty.

    Lines end with \n or \r\n; a byte order mark is not part of the first prompt.
    """
    file = Path(resolve(path))
    if OTHER.fullmatch(file.suffix):
        raise ConfigError(f"{path!r} is a {file.suffix} file, not a prompt file; {REMEDY}")
    text = _text(path, file)
    kind = file.suffix.lower()
    prompts = rows(text, path, kind) if kind in ROWS else _lines(text, path)
    if not prompts:
        raise ConfigError(f"the prompt file {path!r} contains no prompt; {REMEDY}")
    return prompts


def prompts_fingerprint(path: str) -> str:
    """The hash of what a prompt file means; of the bytes alone for plain text. The setting itself if it is missing."""
    found = resolved_fingerprint(path)
    kind = "" if found == path else Path(resolve(path)).suffix.lower()
    return f"{kind}:{found}" if kind in ROWS else found


def evaluation_prompts(path: str) -> list[Prompt]:
    """The prompts to measure, each once: a repeated prompt would have the same noise and image.

    Raises ConfigError for a file with weights: no metric, interval or test has any.
    """
    prompts = read_prompts(path)
    if len({prompt.weight for prompt in prompts}) > 1:
        raise ConfigError(
            f"the prompt file {path!r} has weights, which only training uses: an evaluation measures every prompt "
            "equally, and its intervals, sets of images (fid) and tests have no weights; name a file without them"
        )
    return list(dict.fromkeys(prompts))


def _lines(text: str, path: str) -> list[Prompt]:
    first = text.strip().partition("\n")[0]
    if _is_json(first) or _is_json(text):
        raise ConfigError(f"the prompt file {path!r} contains JSON; {REMEDY}; JSON lines need the ending .jsonl")
    return [Prompt(line.strip()) for line in text.split("\n") if line.strip()]


def _text(path: str, file: Path) -> str:
    """The text of a prompt file, its lines ended by \\n."""
    try:
        text = file.read_bytes().decode("utf-8-sig").replace("\r\n", "\n")
    except FileNotFoundError:
        raise ConfigError(f"no prompt file at {path!r}; correct the path") from None
    except (OSError, ValueError) as error:  # not UTF-8, or not a valid file name
        raise ConfigError(f"cannot read the prompt file {path!r}: {error}; {REMEDY}") from None
    if "\0" in text:
        raise ConfigError(f"the prompt file {path!r} contains NUL bytes, so it is not text; {REMEDY}")
    if re.search(r"\r(?!\n)[^\r\n]*\S", text):
        raise ConfigError(f"the prompt file {path!r} has lines that end with \\r alone; {REMEDY}")
    return text


def _is_json(text: str) -> bool:
    """True if a text is a JSON object or list; prompts may begin with a bracket too."""
    if not text.strip().startswith(("{", "[")):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True
