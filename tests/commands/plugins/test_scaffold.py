"""`rilbench plugins new`: what it writes, what it refuses, and that it works once it is installed."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
import tomllib
from importlib.util import find_spec
from pathlib import Path

import pytest
import toy
from command import rilbench

from rilbench.contracts.components import API_VERSION
from rilbench.contracts.errors import RilbenchError, UsageError
from rilbench.host.discovery import GROUPS
from rilbench_plugins.scaffold import KINDS, create

ENVIRON = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"} | {"OMP_NUM_THREADS": "1"}


def succeed(*command: str | Path, cwd: Path, site: Path | None = None) -> str:
    """What `python -m` prints, where `site` is on Python's path."""
    line = [sys.executable, "-m", *map(str, command)]
    environ = ENVIRON | ({"PYTHONPATH": str(site)} if site else {})
    done = subprocess.run(line, cwd=cwd, env=environ, capture_output=True, text=True, check=False)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with my-reward, my-metric and my-strategy."""
    folder = tmp_path_factory.mktemp("packages")
    for kind in KINDS:
        create(kind, f"my-{kind}", folder)
    return folder


@pytest.fixture(scope="module")
def site(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which pip has installed the three packages, not editable."""
    folder = tmp_path_factory.mktemp("site")
    offline = ("--no-index", "--no-deps", "--no-build-isolation", "--disable-pip-version-check", "--target", folder)
    succeed("pip", "install", *offline, *(packages / f"my-{kind}" for kind in KINDS), cwd=packages)
    return folder


@pytest.mark.parametrize("kind", KINDS)
def test_a_package_is_complete(tmp_path: Path, kind: str) -> None:
    folder = create(kind, "my_own-thing2", tmp_path)
    assert folder == tmp_path / "my_own-thing2"
    assert {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()} == {
        ".github/workflows/test.yml",
        ".gitignore",
        "README.md",
        "my_own_thing2/__init__.py",
        "my_own_thing2/py.typed",
        "pyproject.toml",
        "tests/test_my_own_thing2.py",
    }
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    assert project["name"] == "my-own-thing2"
    assert project["entry-points"] == {GROUPS[kind]: {"my_own-thing2": "my_own_thing2:MyOwnThing2"}}
    assert f"api_version = {API_VERSION} " in (folder / "my_own_thing2" / "__init__.py").read_text()
    assert [path.name for path in tmp_path.iterdir()] == [folder.name]  # nothing temporary


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["x", "my-reward", "thirty-characters-are-the-most"])
def test_generated_code_compiles_and_is_clean(tmp_path: Path, kind: str, name: str) -> None:
    folder = create(kind, name, tmp_path)
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert not [path for path in files if "$" in path.read_text() or "://" in path.read_text()]
    for path in files:
        if path.suffix == ".py":
            ast.parse(path.read_text())
    if find_spec("ruff"):  # comes with the dev extra only
        succeed("ruff", "check", "--no-cache", folder, cwd=folder)
        succeed("ruff", "format", "--no-cache", "--check", folder, cwd=folder)


def test_the_folder_has_ordinary_permissions(tmp_path: Path) -> None:
    ordinary = tmp_path / "ordinary"
    ordinary.mkdir()
    assert create("reward", "my-reward", tmp_path).stat().st_mode == ordinary.stat().st_mode


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("", "'my-plugin'"),
        ("3d", "'my-3d'"),
        ("my reward", "'my-reward'"),
        ("MyReward", "'my-reward'"),
        ("-my-reward", "'my-reward'"),
        ("my--reward", "'my-reward'"),
        ("../reward", "cannot be used"),
        ("rouge\n", "cannot be used"),
        ("größe", "cannot be used"),
        ("a" * 31, "31 characters: use at most 30"),
        ("class", "Python"),
        ("none", "Python"),  # class None
        ("any", "every reward"),
        ("value-error", "Python"),  # class ValueError
        ("tests", "folder of the package"),
        ("tensor", "shadow Tensor"),  # class Tensor
        ("json", "standard library"),
        ("torch", "distribution torch"),
        ("torch_", "cannot be used"),
        ("pillow", "distribution pillow"),  # installed, but imported as PIL
        ("toy", "module toy in"),  # importable, but not a distribution
        ("rilbench", "distribution rilbench"),
        ("aesthetic", "reward of rilbench"),
        ("clip_score", "metric of rilbench"),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_an_unusable_name_is_refused(tmp_path: Path, kind: str, name: str, message: str) -> None:
    with pytest.raises(UsageError) as error:
        create(kind, name, tmp_path)
    assert message in str(error.value)
    assert "\n" not in str(error.value)
    assert not list(tmp_path.iterdir())


def test_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"unknown kind of plugin 'rewards'\. Did you mean 'reward'"):
        create("rewards", "my-reward", tmp_path)


def test_an_existing_folder_or_file_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "my-reward").mkdir()
    (tmp_path / "my-metric").write_text("mine")
    (tmp_path / "my-strategy").symlink_to("nowhere")
    for kind in KINDS:
        with pytest.raises(UsageError, match="exists already"):
            create(kind, f"my-{kind}", tmp_path)
    assert not list((tmp_path / "my-reward").iterdir())
    assert (tmp_path / "my-metric").read_text() == "mine"
    assert not (tmp_path / "nowhere").exists()


def test_a_missing_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for parent in (tmp_path / "missing", tmp_path / "file"):
        with pytest.raises(UsageError, match=r"there is no folder .* --folder"):
            create("reward", "my-reward", parent)


@pytest.mark.parametrize("why", ["No space left on device", "Permission denied"])
def test_a_folder_that_cannot_be_written_is_left_as_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, why: str
) -> None:
    def full(path: Path, *arguments: object, **options: object) -> int:
        raise OSError(why)

    monkeypatch.setattr(Path, "write_text", full)
    with pytest.raises(RilbenchError, match=f"cannot write .*{why}"):
        create("reward", "my-reward", tmp_path)
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_generated_tests_pass_once_the_packages_are_installed(packages: Path, site: Path) -> None:
    folders = [packages / f"my-{kind}" / "tests" for kind in KINDS]  # not beside the code, which would be imported
    told = succeed("pytest", "-v", "-p", "no:cacheprovider", *folders, cwd=site, site=site)
    for kind, value_test in zip(KINDS, ("test_value", "test_value", "test_loss"), strict=True):
        assert f"test_my_{kind}.py::{value_test}[" in told
        assert f"test_my_{kind}.py::test_contract[can_be_made] PASSED" in told


@pytest.mark.slow
def test_generated_components_work_in_a_run(workplace: Path, site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(site)
    toy.config(workplace)
    settings = (
        "reward_settings.my-reward.channel=blue",
        "metric_settings.my-metric.threshold=0.4",
        "strategy_settings.my-strategy.pull=0.5",
    )
    chosen = ("--strategy", "my-strategy", "--rewards", "my-reward", "evaluate.metrics=[my-metric]", *settings)
    done = rilbench("run", "--json", "--config", "toy.yaml", *chosen, cwd=workplace)
    assert done.code == 0, done.err
    result = json.loads((Path(json.loads(done.out)["folder"]) / "result.json").read_text())
    assert result["status"] == "finished"
    assert result["plugins"] == {f"{kind}/my-{kind}": f"my-{kind} 0.1.0" for kind in KINDS}
    assert {metric["name"]: metric["unit"] for metric in result["metrics"]} == {"my-reward": "", "my-metric": "%"}
    base, trained = result["stages"]
    assert base["values"]["my-reward"] != trained["values"]["my-reward"]


def test_a_name_of_a_class_in_the_tests_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="shadow FixedStep"):
        create("strategy", "fixed-step", tmp_path)
