"""Generated inputs, most of them bad: each is refused in one line that names it, or takes effect as it was given."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import chdir
from dataclasses import asdict
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from rilbench.cli import app
from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.settings import flat
from rilbench.engine import config
from rilbench.engine import run as engine
from rilbench.engine.components import Components
from rilbench.engine.layers import values_of
from rilbench.engine.planned import PlannedStage
from rilbench.host.catalog import Catalog
from rilbench_explain.reference import setting_infos
from rilbench_study import definition
from rilbench_study.orders import read_seeds

CATALOG = Catalog()
NUMBERS = """
    nan -nan .nan NaN inf -inf .inf Infinity 1e999 -1e999 1e400 -1 0 -0 +5 3 1.0 0.5 .5 5. 1e-5 1E3 1e8 3e8 1e11
    300000000 100000000000 9223372036854775808 010 0640 -07 00 1:30 1:30:00 1_000 1_0.5 0x10 0b1 0o7 1,2 --1 1e 1e+
    1j None \u0663 \uff11 1\u0660
"""
TEXTS = """
    null ~ on off yes no true False 7 [] {} [[a]] [a,[b]] [ {a:1} { ??? ${seed} ${oc.env:HOME} a,b , a#2 # ' " !!int *a
    &a package: package:/x package:rilbench package:os.path/x package:.. package:nobody/x hub: hub:a/b url: url:https://
    ../../x /dev/null . ~nobody/x 2024_11_28 697403e7 - a: | > @ % ` cuda:99 meta none paper bf16
"""
LONG = ["9" * 50, "9" * 5000, "0." + "0" * 500 + "1", "a" * 61, "a" * 300, "a" * 5000, "a/" * 3000, "\u00e4" * 200]
DEEP = ["{" * 2000, "[" * 2000, "{a: " * 30 + "}" * 30, "{a: {b: {c: 1}}}", "{a: 1}", "[a, [b]]", "- a", "a: b"]
ODD = ["", " ", "\t", "1 ", "a #2", "a\0b", "\x1b[31mred", "\x85", "\ud800", "package:a b/x"]
SECTIONS = [
    "model",
    "train",
    "recipes",
    "reward_settings",
    "metric_settings",
    "strategy_settings",
    "recipes.rid",
    "reward_settings.hps",
    "strategy_settings.rid",
]
WRONG_KEYS = [
    "",
    ".",
    "a",
    "tarin.lr",
    "train[lr]",
    "train..lr",
    ".train",
    "train.lr.x",
    "seed.x",
    "k" * 300,
    "base",
    "study",
]
OWNERS = {
    "strategy_settings.rid": "strategy",
    "reward_settings.hps": "reward",
    "metric_settings.jpeg_kb": "metric",
    "metric_settings.fid": "metric",
}
RECIPES = ["recipes.rid.hps.", "recipes.any.any.", "recipes.rid.any.", "recipes.baseline.hps.", "recipes.rid.clip."]


@cache
def kinds() -> dict[str, str]:
    """Every key of a run, and its type as it is declared."""
    found = {d.key: d.type for d in setting_infos(config.RunConfig) if d.type != "mapping"}
    for place, kind in OWNERS.items():
        cls = CATALOG.get(kind, place.rpartition(".")[2]).load().Settings
        found |= {d.key: d.type for d in setting_infos(cls, f"{place}.")}
    train = {d.key: d.type for d in setting_infos(config.TrainConfig)}
    return found | {recipe + name: kind for recipe in RECIPES for name, kind in train.items()}


KEYS = st.sampled_from([*sorted(kinds()), *SECTIONS, *WRONG_KEYS])
VALUES = st.one_of(
    st.sampled_from(NUMBERS.split()),
    st.sampled_from([*TEXTS.split(), *LONG, *DEEP, *ODD]),
    st.text(max_size=20),
    st.floats().map(repr),
)
BOUNDED = settings(
    derandomize=True,
    database=None,
    deadline=timedelta(seconds=60),  # a hang, not a slow machine
    suppress_health_check=list(HealthCheck),
)


@pytest.fixture(autouse=True, scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Relative paths lead nowhere."""
    with chdir(tmp_path_factory.mktemp("bad")):
        yield Path()


def refused(attempt: Callable[[], Any]) -> Any:
    """What an attempt gives; None when it is refused as it should be, in one line with exit code 2 or 3."""
    try:
        return attempt()
    except RilbenchError as error:
        told = error
    check_message(told)
    return None


def check_message(error: RilbenchError) -> None:
    assert error.exit_code in (2, 3)
    assert "\n" not in str(error)
    assert 10 < len(str(error)) < 1500
    assert not re.search(r"\[Errno|Traceback|object at 0x", str(error))


Planned = tuple[config.RunConfig, Components, list[PlannedStage]]


def planned(name: str, *overrides: str) -> Planned:
    loaded = config.load(name, overrides)
    return (loaded, *engine.prepare(loaded, CATALOG, print, values_of(overrides)))


def read_as(kind: str, text: str) -> Any:
    """What a text means by the type of its setting."""
    if kind.endswith(" or null") and text in ("null", "~", ""):
        return None
    kind = kind.removesuffix(" or null")
    if kind == "true or false":
        return {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}[text.lower()]
    if kind.startswith("list"):
        inside = yaml.load(text, yaml.BaseLoader) if text.startswith("[") else text.split(",")
        return [part.strip() for part in inside if part.strip()]
    return {"whole number": int, "number": float, "text": str}[kind](text)


def effective(key: str, done: Planned) -> list[Any]:
    """The values that a key has wherever it counts: in the plugin, in every stage, in the configuration."""
    loaded, components, plan = done
    section, _, name = key.rpartition(".")
    if section in OWNERS:
        return [asdict(components.parts.get(OWNERS[section], section.rpartition(".")[2]).settings)[name]]
    if section == "train":
        return [getattr(stage.train, name) for stage in plan if stage.train]
    values = flat(config.as_mapping(loaded))
    return [values[key]]


def check(key: str, text: str, done: Planned | None) -> None:
    """What is accepted must be there, number for number and letter for letter."""
    if done is None or key not in kinds():
        return
    kind = kinds()[key]
    if re.fullmatch("(whole )?number( or null)?", kind):
        assert not re.match(r"[-+]?0\d", text)
        assert text.isascii()
        assert "_" not in text
    found = effective(key, done)
    assert found
    assert [list(value) if isinstance(value, tuple) else value for value in found] == [read_as(kind, text)] * len(found)


@pytest.mark.slow
@settings(BOUNDED, max_examples=200)
@given(KEYS, VALUES)
def test_a_value_on_the_command_line_is_refused_or_takes_effect(key: str, text: str) -> None:
    check(key, text, refused(lambda: planned("shapes", f"{key}={text}")))


@pytest.mark.slow
@settings(BOUNDED, max_examples=120)
@given(KEYS, VALUES, st.booleans())
def test_a_value_in_a_file_is_refused_or_takes_effect(key: str, text: str, quoted: bool) -> None:
    *sections, last = key.split(".")
    value = json.dumps(text) if quoted else text
    nested = "".join("  " * i + f"{section}:\n" for i, section in enumerate(sections))
    content = f"base: shapes\n{nested}{'  ' * len(sections)}{last}: {value}\n"
    Path("mine.yaml").write_bytes(content.encode("utf-8", "surrogatepass"))
    done = refused(lambda: planned("mine.yaml"))
    if done is not None and not key.startswith("recipes"):
        read: Any = yaml.load(content, yaml.BaseLoader)
        for part in key.split("."):
            read = read[part]
        if isinstance(read, str):
            check(key, read, done)


TOKENS = ["\n  ", ": ", "- ", "<<: ", "*a", "&a ", "!!python/object:os.system ", "---\n", "...\n", "base: ", "train: "]
TOKENS += ["lr: ", "recipes: ", "rewards: ", "seed: ", "shapes", "nan", "010", "null", *"{}[]:,-#&*!|>'\"%@`?\n \0\t"]
YAML = st.lists(st.sampled_from(TOKENS), max_size=30).map("".join) | st.text(max_size=40)


@pytest.mark.slow
@settings(BOUNDED, max_examples=120)
@given(YAML.map(str.encode) | st.binary(max_size=40))
def test_any_bytes_are_a_configuration_or_one_line(content: bytes) -> None:
    Path("any.yaml").write_bytes(content)
    loaded = refused(lambda: config.load("any.yaml"))
    if loaded is not None:
        Path("again.yaml").write_text(config.to_yaml(loaded))
        assert config.load("again.yaml") == loaded


@pytest.mark.slow
@settings(BOUNDED, max_examples=80)
@given(
    st.sampled_from(["strategies", "rewards", "orders", "seeds"]),
    VALUES | st.sampled_from(["100000000", "random:9999", "all"]),
)
def test_options_of_a_study(option: str, text: str) -> None:
    options: dict[str, Any] = {"strategies": "rid", "rewards": "hps,aesthetic", "seeds": "1"}
    options[option] = [text] if option == "orders" else text
    study = refused(lambda: definition.load(None, **options))
    if study is not None and option == "seeds":
        parts = [int(part) for part in text.split(",") if part.strip()]
        assert study.seeds == (tuple(parts) if "," in text else tuple(range(parts[0])))
        assert not re.search(r"(^|,)\s*[-+]?0\d", text)


@pytest.mark.slow
@settings(BOUNDED, max_examples=40)
@given(st.sampled_from(["--config", "--rewards", "--strategy", "--seed", "--plugin"]), VALUES)
def test_options_of_a_command(option: str, text: str) -> None:
    done = CliRunner().invoke(app, ["fetch", "--check", option, text])
    if isinstance(done.exception, SystemExit | type(None)):
        assert done.exit_code in (0, 1, 2, 3)
    else:
        assert isinstance(done.exception, RilbenchError), done.exception
        check_message(done.exception)


def test_numbers_of_seeds_are_bounded() -> None:
    with pytest.raises(RilbenchError, match="more than 1000"):
        read_seeds("100000000")
    assert read_seeds("100000000,") == (100000000,)
