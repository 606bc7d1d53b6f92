"""A secret setting and a password in an address are in no file, no line of output and no identity."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import toy
from torch import Tensor

from rilbench import Reward, setting
from rilbench.contracts.errors import ConfigError, PluginError
from rilbench.engine import run as engine
from rilbench.engine.config import load
from rilbench.engine.documents import settings_document
from rilbench.engine.parts import Parts
from rilbench.engine.progress import Reporter
from rilbench.engine.saved import open_run
from rilbench.engine.secret_settings import command_line, hidden
from rilbench.host.catalog import Catalog
from rilbench_explain.explain import explain
from rilbench_mlflow.upload import sync
from rilbench_release.export import Export
from rilbench_report.page import write_report
from rilbench_study import definition
from rilbench_study.cells import make_cells
from rilbench_study.graph import Graph
from rilbench_study.run import StudyRun

MARKER = "Mark3r-S3cret"
ADDRESS = f"url:https://me:{MARKER}@host/weights.pt?token={MARKER}"
KEPT = "env:RILBENCH_KEYED_API_KEY"
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mlflow.*")


@dataclass(frozen=True)
class KeyedSettings:
    """A service's key, and where it is."""

    api_key: str = setting("", "key of the service", secret=True)
    address: str = ""
    factor: float = setting(1.0, "of the score", above=0)


class Keyed(Reward):
    """Mean of the red channel, for whoever has the key."""

    Settings = KeyedSettings
    settings: KeyedSettings

    @classmethod
    def files(cls, settings: KeyedSettings) -> list[object]:  # type: ignore[override]
        return []

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        if self.settings.factor > 5:
            raise RuntimeError(f"401 from https://host/score?key={self.settings.api_key} with {self.settings.api_key}")
        assert self.settings.api_key == MARKER
        return self.settings.factor * images[:, 0].mean((1, 2))


def catalog() -> Catalog:
    return toy.catalog(EntryPoint("keyed", f"{__name__}:Keyed", "rilbench.rewards"))


SECRETS = (f"reward_settings.keyed.api_key={MARKER}", f"reward_settings.keyed.address={ADDRESS}")
TINY = ("rewards=[keyed]", "strategy=baseline", "train.samples=2", "evaluate.metrics=[]", "evaluate.pictures=1")


def leaks(place: Path) -> list[str]:
    """Files whose content or name has the marker, also as MLflow's database and the report's JSON have it."""
    files = [path for path in place.rglob("*") if path.is_file() and "pipeline" not in path.parts]
    assert len(files) > 5
    return [str(path) for path in files if MARKER.encode() in path.read_bytes() or MARKER in path.name]


@pytest.fixture
def tracked(place: Path, workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A place to run in, with a database for MLflow."""
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{place}/mlflow.db")
    return workplace


@pytest.mark.slow
def test_no_file_of_a_run_a_study_an_export_or_a_report_has_a_secret(
    tracked: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found, config = catalog(), toy.config(tracked, *TINY, *SECRETS, "tracking=true")
    command = command_line(["run", "-c", "toy.yaml", *TINY, *SECRETS], found)
    folder, result, _ = engine.run(config, catalog=found, reporter=Reporter(), command=command)
    sync(folder)
    saved = open_run(str(folder), found, SECRETS)
    Export(run=saved, stage=1, kind="diffusers").write(tracked / "export")
    write_report([str(folder)], tracked / "report.html", found, print)
    print(json.dumps(explain(config, *engine.prepare(config, found, print))))
    (tracked / "study.yaml").write_text(f"study: {{base: {tracked}/toy.yaml, strategies: [baseline], seeds: [1]}}\n")
    more = (*TINY[2:], *SECRETS)
    asked = definition.load(str(tracked / "study.yaml"), more, rewards="keyed", catalog=found)
    study = StudyRun(asked, Graph(make_cells(asked, found, print)), found, workers=1, command=command)
    study.run()
    assert not study.failures
    assert leaks(tracked) == []
    assert (tracked / "export" / "README.md").read_text().count(KEPT) == 1  # in its command
    assert f"reward_settings.keyed.api_key={KEPT}" in result.command
    assert MARKER not in capsys.readouterr().out


@pytest.mark.slow
def test_a_run_from_its_own_file_reads_the_environment(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The secret takes no part in an identity: the same stages are found."""
    first = engine.run(toy.config(workplace, *TINY, *SECRETS), catalog=catalog(), reporter=Reporter(quiet=True))
    kept = load(str(first.folder / "config.yaml"), [])
    assert kept.reward_settings["keyed"]["api_key"] == KEPT
    again = engine.run(kept, catalog=catalog(), reporter=Reporter(quiet=True))
    assert again.folder == first.folder
    assert again.result.matrix == first.result.matrix
    other = load(str(first.folder / "config.yaml"), ["seed=1"])
    with pytest.raises(ConfigError, match=r"keyed.api_key: the environment variable RILBENCH_KEYED_API_KEY is"):
        engine.run(other, catalog=catalog(), reporter=Reporter(quiet=True))
    monkeypatch.setenv("RILBENCH_KEYED_API_KEY", MARKER)
    assert engine.run(other, catalog=catalog(), reporter=Reporter(quiet=True)).result.status == "finished"


def test_what_a_plugin_says_when_it_fails_has_no_secret(workplace: Path) -> None:
    config = toy.config(
        workplace, *TINY, *SECRETS, "reward_settings.keyed.factor=9", "tracking=true", "check_memory=false"
    )
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow")
        with pytest.raises(PluginError) as caught:
            engine.run(config, catalog=catalog(), reporter=Reporter(quiet=True))
    assert "401 from https://host/score" in str(caught.value)
    assert MARKER not in str(caught.value)
    assert MARKER not in str(caught.value.__cause__)
    assert leaks(workplace) == []


def test_words_of_a_command_line() -> None:
    def told(*words: str) -> str:
        return command_line(["run", *words], catalog())

    assert (
        told(f"reward_settings.keyed.api_key={MARKER}", "seed=1")
        == f"rilbench run reward_settings.keyed.api_key={KEPT} seed=1"
    )
    nested = told(f"reward_settings.keyed={{api_key: '{MARKER}', factor: 2}}")
    assert MARKER not in nested
    assert "reward_settings.keyed.factor=2" in nested
    assert told("reward_settings.keyed.api_key=env:MINE") == "rilbench run reward_settings.keyed.api_key=env:MINE"
    assert MARKER not in told(f"--config=http://me:{MARKER}@host/x", f"reward_settings.unknown.api_key={MARKER}")


def test_the_settings_show_no_secret(workplace: Path) -> None:
    config = toy.config(workplace, *TINY, *SECRETS)
    part = Parts(config, catalog()).get("reward", "keyed")
    assert "api_key" not in repr(part.settings)
    assert part.document["settings"] == {
        "address": "url:https://host/weights.pt?token=***",
        "factor": 1.0,
    }
    with pytest.raises(ConfigError, match="the text has 5000 characters") as caught:
        Parts(toy.config(workplace, f"reward_settings.keyed.api_key={'x' * 5000}"), catalog()).get("reward", "keyed")
    assert "xxx" not in str(caught.value)


@dataclass(frozen=True)
class KeyFile:
    """A secret that is a path."""

    key: str = setting("key.pem", "file of the key", path=True, secret=True)


def test_a_secret_path_takes_no_part_in_an_identity() -> None:
    assert settings_document(KeyFile()) == {}


def test_a_study_is_not_named_after_a_secret(workplace: Path) -> None:
    toy.config(workplace)
    (workplace / "study.yaml").write_text(f"study: {{base: {workplace}/toy.yaml, methods: {{m: {{strategy: rid}}}}}}\n")
    names = set()
    for secret in ("one", "two"):
        own = [f"reward_settings.keyed.api_key={secret}"]
        asked = definition.load(str(workplace / "study.yaml"), own, rewards="keyed", catalog=catalog())
        assert secret not in json.dumps(hidden(asked.definition, catalog()))
        names.add(asked.name)
    assert len(names) == 1
