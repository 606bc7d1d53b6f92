"""The reference of all settings: complete and explained."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass

import pytest
from torch import Tensor
from typer.testing import CliRunner, Result

from rilbench import Reward
from rilbench.cli.main import app
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.settings import setting
from rilbench.host import control
from rilbench.host.catalog import Catalog
from rilbench.model.backbones.base import LARGER
from rilbench_explain import reference as reference


@dataclass(frozen=True)
class Keyed:
    key: str = setting("", "for the service", secret=True)
    weights: tuple[float, ...] = setting((1.0, 0.5), "of both halves", at_least=0)


class Served(Reward):
    Settings = Keyed

    def __call__(self, images: Tensor, prompts: Sequence[str]) -> Tensor:
        return images.mean((1, 2, 3))


@pytest.fixture
def own(monkeypatch: pytest.MonkeyPatch) -> Catalog:
    """What comes with rilbench, whatever else is installed."""
    monkeypatch.setenv(control.ALLOW, "")
    return Catalog()


def refuse(text: str) -> None:
    raise AssertionError(text)


def called(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["settings", *arguments])


def test_every_setting_has_a_meaning(own: Catalog) -> None:
    every = [one for section in reference.sections(own, refuse) for one in section.settings]
    assert [one.key for one in every if not one.declared.meaning.strip()] == []
    keys = [one.key for one in every]
    assert {
        "base",
        "seed",
        "train.lr",
        "study.orders",
        "strategy_settings.rid.lam",
        "metric_settings.fid.reference",
    } <= set(keys)
    assert len(set(keys)) == len(keys)


def test_every_number_has_a_range(own: Catalog) -> None:
    numbers = [one for section in reference.sections(own, refuse) for one in section.settings if "number" in one.type]
    bounds = {one.key: (one.declared.at_least, one.declared.above) for one in numbers}
    assert [key for key, low in bounds.items() if low == (None, None)] == []
    assert [one.key for one in numbers if one.declared.at_most is None and one.declared.below is None] == []
    assert len(numbers) > 20


def test_how_large_an_image_may_be_is_told_where_its_side_is_set() -> None:
    assert f"at most {LARGER} times the model's own" in called("model.resolution").output


def test_one_setting() -> None:
    shown = called("train.lr").stdout
    assert "learning rate" in shown
    assert "above 0 and at most 100" in shown
    (told,) = json.loads(called("train.lr", "--json").stdout)
    assert told == {
        "key": "train.lr",
        "type": "number",
        "default": "0.001",
        "range": "above 0 and at most 100",
        "meaning": "learning rate",
    }


def test_a_section_has_all_of_its_settings() -> None:
    told = {one["key"]: one for one in json.loads(called("adapter", "--json").stdout)}
    assert list(told) == ["adapter.rank", "adapter.targets", "adapter.init"]
    assert told["adapter.targets"]["default"] == "[to_q, to_k, to_v, to_out.0]"
    assert {one["key"] for one in json.loads(called("strategy_settings.rid", "--json").stdout)} >= {
        "strategy_settings.rid.lam"
    }
    assert "has no settings" in called("metric_settings.png_kb").stdout


def test_the_settings_of_a_plugin_given_by_hand() -> None:
    given = ("--plugin", f"served={__name__}:Served", "--json")
    secret, weights = json.loads(called("reward_settings.served", *given).stdout)
    assert "secret" in secret["meaning"]
    assert weights["default"] == "[1.0, 0.5]"
    assert weights["type"] == "list of numbers"


@pytest.mark.parametrize(
    ("key", "nearest"),
    [("train.lrr", "train.lr"), ("lr", "train.lr"), ("modle", "model"), ("metric_settings.fdi", "metric_settings.fid")],
)
def test_an_unknown_key_suggests_the_nearest(own: Catalog, key: str, nearest: str) -> None:
    failed = called(key)
    assert isinstance(failed.exception, ConfigError)
    assert failed.exception.exit_code == 3
    assert f"Did you mean '{nearest}'?" in str(failed.exception)


@pytest.mark.slow
def test_a_setting_of_the_engine_is_printed_without_torch() -> None:
    code = (
        "import sys\nfrom rilbench.cli import main\nsys.argv = ['rilbench', 'settings', 'train.lr']\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\nprint('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"
