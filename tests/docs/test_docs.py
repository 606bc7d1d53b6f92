"""The pages agree with the code: their links, commands, options, settings, paths and shown code exist."""

from __future__ import annotations

import re
import shlex
from functools import cache
from pathlib import Path
from string import Template
from typing import Any

import pytest
import typer
from checkout import ROOT
from test_layers import LAYERS

import rilbench
from rilbench import Metric, Reward, Strategy
from rilbench.cli.main import app
from rilbench.contracts.components import Component
from rilbench.host import control
from rilbench.host.catalog import Catalog
from rilbench.host.discovery import GROUPS
from rilbench_explain import reference

PAGES = sorted(
    path
    for pattern in ("*.md", "docs/**/*.md", "examples/*/README.md")
    for path in ROOT.glob(pattern)
    if path.name != "CHANGELOG.md"
)
PLUGINS = (ROOT / "docs" / "plugins.md").read_text()
FOLDERS = "rilbench|commands|strategies|plugins|tests|benchmarks|configs|docs|examples"
every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())


@every_page
def test_links_resolve(page: Path) -> None:
    targets = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


@every_page
def test_named_files_exist(page: Path) -> None:
    named = re.findall(rf"`((?:{FOLDERS})/[\w./-]+)[`:]", page.read_text())
    assert [path for path in named if not (ROOT / path).exists()] == []


@every_page
def test_commands_and_options_exist(page: Path) -> None:
    for line in re.findall(r"^    (?:\$ )?(rilbench .*?)(?:  +#.*)?$", page.read_text(), re.M):
        words = shlex.split(line)[1:]
        command, options = words[0], known_options()
        name = f"{command} {words[1]}" if f"{command} {words[1]}" in options else command
        assert name in options, line
        unknown = {word for word in words if re.match(r"--?[a-z]", word)} - options[name]
        assert not unknown, line


@every_page
def test_settings_exist(page: Path) -> None:
    text = re.sub(r"`[\w-]+\.(yaml|md|json|py|png|safetensors)`", "", page.read_text())
    sections = "|".join({key.partition(".")[0] for key in known_settings() if "." in key})
    named = {key for key, _ in re.findall(rf"[ `'](({sections})\.[a-z_][\w.]*)(?=[=`])", text)}
    named |= set(re.findall(r"[ `']([a-z_]+\.[a-z_][\w.]*)=(?!=)", text))  # also of a section that is gone
    of_others = re.compile(r"\w+\.(acme|warmth|my-reward)\b|recipes\.rid\.redness\b")  # plugins that a page makes up
    assert {key for key in named if key not in known_settings() and not of_others.match(key)} == set()


def test_the_navigation_names_every_page() -> None:
    text = (ROOT / "mkdocs.yml").read_text()
    named = re.findall(r"^ +- [^:]+: (\S+\.md)$", text, re.M)
    docs = ROOT / "docs"
    assert sorted(named) == sorted(page.relative_to(docs).as_posix() for page in docs.rglob("*.md"))


def test_the_python_reference_has_every_public_name() -> None:
    named = set(re.findall(r"^::: rilbench\.(\w+)$", (ROOT / "docs/reference/python.md").read_text(), re.M))
    assert set(rilbench.__all__) - named == {"API_VERSION", "NoSettings", "hookimpl"}


def test_every_group_and_variable_is_described() -> None:
    assert all(f"`{group}`" in PLUGINS for group in GROUPS.values())
    variables = {control.ALLOW, control.DISABLE, control.STRICT}
    assert variables == set(re.findall(r"^\| `(RILBENCH_\w+)=", PLUGINS, re.M))


def test_the_layers_are_those_of_the_layer_test() -> None:
    table = (ROOT / "docs" / "design.md").read_text().split("## Layers")[1].split("## ")[0]
    assert tuple(re.findall(r"^\| `(\w+)(?:/|\.py)` \|", table, re.M)) == LAYERS


def test_the_code_shown_is_the_code_written() -> None:
    template = (ROOT / "commands/rilbench_plugins/scaffold/templates/reward/module.txt").read_text()
    written = Template(template).safe_substitute(name="my-reward", module="my_reward", cls="MyReward")
    (shown,) = (block for block in re.findall(r"```python\n(.*?)```", PLUGINS, re.S) if "def __call__" in block)
    assert shown in written


@pytest.mark.parametrize("kind", [Reward, Metric, Strategy], ids=lambda kind: kind.__name__)
def test_every_attribute_of_a_contract_is_in_the_table(kind: type[Component]) -> None:
    (row,) = re.findall(rf"^\| {kind.__name__.lower()} \|.*$", PLUGINS, re.M)
    public = {n for c in (kind, Component) for n in vars(c) if not n.startswith("_")} - {"api_version"}
    assert all(f"`{name}" in row for name in public), public


def test_every_reward_is_in_the_table() -> None:
    page = (ROOT / "docs" / "models.md").read_text()
    rewards = {p.name for p in Catalog().plugins if (p.kind, p.distribution) == ("reward", "rilbench")}
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| [^|]+ \| [^|]+ \|$", page, re.M)
    assert rewards <= {name for cell in cells for name in re.findall(r"`(\w+)`", cell)}


@cache
def known_options() -> dict[str, set[str]]:
    """Command to its options; of a group also `group command`."""
    group: Any = typer.main.get_command(app)
    context = typer.Context(group)
    found = {}
    for name in group.list_commands(context):
        _, command, _ = group.resolve_command(context, [name])
        found[name] = _options(command)
        found |= {f"{name} {sub}": _options(one) for sub, one in getattr(command, "commands", {}).items()}
    return found


def _options(command: Any) -> set[str]:
    return {option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)} | {
        "--help"
    }


@cache
def known_settings() -> set[str]:
    """Every setting, and every section and component that settings belong to."""
    sections = list(reference.sections(Catalog(), print))
    keys = {one.key for section in sections for one in section.settings}
    return keys | {section.name for section in sections}
