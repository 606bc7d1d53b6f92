"""What a new plugin is called: by the user, by pip, by Python; and which names cannot be used."""

from __future__ import annotations

import builtins
import keyword
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.util import find_spec

from rilbench.contracts.errors import UsageError
from rilbench.engine.config import ANY
from rilbench.host import discovery

USABLE = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST = 30  # characters; import lines of the generated code then fit
FOLDERS = ("build", "dist", "runs", "tests")  # what other folders of a package are called


@dataclass(frozen=True)
class Names:
    """`name` is what the user types, here and in `rilbench run`; the others follow from it."""

    name: str

    @property
    def distribution(self) -> str:
        """What pip calls it: my-reward."""
        return self.name.replace("_", "-")

    @property
    def module(self) -> str:
        """What Python imports: my_reward."""
        return self.name.replace("-", "_")

    @property
    def cls(self) -> str:
        """The class: MyReward."""
        return "".join(part.capitalize() for part in self.module.split("_"))


def usable(name: str) -> Names:
    """The names of a plugin; UsageError when they cannot be names of a folder, a package, a module and a class."""
    if not USABLE.fullmatch(name):
        shape = "write lower-case letters, digits, - and _, starting with a letter"
        raise UsageError(f"the name {name!r} cannot be used: {shape}, for example {_nearest(name)!r}.")
    if len(name) > LONGEST:
        raise UsageError(f"the name {name!r} has {len(name)} characters: use at most {LONGEST}.")
    names = Names(name)
    if keyword.iskeyword(names.module) or hasattr(builtins, names.cls):
        raise UsageError(f"the name {name!r} means something in Python: choose another, for example 'my-{name}'.")
    if name == ANY:
        raise UsageError(f"the name {name!r} stands for every reward in a configuration: choose another.")
    if names.module in FOLDERS:
        raise UsageError(f"the name {name!r} is that of a folder beside the code: choose another, such as 'my-{name}'.")
    return names


def free(names: Names) -> None:
    """UsageError when something installed has one of the names, and would be hidden or replaced."""
    owner = _component(names) or _distribution(names) or _module(names)
    if owner:
        raise UsageError(f"the name {names.name!r} is taken by {owner}: choose another, or uninstall that first.")


def _nearest(name: str) -> str:
    """A usable name like the one given: my-reward for MyReward or "my reward"."""
    parted = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()
    parts = re.findall(r"[a-z0-9]+", parted)
    guess = "-".join(parts)
    return guess if USABLE.fullmatch(guess) else f"my-{guess or 'plugin'}"


def _component(names: Names) -> str | None:
    found = [entry for entry in discovery.entries() if entry.name == names.name]
    return f"the {found[0].kind} of {found[0].origin}" if found else None


def _distribution(names: Names) -> str | None:
    try:
        return f"the installed distribution {names.distribution} {distribution(names.distribution).version}"
    except PackageNotFoundError:
        return None


def _module(names: Names) -> str | None:
    if names.module in sys.stdlib_module_names:
        return f"the module {names.module} of Python's standard library"
    spec = find_spec(names.module)
    return None if spec is None else f"the module {names.module} in {spec.origin or 'a folder on the path'}"
