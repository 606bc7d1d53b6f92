"""The files of a new plugin, from the templates beside this file, written whole or not at all."""

from __future__ import annotations

import ast
import builtins
import keyword
import os
import re
import sys
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from importlib.resources import files
from importlib.util import find_spec
from pathlib import Path
from string import Template
from tempfile import TemporaryDirectory

from rilbench.contracts.components import API_VERSION
from rilbench.contracts.errors import RilbenchError, UsageError, unknown
from rilbench.engine.config import ANY
from rilbench.host import discovery
from rilbench.host.discovery import GROUPS

KINDS = ("reward", "metric", "strategy")
FILES = {  # path in the package: template
    "pyproject.toml": "common/pyproject.txt",
    "README.md": "common/readme.txt",
    ".gitignore": "common/gitignore.txt",
    ".github/workflows/test.yml": "common/workflow.txt",
    "$module/__init__.py": "$kind/module.txt",
    "$module/py.typed": "common/typed.txt",
    "tests/test_$module.py": "$kind/test.txt",
}
USABLE = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
LONGEST = 30  # characters; import lines of the generated code then fit
FOLDERS = ("build", "dist", "runs", "tests")  # what other folders of a package are called


def create(kind: str, name: str, parent: Path) -> Path:
    """Write the package of a new component into the folder `parent / name`, which is returned.

    kind: reward, metric or strategy. name: what users will write in `rilbench run`, such as my-reward.
    UsageError when the kind, the name or the folder cannot be used; nothing that exists is changed.
    """
    if kind not in KINDS:
        raise UsageError(unknown("kind of plugin", kind, KINDS))
    names = usable(name)
    target = _vacant(parent, name)
    free(names)
    texts = _texts(kind, names)
    _check_class(names, texts[f"{names.module}/__init__.py"], texts[f"tests/test_{names.module}.py"])
    _write(target, texts)
    return target


def _vacant(parent: Path, name: str) -> Path:
    """The folder to be made; UsageError when it cannot be."""
    target = parent / name
    if not parent.is_dir():
        raise UsageError(f"there is no folder {str(parent)!r}: make it first, or name another with --folder.")
    if os.path.lexists(target):
        raise UsageError(f"{str(target)!r} exists already and is left as it is: choose another name or --folder.")
    if not os.access(parent, os.W_OK | os.X_OK):
        raise UsageError(f"the folder {str(parent)!r} is not writable: name another with --folder.")
    return target


def _texts(kind: str, names: Names) -> dict[str, str]:
    """The files of the package: path to content."""
    values = {"kind": kind, "name": names.name, "module": names.module, "cls": names.cls, "group": GROUPS[kind]}
    values |= {"distribution": names.distribution, "api_version": str(API_VERSION)}
    values["about"], _, values["use"] = _filled(f"{kind}/use.txt", values).partition("\n\n")
    return {_text(path, values): _filled(_text(template, values), values) for path, template in FILES.items()}


def _filled(template: str, values: Mapping[str, str]) -> str:
    path = files("rilbench_plugins.scaffold") / "templates" / template
    return _text(path.read_text(encoding="utf-8"), values)


def _text(template: str, values: Mapping[str, str]) -> str:
    return Template(template).substitute(values)


def _check_class(names: Names, code: str, tests: str) -> None:
    """UsageError when the class would hide what its module imports, as `class Reward(Reward)` would, or its tests."""
    nodes = [*ast.walk(ast.parse(code)), *ast.walk(ast.parse(tests))]
    used = {
        a.name for node in nodes if isinstance(node, ast.ImportFrom) for a in node.names if node.module != names.module
    }
    used |= {node.name for node in ast.walk(ast.parse(tests)) if isinstance(node, ast.ClassDef)}
    if names.cls in used:
        raise UsageError(f"the name {names.name!r} would hide {names.cls}: choose another, such as 'my-{names.name}'.")


def _write(target: Path, texts: Mapping[str, str]) -> None:
    """All files in a temporary folder beside the target, then under its name."""
    try:
        with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
            part = Path(folder) / target.name
            for path, text in texts.items():
                (part / path).parent.mkdir(parents=True, exist_ok=True)
                (part / path).write_text(text, encoding="utf-8")
            part.rename(target)
    except OSError as error:
        raise RilbenchError(
            f"cannot write {str(target)!r}: {error}. Nothing was made; mend that or change --folder."
        ) from None


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
    owner = next((f"the {e.kind} of {e.origin}" for e in discovery.registered() if e.name == names.name), "")
    if not owner:
        with suppress(PackageNotFoundError):
            found = distribution(names.distribution)
            owner = f"the installed distribution {names.distribution} {found.version}"
    if not owner and names.module in sys.stdlib_module_names:
        owner = f"the module {names.module} of Python's standard library"
    if not owner and (spec := find_spec(names.module)):
        owner = f"the module {names.module} in {spec.origin or 'a folder on the path'}"
    if owner:
        raise UsageError(f"the name {names.name!r} is taken by {owner}: choose another, or uninstall that first.")


def _nearest(name: str) -> str:
    """A usable name like the one given: my-reward for MyReward or "my reward"."""
    guess = "-".join(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()))
    return guess if USABLE.fullmatch(guess) else f"my-{guess or 'plugin'}"
