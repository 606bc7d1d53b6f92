"""Composition, precedence, and that every shipped configuration is valid."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Literal

import pytest
from checkout import ROOT

from rilbench import setting
from rilbench.contracts import settings
from rilbench.contracts.errors import ConfigError
from rilbench.engine import config, layers
from rilbench.engine.parts import Parts
from rilbench.files.resources import resolve, shipped_configs
from rilbench.host.catalog import Catalog
from rilbench_explain.reference import setting_infos

PUBLISHED = ("sd15", "sdxl", "sd35", "flux")
CONFIGS = ROOT / "configs"


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


def written(file: Path, text: str) -> str:
    file.write_text(text)
    return str(file)


RATES = (
    "train: {lr: 1, batch_size: 4}\nrecipes:\n  any: {any: {lr: 2}}\n  rid: {any: {lr: 3}, hps: {lr: 4, samples: 99}}\n"
)


def rates(loaded: config.RunConfig) -> list[float]:
    return [loaded.train_for([by], [on]).lr for by in ("rid", "baseline") for on in ("aesthetic", "hps")]


def test_the_command_line_wins_over_every_recipe(tmp_path: Path) -> None:
    file = written(tmp_path / "mine.yaml", RATES)
    assert rates(config.load(file)) == [3, 4, 2, 2]
    loaded = config.load(file, ["train.lr=1e-5"])
    assert rates(loaded) == [1e-5] * 4
    assert loaded.train_for(["rid"], ["hps"]).samples == 99
    again = config.load(written(tmp_path / "again.yaml", config.to_yaml(loaded)))
    assert rates(again) == [1e-5] * 4
    assert rates(config.load(file, ["train.lr=1e-5", "recipes.rid.hps.lr=7"])) == [1e-5, 7, 1e-5, 1e-5]


def test_shipped_recipes_do_not_undo_the_command_line() -> None:
    for name in RUNS:
        loaded = config.load(name, ["train.lr=1e-5", "train.samples=64", "train.batch_size=4"])
        stages = [
            (by, on) for by in ("rid", "baseline", "joint") for on in (["aesthetic"], ["hps"], ["aesthetic", "hps"])
        ]
        found = {(t.lr, t.samples, t.batch_size) for by, on in stages for t in [loaded.train_for([by], on)]}
        assert found == {(1e-5, 64, 4)}


def test_a_files_own_train_wins_over_inherited_recipes_not_over_its_own(tmp_path: Path) -> None:
    below = written(tmp_path / "below.yaml", RATES)
    assert rates(config.load(written(tmp_path / "a.yaml", f"base: {below}\ntrain: {{lr: 9}}\n"))) == [9] * 4
    own = f"base: {below}\ntrain: {{lr: 9}}\nrecipes: {{rid: {{hps: {{lr: 8}}}}}}\n"
    assert rates(config.load(written(tmp_path / "b.yaml", own))) == [9, 8, 9, 9]


@pytest.mark.parametrize(
    "cleared", ["{}", "null", "", "{rid: null, any: {}}", "{rid: {any: {}, hps: null}, any: null}"]
)
def test_inherited_recipes_are_cleared(tmp_path: Path, cleared: str) -> None:
    below = written(tmp_path / "below.yaml", RATES)
    assert rates(config.load(written(tmp_path / "mine.yaml", f"base: {below}\nrecipes: {cleared}\n"))) == [1] * 4
    if cleared in ("{}", "null"):
        assert rates(config.load(below, [f"recipes={cleared}"])) == [1] * 4


@pytest.mark.slow
def test_a_text_is_the_text_given(tmp_path: Path) -> None:
    given = {"label": "2024_11_28", "store": "a #2", "model.revision": "697403e7", "model.device": "010"}
    model = "model.path=some/model"
    values = [f"{key}={value}" for key, value in given.items()]
    yaml = "label: 2024_11_28\nstore: 'a #2'\nmodel: {path: some/model, revision: 697403e7, device: 010}\n"
    of_file, of_line = config.load(written(tmp_path / "mine.yaml", yaml)), config.load("shapes", [model, *values])
    for loaded in (of_file, of_line):
        found = (loaded.label, loaded.store, loaded.model.revision, loaded.model.device)
        assert found == tuple(given.values())
        assert config.load(written(tmp_path / "again.yaml", config.to_yaml(loaded))) == loaded
    for text in ("on", "null", "1e5", "0x10", "12", "1.50", "true", "1_000"):
        assert config.load("shapes", [f"label={text}"]).label == text
        assert config.load(written(tmp_path / "one.yaml", f"label: '{text}'\n")).label == text
    for text in ("on", "1e5", "0x10", "12", "1.50", "True", "1_000"):
        assert config.load(written(tmp_path / "two.yaml", f"label: {text}\n")).label == text


REFUSED = [
    ("seed", "010", "leading zero"),
    ("train.samples", "0640", "leading zero"),
    ("seed", "1:30", "not a whole number"),
    ("seed", "1.0", "not a whole number"),
    ("seed", "0x10", "not a whole number"),
    ("train.samples", "1_000", "not a whole number"),
    ("train.lr", "1_0.5", "not a number"),
    ("train.lr", "nan", "not a finite number"),
    ("train.lr", "-.inf", "not a finite number"),
    ("train.lr", "1e999", "not a finite number"),
    ("train.lr", "'???'", "not a number"),
    ("model.guidance", "nan", "not a finite number"),
    ("train.reward_scale", "inf", "not a finite number"),
    ("recipes.rid.hps.lr", "nan", "not a finite number"),
    ("recipes.rid.hps.samples", "0100", "leading zero"),
    ("tracking", "7", "neither true nor false"),
    ("adapter.rank", "100000000000", "not between 1 and 1024"),
    ("evaluate.pictures", "300000000", "not between 0 and 1000"),
    ("store", "''", "is empty"),
    ("store", "'${oc.env:HOME}'", "is not filled in"),
    ("store", "???", "missing value"),
    ("store", "a" * 300, "more than 255 bytes"),
    ("model.device", "c" * 99, "99 characters"),
    ("seed", "9" * 5000, "larger than"),
]


@pytest.mark.parametrize(("key", "value", "fault"), REFUSED, ids=[f"{key}={value[:12]}" for key, value, _ in REFUSED])
def test_what_a_value_cannot_be_is_refused_by_name(tmp_path: Path, key: str, value: str, fault: str) -> None:
    with pytest.raises(ConfigError, match=f"^{key}: .*{fault}"):
        config.load("shapes", [f"{key}={value.strip(chr(39))}"])
    *sections, last = key.split(".")
    nested = "".join(f"{section}: {{" for section in sections) + f"{last}: {value}" + "}" * len(sections)
    with pytest.raises(ConfigError, match=f"^{key}: .*{fault}"):
        config.load(written(tmp_path / "mine.yaml", nested))


def test_optional_settings_take_null_and_lists_two_forms(tmp_path: Path) -> None:
    assert config.load("sd15", ["model.resolution=null"]).model.resolution is None
    assert config.load("sd15", ["model.revision=null"]).model.revision is None
    for text in ("png_kb,jpeg_kb", "[png_kb, jpeg_kb]", "['png_kb', \"jpeg_kb\"]"):
        assert config.load("shapes", [f"evaluate.metrics={text}"]).evaluate.metrics == ("png_kb", "jpeg_kb")
        metrics = f"evaluate: {{metrics: {text if '[' in text else repr(text)}}}\n"
        assert config.load(written(tmp_path / "m.yaml", metrics)).evaluate.metrics == ("png_kb", "jpeg_kb")


class Colour(Enum):
    RED = 1
    BLUE = 2


@dataclass(frozen=True)
class Mixed:
    """Settings of a plugin that declares types alone, and of one that declares ranges."""

    text: str = "a"
    count: int = 1
    maybe: str | None = None
    either: int | str = 1
    names: tuple[str, ...] = ()
    shares: dict[str, float] = field(default_factory=dict)
    anything: Any = None
    rate: float = setting(1.0, "of something", above=0, below=2)
    words: dict[str, Literal["b", "c"]] = setting({"a": "b"}, "of something")


def mixed(*overrides: str) -> Mixed:
    loaded = config.load("shapes", [f"reward_settings.mixed.{text}" for text in overrides])
    return settings.build(Mixed, loaded.reward_settings.get("mixed", {}), "reward_settings.mixed")


def test_settings_of_plugins_are_read_by_their_types() -> None:
    assert mixed("text=1e5", "count=12", "maybe=010") == Mixed(text="1e5", count=12, maybe="010")
    assert mixed("maybe=null", "text=null", "either=x") == Mixed(text="null", either="x")
    assert mixed("shares.a=1e-5", "names=a,b", "anything=2.5e-3") == Mixed(
        shares={"a": 1e-5}, names=("a", "b"), anything=2.5e-3
    )
    assert mixed("shares={a: 1}", "words.a=c").words == {"a": "c"}
    for override, fault in {
        "count=010": "count: '010' has a leading zero",
        "shares.a=nan": "shares.a: 'nan' is not a finite",
        "rate=2": "rate: 2.0 is not above 0 and below 2",
        "words.a=d": "words.a: 'd' is not one of b, c",
        "text.a=1": "text: a mapping is not a text",
    }.items():
        with pytest.raises(ConfigError, match=f"reward_settings.mixed.{fault}"):
            mixed(override)


@dataclass(frozen=True)
class Point:
    x: float = 1
    y: float = 2


@dataclass(frozen=True)
class Nested:
    """Defaults that are not of the declared type to the letter, and that are not the class's own."""

    scale: float = 2
    shares: dict[str, float] = setting({"a": 1, "b": 2.5}, "of something")
    point: Point = Point(y=5)
    other: Point = field(default_factory=lambda: Point(y=7))
    maybe: Point | None = None
    colour: Colour = Colour.RED
    folder: Path = Path("here")


def test_what_is_not_given_is_the_default_in_mappings_and_dataclasses_too() -> None:
    built = settings.build(Nested, {"shares": {"b": 3}, "point": {"x": "4"}, "other": {"x": 6}}, "settings")
    assert built == Nested(shares={"a": 1, "b": 3}, point=Point(4, 5), other=Point(6, 7))
    assert [type(value) for value in (built.scale, *built.shares.values(), built.point.x)] == [float] * 4
    assert settings.build(Nested, {"shares": "{b: 3}"}, "settings").shares == {"a": 1, "b": 3}
    given = {"maybe": {"y": 9}, "colour": "BLUE", "folder": "there"}
    assert settings.build(Nested, given, "") == Nested(maybe=Point(1, 9), colour=Colour.BLUE, folder=Path("there"))
    with pytest.raises(ConfigError, match=r"^settings.colour: 'GREEN' is not one of RED, BLUE"):
        settings.build(Nested, {"colour": "GREEN"}, "settings")
    with pytest.raises(ConfigError, match=r"^unknown setting in settings.point 'z'"):
        settings.build(Nested, {"point": {"z": 1}}, "settings")


@dataclass(frozen=True)
class Needy:
    need: float
    size: int = 1
    other: str = field(kw_only=True)


def test_what_must_be_given_is_named() -> None:
    with pytest.raises(ConfigError, match=r"^settings: need, other must be"):
        settings.build(Needy, {"size": 2}, "settings")
    with pytest.raises(ConfigError, match=r"^settings: other must be"):
        settings.build(Needy, {"need": 2}, "settings")
    assert settings.build(Needy, {"need": 2, "other": "a"}, "settings") == Needy(2, other="a")


def test_declarations_can_be_listed() -> None:
    found = {d.key: d for d in setting_infos(config.RunConfig)}
    assert (found["train.lr"].type, found["train.lr"].default) == ("number", 1e-3)
    assert found["model.precision"].allowed == "one of fp32, bf16"
    assert [key for key, d in found.items() if not d.declared.meaning] == []
    assert isinstance(Mixed().words, dict)
    assert Mixed().words is not Mixed().words


ALIASES = [b"%c: &%c [%s]\n" % (c, c, b", ".join([b"*%c" % (c - 1)] * 8)) for c in range(98, 106)]
BOMB = b"a: &a [x, x, x, x, x, x, x, x]\n" + b"".join(ALIASES)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        (b"seed: 1\nseed: 2\n", "line 2: the key 'seed' is repeated"),
        (b"a: " + b"[" * 3000, "mine.yaml"),
        (b"reward_settings: " + b"{a: " * 30 + b"1" + b"}" * 30, "nested deeper than 16"),
        (b"reward_settings: " + b"[" * 200_000, "nested deeper than 16"),  # composed in C it crashed the process
        (b"label: a\x00b\n", "mine.yaml"),
        (b"label: \xff\n", "not UTF-8"),
        (b"seed: !!int '1'\n", "the tag tag:yaml.org,2002:int is not"),
        (b"a: &a [1]\nb: [*a, *a]\n<<: {seed: 1}\n", "<< is not"),
        (b"- 1\n", "contains no settings"),
        (b"base: [shapes]\n", "base must be the name"),
        (BOMB, "more than 100000"),
    ],
)
def test_a_file_that_is_no_configuration(tmp_path: Path, text: bytes, fault: str) -> None:
    (tmp_path / "mine.yaml").write_bytes(text)
    with pytest.raises(ConfigError, match=fault):
        config.load(str(tmp_path / "mine.yaml"))


RUNS = [p.stem for p in sorted(CONFIGS.glob("*.yaml")) if config.STUDY not in layers.read(str(p))]


@pytest.mark.parametrize("name", RUNS)
def test_every_shipped_configuration_is_valid_and_says_its_command(name: str) -> None:
    loaded = config.load(name, rewards="aesthetic,hps,compressibility")
    parts = Parts(loaded, Catalog())
    for strategy in ("rid", "baseline", "joint", "soup"):
        parts.get("strategy", strategy)
        for reward in loaded.rewards:
            loaded.train_for([strategy], [reward])
    for reward in loaded.rewards:
        parts.get("reward", reward)
    assert parts.metric_infos()
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


@pytest.mark.slow
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
    with pytest.raises(ConfigError, match=r"write model\.path=some/model model\.revision=v1"):
        config.load("sd15", ["model.path=some/model@v1"])
    (tmp_path / "some" / "model@v1").mkdir(parents=True)
    monkeypatch.chdir(tmp_path)
    assert config.load("sd15", ["model.path=some/model@v1"]).model.path == "some/model@v1"  # a folder
