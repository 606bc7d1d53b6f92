"""Composition, precedence, and that every shipped configuration is valid."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from rilbench import config, layers
from rilbench.components import Components
from rilbench.errors import ConfigError
from rilbench.host.catalog import Catalog
from rilbench.resources import resolve, shipped_configs

PUBLISHED = ("sd15", "sdxl", "sd35", "flux")
CONFIGS = Path(__file__).parent.parent / "configs"


def test_precedence_defaults_file_options_overrides(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("strategy: joint\nseed: 3\ntrain: {lr: 0.5, batch_size: 4}\n")
    loaded = config.load(str(file), ["train.lr=0.25"], strategy="soup", rewards="hps, aesthetic")
    assert (loaded.strategy, loaded.seed, loaded.rewards) == ("soup", 3, ("hps", "aesthetic"))
    assert (loaded.train.lr, loaded.train.batch_size, loaded.train.samples) == (0.25, 4, 320)


def test_recipes_from_general_to_special(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text(
        "train: {lr: 1}\nrecipes:\n  any: {any: {lr: 2}, hps: {lr: 3}}\n  rid: {any: {lr: 4}, hps: {lr: 5}}\n"
        "  soup: {hps: {batch_size: 2}}\n"
    )
    loaded = config.load(str(file))
    assert loaded.train_for(["baseline"], ["aesthetic"]).lr == 2
    assert loaded.train_for(["baseline"], ["hps"]).lr == 3
    assert loaded.train_for(["rid"], ["aesthetic"]).lr == 4
    assert loaded.train_for(["rid"], ["hps"]).lr == 5
    both = loaded.train_for(["rid", "soup"], ["hps"])
    assert (both.lr, both.batch_size) == (5, 2)


def test_yaml_round_trip(tmp_path: Path) -> None:
    loaded = config.load("shapes", ["train.lr=0.125"], rewards="hps")
    (tmp_path / "again.yaml").write_text(config.to_yaml(loaded))
    assert config.load(str(tmp_path / "again.yaml")) == loaded


RUNS = [p.stem for p in sorted(CONFIGS.glob("*.yaml")) if config.STUDY not in layers.read(str(p))]


@pytest.mark.parametrize("name", RUNS)
def test_every_shipped_configuration_is_valid_and_says_its_command(name: str) -> None:
    loaded = config.load(name, rewards="aesthetic,hps,compressibility")
    components = Components(loaded, Catalog())
    for strategy in ("rid", "baseline", "joint", "soup"):
        components.settings("strategy", strategy)
        for reward in loaded.rewards:
            loaded.train_for([strategy], [reward])
    for reward in loaded.rewards:
        components.settings("reward", reward)
    assert components.metric_infos()
    header = (CONFIGS / f"{name}.yaml").read_text().split("\n\n")[0]
    assert f"--config {name}" in header or f"--config {name}" in (CONFIGS / f"{name}.yaml").read_text()[:600]


def test_shipped_configurations_are_found() -> None:
    assert {"shapes", "sd15", "sdxl", "sd35", "flux"} <= set(shipped_configs())


def test_a_configuration_starts_from_its_base(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text(f"base: {tmp_path}/below.yaml\nmodel: {{steps: 7}}\n")
    (tmp_path / "below.yaml").write_text("base: sd15\nmodel: {guidance: 3.0}\n")
    loaded, sd15 = config.load(str(tmp_path / "mine.yaml"), ["adapter.rank=8"]), config.load("sd15")
    assert (loaded.model.steps, loaded.model.guidance, loaded.adapter.rank) == (7, 3.0, 8)
    assert loaded.model == replace(sd15.model, steps=7, guidance=3.0)
    assert loaded.recipes == sd15.recipes


def test_another_model_does_not_take_the_revision_of_the_one_below(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("base: sd15\nmodel: {path: some/model}\n")
    (tmp_path / "pinned.yaml").write_text(f"base: {tmp_path}/mine.yaml\nmodel: {{path: other/model, revision: abc}}\n")
    assert config.load("sd15").model.revision
    assert config.load(str(tmp_path / "mine.yaml")).model.revision is None
    assert config.load(str(tmp_path / "pinned.yaml")).model.revision == "abc"
    assert config.load("sd15", ["model.path=some/model"]).model.revision is None
    assert config.load("sd15", ["model.path=some/model", "model.revision=abc"]).model.revision == "abc"
    same = config.load("sd15").model
    assert config.load("sd15", ["model.steps=7"]).model.revision == same.revision
    assert config.load("sd15", [f"model.path={same.path}"]).model.revision == same.revision


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_remedy_for_little_memory_is_not_undone_by_a_recipe(name: str) -> None:
    loaded = config.load(name, ["train.micro_batch=3"])
    assert {loaded.train_for([s], ["hps"]).micro_batch for s in ("baseline", "rid", "joint")} == {3}


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_models_are_pinned(name: str) -> None:
    """To a commit of their own repository."""
    model = config.load(name).model
    assert re.fullmatch("[0-9a-f]{40}", model.revision or "")
    others = {other: config.load(other).model for other in PUBLISHED if other != name}
    assert model.revision not in [other.revision for other in others.values()]


def test_a_base_that_leads_back(tmp_path: Path) -> None:
    one, two = tmp_path / "one.yaml", tmp_path / "two.yaml"
    one.write_text(f"base: {two}\n")
    two.write_text(f"base: {one}\n")
    with pytest.raises(ConfigError, match=rf"{two}: base leads back to {one}"):
        config.load(str(one))
    one.write_text("base: shape\n")
    with pytest.raises(ConfigError, match=r"unknown configuration 'shape'. Did you mean 'shapes'"):
        config.load(str(one))


def test_package_paths() -> None:
    assert Path(resolve("package:rilbench_shapes/prompts/train.txt")).is_file()
    with pytest.raises(ConfigError, match="'nobody' is not installed"):
        resolve("package:nobody/x")
    with pytest.raises(ConfigError, match="has no 'nothing'"):
        resolve("package:rilbench_shapes/nothing")


def test_a_revision_has_a_setting_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match=r"is written model\.path=some/model model\.revision=v1"):
        config.load("sd15", ["model.path=some/model@v1"])
    (tmp_path / "some" / "model@v1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert config.load("sd15", ["model.path=some/model@v1"]).model.path == "some/model@v1"  # a folder
