"""Commands are plugins: listed without importing one, imported when called, guarded as other plugins are."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import fabricate
import pytest
import stores
from checkout import ROOT
from command import rilbench as in_process

from rilbench.cli.summary import summary
from rilbench.host.catalog import Catalog
from rilbench.store.results import load_result

GREET = """
import typer

def command(name: str, loud: bool = False) -> None:
    '''Greet [/bold] somebody.

    Nothing else.
    '''
    print("a plain print")
    typer.echo(f"hello {name}{'!' if loud else ''}")
"""
GROUP = """'''Greet in several ways.

More about it.
'''
import typer
app = typer.Typer()

@app.command()
def morning() -> None:
    print("good morning")

@app.command()
def night() -> None:
    print("good night")
"""


def rilbench(*arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout and stderr."""
    done = in_process(*arguments)
    return done.code, done.out, done.err


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path for made-up distributions."""
    folder = tmp_path / "site"
    folder.mkdir()
    monkeypatch.syspath_prepend(str(folder))
    return folder


def test_a_function_is_a_command(site: Path) -> None:
    fabricate.command(site, "greet", GREET)
    code, out, err = rilbench("--help")
    assert (code, err) == (0, "")
    assert re.search(r"^  greet +Greet \[/bold\] somebody\.$", out, re.M)
    assert "greet" not in sys.modules
    assert rilbench("greet", "Ada", "--loud") == (0, "a plain print\nhello Ada!\n", "")
    assert "Greet [/bold] somebody." in rilbench("greet", "--help")[1]
    assert rilbench("greet")[0] == 2


def test_a_typer_app_is_a_group_of_commands(site: Path) -> None:
    fabricate.command(site, "greetings", GROUP, attribute="app")
    assert re.search(r"^  greetings +Greet in several ways\.$", rilbench("--help")[1], re.M)
    assert rilbench("greetings", "night") == (0, "good night\n", "")
    usage = rilbench("greetings", "--help")[1]
    assert "morning" in usage
    assert "completion" not in usage


def test_help_imports_no_command() -> None:
    """Nor a library that takes long to import; what is needed to list them comes with Python, Typer or pluggy."""
    code = (
        "import sys\nfrom rilbench.cli import main\nsys.argv = ['rilbench', '--help']\n"
        "try:\n    main()\nexcept SystemExit:\n    print('LOADED', *sorted({m.partition('.')[0] for m in sys.modules}))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    text, _, loaded = done.stdout.rpartition("LOADED ")
    commands = Catalog().names("command")
    assert {"compare", "study", "upload", "reference"} <= set(commands)
    assert all(re.search(rf"^  {name} +[A-Z]", text, re.M) for name in commands)
    assert not {name for name in loaded.split() if name.startswith("rilbench_")}
    assert not {"torch", "numpy", "pydantic", "rich", "yaml", "omegaconf"} & set(loaded.split())


@pytest.mark.parametrize("plugin", [p for p in Catalog().plugins if p.kind == "command"], ids=lambda p: p.name)
def test_every_command_of_ours_is_described_in_a_line(plugin: object) -> None:
    text = summary(plugin.value)  # type: ignore[attr-defined]
    assert text.endswith(".")
    assert len(text) < 90


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import nothing_of_that_name", "cannot be imported: ModuleNotFoundError: No module named"),
        ("raise SystemExit('no licence')", "cannot be imported: SystemExit: no licence"),
        ("def other() -> None: ...", "cannot be imported: AttributeError: module 'broken' has no attribute 'command'"),
        ("command = 3", "is neither a function nor a typer.Typer"),
        ("def command(x: 'Missing') -> None: ...", "cannot be read by Typer: NameError: name 'Missing' is not defined"),
    ],
)
def test_a_broken_command_is_blamed_when_it_is_called(site: Path, source: str, message: str) -> None:
    fabricate.command(site, "broken", source)
    assert rilbench("--help")[0] == 0
    code, out, err = rilbench("broken")
    assert (code, out) == (3, "")
    assert f"error: command 'broken' of broken 1.2 (broken:command) {message}" in err


def test_a_name_claimed_twice_is_an_error_until_one_is_switched_off(
    site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fabricate.command(site, "report", GREET, distribution_name="acme")
    code, out, err = rilbench("--help")
    assert code == 0
    assert "warning: command 'report' cannot be used: conflict: claimed by" in err
    assert not re.search("^  report ", out, re.M)
    code, _, err = rilbench("report", "x")
    assert code == 3
    assert "acme 1.2 (command acme:command)" in err
    assert "RILBENCH_DISABLE_PLUGINS=acme" in err
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "acme")
    assert "self-contained HTML" in rilbench("--help")[1]
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "rilbench:report")
    assert rilbench("report", "Ada")[1].endswith("hello Ada\n")


def test_run_cannot_be_replaced(site: Path) -> None:
    fabricate.command(site, "run", GREET, distribution_name="acme")
    code, out, err = rilbench("--help")
    assert code == 0
    assert "the command 'run' is rilbench's own; register another name" in err
    assert len(re.findall("^  run ", out, re.M)) == 1
    assert "--rewards" in rilbench("run", "--help")[1]


def test_the_lists_of_plugins_hold_for_commands(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fabricate.command(site, "greet", GREET)
    monkeypatch.setenv("RILBENCH_PLUGINS", "")
    out = rilbench("--help")[1]
    assert "greet" not in out
    assert "study" in out
    assert "is switched off: not in RILBENCH_PLUGINS" in rilbench("greet", "Ada")[2]
    monkeypatch.setenv("RILBENCH_PLUGINS", "greet")
    assert rilbench("greet", "Ada")[0] == 0
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "command/greet,ui")
    out = rilbench("--help")[1]
    assert "greet" not in out
    assert not re.search("^  ui ", out, re.M)


def test_strict_mode_fails_on_a_command_that_cannot_be_used(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILBENCH_STRICT_PLUGINS", "1")
    assert rilbench("--help")[0] == 0
    fabricate.command(site, "broken", "import nothing_of_that_name")
    code, _, err = rilbench("plugins", "list")
    assert code == 3
    assert "command 'broken' of broken 1.2" in err
    fabricate.command(site, "report", GREET, distribution_name="acme")
    code, _, err = rilbench("--help")
    assert code == 3
    assert "command 'report' cannot be used" in err


def test_plugins_show_and_check_a_command(site: Path) -> None:
    fabricate.command(site, "greet", GREET)
    shown = json.loads(rilbench("plugins", "show", "greet", "--json")[1])
    assert (shown["kind"], shown["distribution"], shown["licence"]) == ("command", "greet 1.2", "MIT")
    assert shown["about"].startswith("Greet")
    code, _, err = rilbench("plugins", "check", "greet")
    assert code == 2
    assert "try it with `rilbench greet --help`" in err


@pytest.mark.parametrize("typo", ["stduy", "greeet"])
def test_an_unknown_command_suggests_the_nearest(site: Path, typo: str) -> None:
    fabricate.command(site, "greet", GREET)
    code, _, err = rilbench(typo)
    assert code == 2
    assert f"unknown command {typo!r}. Did you mean {'greet' if typo == 'greeet' else 'study'!r}?" in err


def test_the_example_of_the_docs(site: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "plugins.md").read_text().split("## Commands")[1]
    project = tomllib.loads(re.findall(r"```toml\n(.*?)```", page, re.S)[0])["project"]
    (source,) = re.findall(r"```python\n(.*?)```", page, re.S)
    ((name, value),) = project["entry-points"]["rilbench.commands"].items()
    module = value.partition(":")[0]
    fabricate.distribution(site, project["name"], f"[rilbench.commands]\n{name} = {value}\n", {module: source})
    assert "Print how much a run forgot in each metric." in rilbench("--help")[1]
    run = stores.save(tmp_path / "runs", "rid")
    code, out, _ = rilbench(name, str(run), "--json")
    assert code == 0
    assert json.loads(out)["png_kb"] == load_result(run).matrix.forgetting("png_kb")
