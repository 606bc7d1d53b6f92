"""Addresses without their secrets, for everything that is written, printed, logged or sent.

User names, passwords and the values of parameters such as `token` or `api_key` are removed, also from addresses that no
parser accepts: a misspelt scheme, a password with `#`, `/` or `?` in it. When in doubt, text is removed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

GONE = "***"
ENV = "env:"  # a text with this prefix names a variable of the environment and is not a secret
ADDRESS = re.compile(r"[A-Za-z][\w+.-]*:[^\s'\"`<>]+")
START = re.compile(r"(url:)?([A-Za-z][\w+.-]*:)?/{0,3}")
PARAMETER = re.compile(r"([?&;#])([^=&;#?\s'\"]+)=([^&;#\s'\"]*)")
SECRET = re.compile(
    r"(?i)(token|secret|passw(or)?d|passphrase|pwd|credentials?|signature|authorization|jwt|bearer"
    r"|(api|access|private|secret|account|subscription)[-_.]?key)$|^(key|pass|sig|sas|auth|code|session)$"
)


def public(address: str) -> str:
    """One address, the whole text, without its secrets; a text without secrets is returned unchanged."""
    match = START.match(address)
    start = match[0] if match else ""
    rest = address[len(start) :]
    before, at, after = rest.rpartition("@")
    authority = "" if start.endswith("///") else re.split(r"[/?#]", rest, maxsplit=1)[0]
    if at and (":" in before or "@" in authority):
        rest = after
    return start + PARAMETER.sub(_parameter, rest)


def anonymous(address: str) -> str:
    """The part of an address that is hashed: the same for every user, different for every file.

    Without the values of secret parameters, in clear or by a variable, and without a user; unlike `public` it keeps
    text before an `@` in the path.
    """
    match = START.match(address)
    start = match[0] if match else ""
    authority, slash, path = address[len(start) :].partition("/")
    kept = start + authority.rpartition("@")[2] + slash + path
    return re.sub(rf"={ENV}\w*", f"={GONE}", PARAMETER.sub(_parameter, kept))


def redacted(text: str) -> str:
    """A text with every address in it as `public` has it."""
    return PARAMETER.sub(_parameter, ADDRESS.sub(lambda match: public(match[0]), text))


def argument(text: str) -> str:
    """A word of a command line, which may be an address or `key=ADDRESS`."""
    key, equals, value = text.partition("=")
    if not equals or not re.fullmatch(r"[\w.-]+", key):
        return _whole(text)
    hidden = is_secret(key.rpartition(".")[2]) and not value.startswith(ENV)
    return f"{key}={GONE if hidden else _whole(value)}"


def values(value: Any) -> Any:
    """The same nested mappings and lists with their texts redacted."""
    if isinstance(value, str):
        return _whole(value)
    if isinstance(value, Mapping):
        return {key: values(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(values(part) for part in value)
    return value


def is_secret(name: str) -> bool:
    """True if a parameter of this name is a secret."""
    return SECRET.search(name) is not None


def _whole(text: str) -> str:
    """A text that is one address where it begins like one: passwords may hold spaces and quotes."""
    return public(text) if re.match(r"(url:)?[A-Za-z][\w+.-]*:/", text) else redacted(text)


def _parameter(match: re.Match[str]) -> str:
    mark, name, value = match.groups()
    hidden = value and is_secret(name) and not value.startswith(ENV)
    return f"{mark}{name}={GONE if hidden else value}"
