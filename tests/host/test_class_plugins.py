"""Classes given as plugins: what their identity is made of, in a notebook and in a module."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import notebook
import pytest

from rilbench.contracts.errors import PluginError, UsageError
from rilbench.engine import identity
from rilbench.host.catalog import Catalog
from rilbench.host.given import given as entry_of
from rilbench.host.plugin import BY_HAND

CELL = """\
from rilbench import Reward

def weight():
    return {weight}

class Base(Reward):
    def factor(self):
        return {base}

class MyRedness(Base):
    \"\"\"Red.\"\"\"

    def __call__(self, images, prompts):
        return images[:, 0].mean((1, 2)) * {factor}
"""


def written(*, weight: int = 1, base: int = 1, factor: int = 1) -> type:
    made: type = notebook.cell(CELL.format(weight=weight, base=base, factor=factor))["MyRedness"]
    return made


def what(cls: type) -> tuple[str, str]:
    """Version and source, which make the identity."""
    return entry_of(cls).version, identity.source(cls)


@pytest.fixture(autouse=True)
def started(monkeypatch: pytest.MonkeyPatch) -> None:
    notebook.start(monkeypatch)


def test_a_class_of_a_notebook_is_its_own_text() -> None:
    known = what(written())
    assert known == what(written()) == what(written(weight=2))  # what it calls is not seen
    versions = {known, what(written(factor=2)), what(written(base=2))}
    assert len({version for version, _ in versions}) == len({source for _, source in versions}) == 3


def test_it_is_found_by_its_name_and_is_the_class_itself() -> None:
    cls = written()
    plugin = Catalog([entry_of(cls)]).get("reward", "my_redness")
    assert plugin.load() is cls
    assert (plugin.value, plugin.distribution) == ("__main__:MyRedness", BY_HAND)


def test_what_has_no_text_is_refused() -> None:
    with pytest.raises(PluginError, match=r"source of the class MyRedness cannot be read.*notebook cell, a script"):
        entry_of(notebook.cell(CELL.format(weight=1, base=1, factor=0), kept=False)["MyRedness"])


def test_a_class_of_a_module_is_what_the_command_line_has(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my_rewards.py").write_text(CELL.format(weight=1, base=1, factor=1))
    named = entry_of("my_rewards:MyRedness")
    cls = sys.modules["my_rewards"].MyRedness
    given = entry_of(cls)
    assert vars(given) == vars(named) | {"loaded": cls}


def test_a_file_that_changes_counts_when_it_is_imported_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Until then the old code runs, so what it trains must not be stored as the new one's."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    (tmp_path / "my_rewards.py").write_text(CELL.format(weight=1, base=1, factor=1))
    named = entry_of("my_rewards:MyRedness")
    module = sys.modules["my_rewards"]
    known = named.version, identity.source(module.MyRedness)
    (tmp_path / "my_rewards.py").write_text(CELL.format(weight=1, base=1, factor=10))
    assert (entry_of("my_rewards:MyRedness").version, identity.source(module.MyRedness)) == known
    importlib.reload(module)
    new = entry_of("my_rewards:MyRedness").version, identity.source(module.MyRedness)
    assert not set(new) & set(known)


@pytest.mark.parametrize("plugin", [3, written], ids=["number", "function"])
def test_what_is_no_class_is_refused(plugin: type) -> None:
    with pytest.raises(UsageError, match="is not a plugin; give a class, or a text"):
        entry_of(plugin)


def test_the_command_line_cannot_name_a_class_of_a_notebook() -> None:
    with pytest.raises(UsageError, match="__main__:MyRedness: is a class of a notebook or script; move it to a module"):
        entry_of("__main__:MyRedness")
