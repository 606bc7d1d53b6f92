"""The conformance kit: each check finds exactly the fault it is for, and everything rilbench brings passes."""

from __future__ import annotations

import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import blip_reference as blip
import numpy as np
import pytest
import torch
from broken_components import BREAKERS
from broken_gradients import KeepsTheLast
from broken_rewards import Deaf
from broken_settings import NeedySettings, Quitter
from good_components import GOOD, GoodMetric, GoodReward, Planner
from transformers import CLIPConfig, CLIPModel

from rilbench.contracts.components import Component, Metric, Reward
from rilbench.contracts.errors import ConfigError
from rilbench.contracts.strategy import Stage, Strategy
from rilbench.host import global_state
from rilbench.host.catalog import Catalog
from rilbench.testing import CheckResult, check_component, checks_for, summary, tiny
from rilbench.testing.surroundings import watched

pytest_plugins = ["pytester"]
SIZE = 16  # pixels a side, where nothing asks for more
OWN = [p for p in Catalog().plugins if p.kind in ("reward", "metric", "strategy") and p.distribution == "rilbench"]
EVERYTHING = global_state.modes() | global_state.generators()


def tiny_pickscore(folder: Path) -> dict[str, Any]:
    """Settings of a random model of PickScore's architecture."""
    words = tiny.tokenizer()
    common = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    text = {"vocab_size": len(words), "max_position_embeddings": tiny.CONTEXT, "eos_token_id": words.eos_token_id}
    vision = {"image_size": 32, "patch_size": 8}
    config = CLIPConfig(text_config=common | text, vision_config=common | vision, projection_dim=12)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        CLIPModel(config).save_pretrained(folder)
    words.save_pretrained(folder)
    return {"model": str(folder), "processor": str(folder)}


def tiny_imagereward(folder: Path) -> dict[str, Any]:
    """Settings of a random model of ImageReward's architecture."""
    blip.save_tokenizer(folder)
    blip.save_config(folder / "med_config.json", blip.TINY)
    torch.save(blip.checkpoint(blip.TINY), folder / "ImageReward.pt")
    return {
        "weights": f"{folder}/ImageReward.pt",
        "config": f"{folder}/med_config.json",
        "tokenizer": str(folder),
    }


NEEDS: dict[str, Callable[[Path], dict[str, Any]]] = {  # settings of components whose weights are not shipped
    "pickscore": tiny_pickscore,
    "imagereward": tiny_imagereward,
}


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """Tiny tensors are much faster without threads."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def failed(results: list[CheckResult]) -> set[str]:
    return {result.name for result in results if result.status == "failed"}


@pytest.mark.slow
@pytest.mark.parametrize(("component", "check"), BREAKERS, ids=lambda part: getattr(part, "__name__", part))
def test_a_fault_fails_its_check(component: type[Component], check: str) -> None:
    (result,) = check_component(component, image_size=SIZE, only=[check])
    assert result.status == "failed", result
    assert len(result.reason) > 10
    assert "\n" not in result.reason


@pytest.mark.parametrize("contract", [Reward, Metric, Strategy])
def test_every_check_has_a_component_that_fails_it(contract: type[Component]) -> None:
    tested = {check for c, name in BREAKERS for check in checks_for(c) if check.name == name}
    assert [check.name for check in checks_for(contract) if check not in tested] == []


@pytest.mark.parametrize("contract", [Reward, Metric, Strategy])
def test_every_check_has_its_own_name_and_says_what_it_demands(contract: type[Component]) -> None:
    checks = checks_for(contract)
    assert len({check.name for check in checks}) == len(checks)
    assert all(check.says for check in checks)


@pytest.mark.slow
@pytest.mark.parametrize("component", GOOD, ids=lambda c: c.__name__)
def test_a_good_component_passes(component: type[Component]) -> None:
    results = check_component(component, image_size=SIZE)
    assert [r for r in results if not r.ok or r.reason.startswith("needs")] == []
    assert [r.name for r in results] == [check.name for check in checks_for(component)]


@pytest.mark.slow
@pytest.mark.parametrize("plugin", OWN, ids=lambda p: f"{p.kind}-{p.name}")
def test_what_rilbench_brings_passes(plugin: Any, tmp_path: Path) -> None:
    settings = NEEDS[plugin.name](tmp_path) if plugin.name in NEEDS else {}
    component = Catalog().get(plugin.kind, plugin.name).load()
    results = check_component(component, settings, image_size=32)
    assert [r for r in results if not r.ok or r.reason.startswith("needs")] == []
    assert sum(r.status == "passed" for r in results) >= 10


def test_a_fault_is_described_with_the_figure_found() -> None:
    (result,) = check_component(Deaf, image_size=SIZE, only=["prompts_change_the_scores"])
    assert result.reason == "other prompts give the same scores; declare uses_prompts = False"
    (result,) = check_component(Quitter, only=["can_be_made"])
    assert result.reason == "SystemExit: 3"


def test_what_needs_a_failed_check_is_skipped() -> None:
    results = {r.name: r for r in check_component(Quitter)}
    assert results["there_is_one_score_an_image"].reason == "needs can_be_made"
    assert results["the_gradient_is_correct"].status == "skipped"
    assert results["is_documented"].status == "passed"


def test_what_does_not_apply_is_skipped_with_the_reason() -> None:
    class Measured(GoodReward):
        """Has no gradient, and says so."""

        differentiable = False

        def __call__(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
            return super().__call__(images.detach(), prompts)

    results = check_component(Measured, image_size=SIZE)
    assert all(r.ok for r in results)
    skipped = [r.name for r in results if r.reason == "it declares differentiable = False"]
    assert [r.name for r in results if "gradient" in r.name or "graph" in r.name] == skipped
    assert len(skipped) == 8


def test_unknown_check_names_are_refused() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'is_documented'"):
        check_component(GoodReward, only=["is_documentd"])


@pytest.mark.parametrize("thing", [object, GoodReward.__call__, None])
def test_only_components_are_checked(thing: Any) -> None:
    with pytest.raises(ConfigError, match="not a subclass of Reward, Metric, Strategy"):
        check_component(thing)


def test_given_settings_are_used() -> None:
    assert all(r.ok for r in check_component(NeedySettings, {"strength": 2.0}, image_size=SIZE))


@pytest.mark.parametrize(
    ("stage", "fault"),
    [
        (Stage(), "neither rewards nor a merge"),
        (Stage(rewards={"first": 1.0}, merge={0: 1.0}), "both rewards and a merge"),
        (Stage(rewards={"fourth": 1.0}, by="baseline"), "trains on fourth"),
        (Stage(rewards={"first": "1"}, by="baseline"), "not all of them finite"),  # type: ignore[dict-item]
        (Stage(merge={0: float("inf")}), "not all of them finite"),
        (Stage(merge={1: 1.0}), "merges stage 1, which does not come before"),
        (Stage(merge={-1: 1.0}), "merges stage -1, which does not come before"),
        (Stage(rewards={"first": 1.0}, start="top", by="baseline"), "starts from 'top'"),  # type: ignore[arg-type]
        (Stage(rewards={"first": 1.0}), "strategy to train it (by)"),
    ],
)
def test_a_malformed_stage_is_described(stage: Stage, fault: str) -> None:
    class Odd(Planner):
        def plan(self, rewards: Sequence[str]) -> list[Stage]:
            return [*super().plan(rewards)[:1], stage]

    (result,) = check_component(Odd, only=["stages_are_well_formed"])
    assert result.reason.startswith("stage 1 of the plan of 1 rewards ")
    assert fault in result.reason


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (lambda: torch.rand(()), "torch's random generator"),
        (random.random, "random's generator"),
        (np.random.random, "numpy's random generator"),
        (lambda: torch.set_default_dtype(torch.float64), "torch's default dtype"),
        (lambda: torch.set_grad_enabled(False), "torch's grad mode"),
        (lambda: torch.set_num_threads(2), "torch's number of threads"),
        (lambda: torch.use_deterministic_algorithms(True), "torch's deterministic mode"),
        (lambda: torch.set_float32_matmul_precision("medium"), "torch's precision of matrix products"),
        (lambda: torch.manual_seed(0), "torch's random generator"),  # the same every time, and yet a change
        (lambda: random.seed(0), "random's generator"),
    ],
)
def test_a_change_of_global_state_is_named(change: Callable[[], Any], named: str) -> None:
    before = global_state.snapshot(EVERYTHING)
    with watched() as found:
        change()
    assert found == [named]
    assert global_state.changed(EVERYTHING, before) == []


def test_prompts_of_ones_own() -> None:
    class OfHorses(GoodReward):
        """Looks for one word."""

        def __call__(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
            horses = torch.tensor([1.0 + p.count("horse") for p in prompts])
            return images.mean((1, 2, 3)) * horses.to(images)

    assert failed(check_component(OfHorses, image_size=SIZE)) == {"prompts_change_the_scores"}
    prompts = [f"picture {i} of {'a horse' if i % 4 < 2 and i < 4 else 'a cow'}" for i in range(8)]
    assert failed(check_component(OfHorses, image_size=SIZE, prompts=prompts)) == set()
    with pytest.raises(ConfigError, match="7 different ones; the checks need 8"):
        check_component(OfHorses, prompts=prompts[1:])


def test_a_reason_can_always_be_told() -> None:
    class Mute(Exception):
        def __str__(self) -> str:
            raise RuntimeError

    class Raises(GoodReward):
        """Raises what cannot be printed."""

        def __call__(self, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
            raise Mute

    (result,) = check_component(Raises, only=["there_is_one_score_an_image"])
    assert result.reason == "Mute: its message cannot be read"


def test_the_names_of_checks_may_come_one_by_one() -> None:
    names = ["can_be_made", "is_documented"]
    results = check_component(GoodReward, image_size=SIZE, only=(name for name in names))
    assert sorted(result.name for result in results) == names


def test_summary_counts_by_status() -> None:
    results = [CheckResult("a", "passed"), CheckResult("b", "skipped"), CheckResult("c", "passed")]
    assert summary(results) == "3 checks: 2 passed, 1 skipped"
    assert summary([*results, CheckResult("d", "failed")]) == "4 checks: 2 passed, 1 failed, 1 skipped"
    assert summary([CheckResult("a", "failed")]) == "1 check: 1 failed"


def test_the_surroundings_are_left_as_they_were() -> None:
    before = global_state.snapshot(EVERYTHING)
    for component in (GoodReward, GoodMetric, Planner):
        check_component(component, image_size=SIZE)
    assert global_state.changed(EVERYTHING, before) == []


def test_neither_pytest_nor_torch_is_imported_early(monkeypatch: pytest.MonkeyPatch) -> None:
    heavy = "import sys, rilbench.testing; print({'torch', 'pytest'} & set(sys.modules))"
    assert subprocess.check_output([sys.executable, "-c", heavy], text=True).strip() == "set()"
    monkeypatch.setitem(sys.modules, "pytest", None)
    assert all(r.ok for r in check_component(GoodMetric, image_size=SIZE))


QUICK = ("-q", "-p", "no:hypothesispytest")  # whose summary takes seconds
SUITE = """
from {module} import {component} as component
from rilbench.testing import parametrize_with_checks

@parametrize_with_checks(component, image_size=16, expected_failures={expected})
def test_component(check):
    check()
"""


def outcomes(pytester: pytest.Pytester, component: type[Component], expected: dict[str, str]) -> dict[str, int]:
    pytester.makepyfile(SUITE.format(module=component.__module__, component=component.__name__, expected=expected))
    return pytester.runpytest_inprocess(*QUICK).parseoutcomes()


@pytest.mark.slow
def test_each_check_is_a_pytest_test(pytester: pytest.Pytester) -> None:
    total = len(checks_for(GoodMetric))
    assert outcomes(pytester, GoodMetric, {}) == {"passed": total - 2, "skipped": 2}
    result = pytester.runpytest_inprocess(*QUICK, "--collect-only")
    result.stdout.fnmatch_lines(["*test_component[[]reset_forgets[]]"])


@pytest.mark.slow
def test_pytest_shows_the_fault(pytester: pytest.Pytester) -> None:
    total = len(checks_for(KeepsTheLast))
    assert outcomes(pytester, KeepsTheLast, {}) == {"passed": total - 3, "skipped": 2, "failed": 1}
    result = pytester.runpytest_inprocess(*QUICK, "-k", "no_graph_is_kept")
    result.stdout.fnmatch_lines(["*AssertionError: no_graph_is_kept: the graph of a call is still alive*"])


@pytest.mark.slow
def test_expected_failures_are_strict_xfails(pytester: pytest.Pytester) -> None:
    total = len(checks_for(KeepsTheLast))
    known = {"no_graph_is_kept": "known"}
    assert outcomes(pytester, KeepsTheLast, known) == {"passed": total - 3, "skipped": 2, "xfailed": 1}
    known["is_documented"] = "mended since"
    assert outcomes(pytester, KeepsTheLast, known) == {"passed": total - 4, "skipped": 2, "xfailed": 1, "failed": 1}


def test_a_misspelt_expected_failure_stops_the_collection(pytester: pytest.Pytester) -> None:
    assert outcomes(pytester, GoodReward, {"is_documentd": "?"}) == {"errors": 1}
