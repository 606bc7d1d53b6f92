"""YAML for settings: the type of a setting decides what a scalar means, not its form.

No anchors that grow without bound, no tags, no merge keys; a duplicate key is an error.
"""

from __future__ import annotations

import re
from typing import Any

import yaml  # type: ignore[import-untyped]

from rilbench.contracts.errors import ConfigError

WHOLE = re.compile(r"[-+]?\d+", re.ASCII)
NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
NULL = ("null", "~", "")
DEEPEST = 16  # mappings and lists in each other
MOST_VALUES = 100_000
Loader = getattr(yaml, "CBaseLoader", yaml.BaseLoader)


def parse(text: str, where: str) -> Any:
    """The value of a YAML text; ConfigError names `where` it comes from."""
    try:
        _check_depth(text, where)
        node = yaml.compose(text, Loader=Loader)
    except UnicodeEncodeError:
        raise ConfigError(f"{where}: {text!r} is not text that UTF-8 can encode") from None
    except yaml.YAMLError as error:
        raise ConfigError(f"{where}: {' '.join(str(error).split())}") from None
    return None if node is None else _Reader(where).value(node, 0)


def _check_depth(text: str, where: str) -> None:
    """ConfigError for text nested too deep: composing it recurses, in C until the process crashes."""
    depth = 0
    for event in yaml.parse(text, Loader=Loader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ConfigError(f"{where}: nested deeper than {DEEPEST} levels")


def plain(text: str) -> Any:
    """The value of an unquoted text if it would be written the same way; otherwise the text."""
    if text in NULL:
        return None
    if text in ("true", "false"):
        return text == "true"
    if WHOLE.fullmatch(text) and len(text) < 19 and str(int(text)) == text:
        return int(text)
    return float(text) if NUMBER.fullmatch(text) and repr(float(text)) == text else text


def dump(value: Any) -> str:
    """YAML from which `parse` reads the same plain value."""
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return text


class _Reader:
    def __init__(self, where: str) -> None:
        self.where, self.seen = where, 0

    def value(self, node: Any, depth: int) -> Any:
        self.seen += 1
        if depth > DEEPEST:
            raise self.error(node, f"nested deeper than {DEEPEST} levels")
        if self.seen > MOST_VALUES:
            raise self.error(node, f"more than {MOST_VALUES} values")
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rpartition(":")[2] not in ("str", "seq", "map"):
            raise self.error(node, f"the tag {node.tag} is not supported; write the value alone")
        if isinstance(node, yaml.MappingNode):
            return self.mapping(node, depth)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(part, depth + 1) for part in node.value]
        return node.value if node.style else plain(node.value)  # '' or None is unquoted

    def mapping(self, node: Any, depth: int) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key, part in node.value:
            if not isinstance(key, yaml.ScalarNode):
                raise self.error(key, "a key is not a text; quote it")
            if key.value in found:
                raise self.error(key, f"the key {key.value!r} is repeated; remove one of them")
            if key.value == "<<":
                raise self.error(key, "<< is not supported; write the keys out, or name another file with base:")
            found[key.value] = self.value(part, depth + 1)
        return found

    def error(self, node: Any, fault: str) -> ConfigError:
        return ConfigError(f"{self.where}, line {node.start_mark.line + 1}: {fault}")


class _Dumper(yaml.SafeDumper):  # type: ignore[misc]
    """Texts that `plain` would read as something else are quoted; numbers are written as Python shows them."""

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, value: str) -> Any:
    style = None if plain(value) is value else "'"
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


def _number(dumper: _Dumper, value: float) -> Any:
    tag = dumper.resolve(yaml.ScalarNode, repr(value), (True, False))  # of 1e-05 `str`: YAML 1.1 needs a dot
    return dumper.represent_scalar(tag, repr(value))


_Dumper.add_representer(str, _text)
_Dumper.add_representer(float, _number)
