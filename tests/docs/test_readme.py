"""The README is true: its commands run, its example reward works, its files exist."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import toy
from checkout import ROOT

from rilbench.engine import run as engine
from rilbench.engine.config import load
from rilbench.engine.progress import Reporter
from rilbench.host.catalog import Catalog
from rilbench_study import definition

README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^    (rilbench .*?)(?:  +#.*)?$", README, re.M)))
SHORT = [
    "train.samples=16",
    "evaluate.images_per_prompt=1",
    "evaluate.bootstrap=50",
    "tracking=false",
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("readme")


def rilbench(arguments: list[str], cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "rilbench.cli", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


def test_main_commands_run_on_the_embedded_benchmark(folder: Path) -> None:
    """The README's runs, shortened by settings only, then its comparison."""
    runs = [c for c in COMMANDS if c.startswith("rilbench run --strategy")]
    assert "rilbench run --strategy rid --rewards aesthetic,hps" in runs
    for command in runs:
        done = rilbench([*shlex.split(command)[1:], *SHORT, "--json"], folder)
        assert done.returncode == 0, done.stderr
        stages = json.loads(done.stdout)["stages"]
        assert [s["label"] for s in stages] == ["base", "aesthetic", "hps"]
        assert stages[1]["values"]["aesthetic"] != stages[0]["values"]["aesthetic"]
    assert "rilbench compare runs" in COMMANDS
    done = rilbench(["compare", "runs"], folder)
    assert done.returncode == 0, done.stderr
    assert "baseline" in done.stdout
    assert "rid" in done.stdout


@pytest.mark.parametrize("strategy", ["joint", "soup"])
def test_short_real_run_of_the_other_strategies(folder: Path, strategy: str) -> None:

    done = rilbench(["run", "-s", strategy, "-r", "aesthetic,compressibility", *SHORT, "--json"], folder)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert [s["label"] for s in result["stages"]] == {
        "joint": ["base", "aesthetic+compressibility"],
        "soup": ["base", "aesthetic", "compressibility", "merge"],
    }[strategy]
    assert len(result["stages"][-1]["values"]) == 9


def test_every_other_command_is_known(folder: Path) -> None:
    for command in COMMANDS:
        name, *rest = shlex.split(command)[1:]
        done = rilbench([name, *(rest[:1] if name == "plugins" else []), "--help"], folder)
        assert done.returncode == 0, command


def test_every_reward_is_in_the_table() -> None:
    rewards = {p.name for p in Catalog().plugins if (p.kind, p.distribution) == ("reward", "rilbench")}
    cells = re.findall(r"^\| (`\w+`(?:, `\w+`)*) \| [^|]+ \| [^|]+ \|$", README, re.M)
    assert {name for cell in cells for name in re.findall(r"`(\w+)`", cell)} == rewards


def test_configurations_in_the_readme_load() -> None:
    names = set(re.findall(r"--config (\w+)", README))
    studies = {name for name in names if name.startswith("study_")}
    assert "sd15" in names
    assert "study_shapes" in studies
    assert all(load(name).rewards for name in names - studies)
    assert all(definition.load(name).orders for name in studies)


def test_the_readme_reward_works(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (module,) = re.findall(r"```python\n(# my_reward.py\n.*?)```", README, re.S)
    (workplace / "my_reward.py").write_text(module)
    monkeypatch.syspath_prepend(workplace)
    (value,) = re.findall(r'redness = "(.*?)"', README)
    reward = EntryPoint("redness", value, "rilbench.rewards")
    config = toy.config(workplace, "rewards=[redness]", "train.samples=24", "strategy=baseline")
    result = engine.run(config, catalog=toy.catalog(reward), reporter=Reporter(quiet=True)).result
    before, after = result.matrix.values("redness")
    assert after > before


def test_linked_files_exist() -> None:
    links = re.findall(r"\]\(((?!http).*?)\)", README)
    assert links
    assert all((ROOT / link).exists() for link in links)


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"^    make (\w+)", README, re.M):
        assert re.search(rf"^{target}:", makefile, re.M)
