"""Creates the files of a new plugin from the templates in this folder, all or none."""

from __future__ import annotations

import builtins
import keyword
import os
import re
import sys
from collections.abc import Iterable
from contextlib import suppress
from importlib import metadata
from importlib.metadata import PackageNotFoundError
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
    if not USABLE.fullmatch(name):
        shape = "write lower-case letters, digits, - and _, starting with a letter"
        raise UsageError(f"the name {name!r} cannot be used: {shape}, for example {_nearest(name)!r}.")
    names = {"name": name, "distribution": name.replace("_", "-"), "module": name.replace("-", "_")}
    names["cls"] = "".join(part.capitalize() for part in names["module"].split("_"))
    target = parent / name
    if not parent.is_dir():
        raise UsageError(f"there is no folder {str(parent)!r}: make it first, or name another with --folder.")
    if os.path.lexists(target):
        raise UsageError(f"{str(target)!r} exists already and is left as it is: choose another name or --folder.")
    texts = _texts(names | {"kind": kind, "group": GROUPS[kind], "api_version": str(API_VERSION)})
    if why := _unusable(**names) or _taken(**names) or _hides(names["cls"], names["module"], texts.values()):
        raise UsageError(f"the name {name!r} {why}: choose another, for example 'my-{name}'.")
    _write(target, texts)
    return target


def _unusable(name: str, distribution: str, module: str, cls: str) -> str:
    """Why a name cannot be used for a folder, a package, a module and a class; empty if it can."""
    if len(name) > LONGEST:
        return f"has {len(name)} characters: use at most {LONGEST}"
    if keyword.iskeyword(module) or hasattr(builtins, cls):
        return "is reserved in Python"
    if name == ANY:
        return "means every reward in a configuration"
    return "is the name of another folder of the package" if module in FOLDERS else ""


def _taken(name: str, distribution: str, module: str, cls: str) -> str:
    """What is already installed under one of the names; empty if nothing is."""
    plugin = next((plugin for plugin in discovery.registered() if plugin.name == name), None)
    if plugin:
        return f"is taken by the {plugin.kind} of {plugin.origin}"
    with suppress(PackageNotFoundError):
        return f"is taken by the installed distribution {distribution} {metadata.version(distribution)}"
    if module in sys.stdlib_module_names:
        return f"is taken by the module {module} of Python's standard library"
    spec = find_spec(module)
    return f"is taken by the module {module} in {spec.origin or 'a folder on the path'}" if spec else ""


def _hides(cls: str, module: str, texts: Iterable[str]) -> str:
    """Whether the class would shadow a name that a file imports or defines, as `class Reward(Reward)` would."""
    other = re.compile(rf"^(from (?!{module} ).* import .*\b{cls}\b|class {cls}:)", re.MULTILINE)
    return f"would shadow {cls}" if any(map(other.search, texts)) else ""


def _nearest(name: str) -> str:
    """A usable name similar to the given one: my-reward for MyReward or "my reward"."""
    guess = "-".join(re.findall(r"[a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower()))
    return guess if USABLE.fullmatch(guess) else f"my-{guess or 'plugin'}"


def _texts(values: dict[str, str]) -> dict[str, str]:
    """The files of the package: path to content."""
    about, _, use = _filled("$kind/use.txt", values).partition("\n\n")
    values = values | {"about": about, "use": use}
    return {Template(path).substitute(values): _filled(template, values) for path, template in FILES.items()}


def _filled(template: str, values: dict[str, str]) -> str:
    path = files("rilbench_plugins.scaffold") / "templates" / Template(template).substitute(values)
    return Template(path.read_text(encoding="utf-8")).substitute(values)


def _write(target: Path, texts: dict[str, str]) -> None:
    """Write all files to a temporary folder next to the target, then rename it."""
    try:
        with TemporaryDirectory(dir=target.parent, prefix=f".{target.name}-") as folder:
            part = Path(folder) / target.name
            for path, text in texts.items():
                (part / path).parent.mkdir(parents=True, exist_ok=True)
                (part / path).write_text(text, encoding="utf-8")
            part.rename(target)
    except OSError as error:
        raise RilbenchError(
            f"cannot write {str(target)!r}: {error}. Nothing was created; fix this or change --folder."
        ) from None
