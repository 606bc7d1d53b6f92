"""docs/plugins.md and docs/export.md are true: what they show is what the program has."""

from __future__ import annotations

import re
from collections.abc import Callable
from string import Template

import pytest
import typer
from broken_plugins import CASES, Case
from checkout import ROOT

from rilbench import Metric, Reward, Strategy
from rilbench.cli.main import app
from rilbench.contracts.components import Component
from rilbench.host import control
from rilbench.host.discovery import GROUPS
from rilbench.testing import checks_for

PAGE = (ROOT / "docs" / "plugins.md").read_text()
TITLES = {"Rewards also:": Reward, "Metrics also:": Metric, "Strategies also:": Strategy}


def listed(title: str) -> list[str]:
    """The checks of a table."""
    table = PAGE.split(title)[1].split("\n\n")[1]
    return re.findall(r"^\| `(\w+)` \|", table, re.M)


@pytest.mark.parametrize("title", TITLES)
def test_every_check_is_listed(title: str) -> None:
    names = [check.name for check in checks_for(TITLES[title])]
    assert [*listed("For every kind:"), *listed(title)] == names


def test_the_checks_of_every_kind_are() -> None:
    common = set.intersection(*({c.name for c in checks_for(kind)} for kind in TITLES.values()))
    assert set(listed("For every kind:")) <= common


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_every_message_of_a_broken_plugin_is_shown(case: Case) -> None:
    fault, message = case.name.replace("_", " "), (case.warning or case.selected).format(name="acme")
    assert f"| {fault} | {message} |" in PAGE


def test_every_group_and_variable_is_described() -> None:
    assert all(f"`{group}`" in PAGE for group in GROUPS.values())
    assert {control.ALLOW, control.DISABLE, control.STRICT} == set(re.findall(r"^\| `(RILBENCH_\w+)=", PAGE, re.M))


def test_the_code_shown_is_the_code_written() -> None:
    template = (ROOT / "commands/rilbench_plugins/scaffold/templates/reward/module.txt").read_text()
    written = Template(template).safe_substitute(name="my-reward", module="my_reward", cls="MyReward")
    (shown,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "def __call__" in block)
    assert shown in written


@pytest.mark.parametrize("kind", TITLES.values(), ids=lambda kind: kind.__name__)
def test_every_attribute_of_a_contract_is_in_the_table(kind: type[Component]) -> None:
    (row,) = re.findall(rf"^\| {kind.__name__.lower()} \|.*$", PAGE, re.M)
    public = {n for c in (kind, Component) for n in vars(c) if not n.startswith("_")} - {"api_version"}
    assert all(f"`{name}" in row for name in public), public


@pytest.mark.parametrize("page", ["plugins", "export"])
def test_the_links_lead_somewhere(page: str) -> None:
    targets = re.findall(r"\]\(([^)#:]+)\)", (ROOT / "docs" / f"{page}.md").read_text())
    assert targets
    assert all((ROOT / "docs" / target).exists() for target in targets), targets


@pytest.mark.parametrize("command", ["generate", "export", "evaluate"])
def test_every_option_of_the_commands_is_described(command: str) -> None:
    page = (ROOT / "docs" / "export.md").read_text()
    (function,) = (info.callback for info in app.registered_commands if info.callback.__name__ == command)
    made = typer.main.get_command(_alone(function))
    known = {option for parameter in made.params for option in parameter.opts if option.startswith("--")}
    everywhere = {"--plugin", "--help", "--quiet", "--stages"}  # the last is another spelling
    assert all(option in page for option in known - everywhere), known
    block = " ".join(re.findall(rf"^    rilbench {command} .*$", page, re.M))
    assert block
    assert set(re.findall(r"--[a-z]+", block)) <= known


def _alone(function: Callable[..., None]) -> typer.Typer:
    single = typer.Typer(add_completion=False)
    single.command()(function)
    return single
