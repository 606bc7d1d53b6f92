"""Prompt files with weights and negative prompts: a JSON object per line (.jsonl), or a table with a header (.csv)."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rilbench.contracts.errors import ConfigError, unknown
from rilbench.contracts.prompt import Prompt

KEYS = ("prompt", "negative_prompt", "weight")
MOST = 1e6  # of a weight


def rows(text: str, path: str, suffix: str) -> list[Prompt]:
    """The prompts of a .jsonl or .csv file. ConfigError, with the number of the line, for a row that is none."""
    read = _objects if suffix == ".jsonl" else _table
    return [_prompt(values, where) for where, values in read(text, f"the prompt file {path!r}")]


def _objects(text: str, file: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), 1):
        if not line.strip():
            continue
        where = f"{file}, line {number}"
        try:
            values = json.loads(line)
        except (ValueError, RecursionError) as error:
            raise ConfigError(f"{where}: is not JSON ({error}); write one object per line") from None
        if not isinstance(values, dict):
            raise ConfigError(f'{where}: is no JSON object; write {{"prompt": "..."}}')
        yield where, {key: value for key, value in values.items() if value is not None}


def _table(text: str, file: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    table = csv.DictReader(io.StringIO(text, newline=""), strict=True, skipinitialspace=True)
    try:
        columns = table.fieldnames = [name.strip() for name in table.fieldnames or ()]
        if "prompt" not in columns:
            head = ",".join(columns)[:80]
            raise ConfigError(f"{file}, line 1: {head!r} has no column prompt; name the columns in the first line")
        _check(columns, f"{file}, line 1", "column")
        if twice := {name for name in columns if columns.count(name) > 1}:
            raise ConfigError(f"{file}, line 1: has the column {min(twice)} more than once; keep one of them")
        for values in table:
            where = f"{file}, line {table.line_num}"
            if None in values:
                raise ConfigError(f"{where}: has more values than columns; put a text with commas in double quotes")
            yield where, {key: value for key, value in values.items() if value and value.strip()}
    except csv.Error as error:
        raise ConfigError(f"{file}, after line {table.line_num}: is not CSV ({error})") from None


def _prompt(values: Mapping[str, Any], where: str) -> Prompt:
    _check(values, where, "key")
    text, negative = (_text(values.get(key, ""), f"{where}: {key}") for key in KEYS[:2])
    if not text:
        raise ConfigError(f"{where}: has no prompt")
    return Prompt(text, negative, _weight(values.get("weight", 1.0), where))


def _check(keys: Iterable[str], where: str, kind: str) -> None:
    for key in keys:
        if key not in KEYS:
            raise ConfigError(f"{where}: {unknown(kind, key, KEYS)}")


def _text(value: object, where: str) -> str:
    if not isinstance(value, str):
        raise ConfigError(f"{where} is {value!r:.80}, not a text")
    return value.strip()


def _weight(value: object, where: str) -> float:
    try:
        weight = float("nan") if isinstance(value, bool) else float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        weight = float("nan")
    if not 0 < weight <= MOST:
        raise ConfigError(f"{where}: weight {value!r:.80} is not a number above 0 and at most {MOST:g}")
    return weight
