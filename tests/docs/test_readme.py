"""The README agrees with the code: its commands run, its example works, its figures are those of the findings."""

from __future__ import annotations

import json
import re
import shlex
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import toy
import yaml
from checkout import ROOT
from command import rilbench

from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.host.catalog import Catalog
from rilbench_study import definition

README = (ROOT / "README.md").read_text()
COMMANDS = sorted(set(re.findall(r"^    (rilbench .*?)(?:  +#.*)?$", README, re.M)))
SHORT = ["train.samples=8", "evaluate.prompts=few.txt", "evaluate.images_per_prompt=1", "tracking=false"]
METRICS = yaml.safe_load((ROOT / "configs/shapes.yaml").read_text())["evaluate"]["metrics"]
NUMBER = r"\d+\.\d+"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:FID of 2 images")
def test_main_commands_run_on_the_embedded_benchmark(tmp_path: Path) -> None:
    """The README's runs, shortened by settings only, then its comparison. The golden records have other strategies."""
    prompts = (ROOT / "plugins/rilbench_shapes/prompts/eval.txt").read_text().splitlines()
    (tmp_path / "few.txt").write_text("\n".join(prompts[:2]))
    runs = [c for c in COMMANDS if c.startswith("rilbench run --strategy")]
    assert "rilbench run --strategy rid --rewards aesthetic,hps" in runs
    for command in runs:
        done = rilbench(*shlex.split(command)[1:], *SHORT, "--json", cwd=tmp_path)
        assert done.code == 0, done.err
        stages = json.loads(done.out)["stages"]
        assert [s["label"] for s in stages] == ["base", "aesthetic", "hps"]
        assert stages[1]["values"]["aesthetic"] != stages[0]["values"]["aesthetic"]
        assert set(stages[-1]["values"]) == set(METRICS)
    assert "rilbench compare runs" in COMMANDS
    done = rilbench("compare", "runs", cwd=tmp_path)
    assert done.code == 0, done.err
    assert "baseline" in done.out
    assert "rid" in done.out


def test_every_strategy_is_in_the_table() -> None:
    strategies = {p.name for p in Catalog().plugins if (p.kind, p.distribution) == ("strategy", "rilbench")}
    assert set(re.findall(r"^\| `(\w+)` \| [^|]+ \|$", README, re.M)) == strategies


@pytest.mark.slow
def test_the_study_of_the_readme_loads() -> None:
    (name,) = re.findall(r"rilbench study --config (\w+)", README)
    assert definition.load(name).orders


def test_the_figures_are_those_of_the_findings() -> None:
    figures = set(re.findall(NUMBER, README.split("## Findings")[1].split("## ")[0]))
    assert len(figures) > 5
    assert figures <= set(re.findall(NUMBER, (ROOT / "REPRODUCIBILITY.md").read_text()))


def test_alg_1_is_one_link_away() -> None:
    (target,) = re.findall(r"^Alg\. 1 [^(]*\((\S+\.py)\)", README, re.M)
    assert "Alg. 1" in (ROOT / target).read_text()


@pytest.mark.slow
def test_the_readme_reward_works(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (module,) = re.findall(r"```python\n(# redness.py\n.*?)```", README, re.S)
    (workplace / "redness.py").write_text(module)
    monkeypatch.syspath_prepend(workplace)
    (value,) = set(re.findall(r"--plugin (\S+)", README))
    reward = EntryPoint("redness", value, "rilbench.rewards")
    config = toy.config(workplace, "rewards=[redness]", "train.samples=24", "strategy=baseline")
    result = engine.run(config, catalog=toy.catalog(reward), reporter=Reporter(quiet=True)).result
    before, after = result.matrix.values("redness")
    assert after > before


def test_make_targets_of_the_readme_exist() -> None:
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"\bmake (\w+)", README):
        assert re.search(rf"^{target}:", makefile, re.M)
