"""What a stage's log says: how far each term of the loss matters, and what clipping and eps did."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import toy

from rilbench.contracts.components import NoSettings
from rilbench.contracts.prompt import Prompt
from rilbench.contracts.strategy import Stage, Strategy
from rilbench.model.attach import adapter_group
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage
from rilbench.training.config import TrainConfig
from rilbench.training.stage import StageTraining
from rilbench.training.step import WeightedReward
from rilbench.training.summary import notes, summarised, warnings
from rilbench_baseline import Baseline, BaselineSettings
from rilbench_joint import Joint, JointSettings
from rilbench_rid import RID, RIDSettings


def entry(reward: float, distillation: float, **more: float) -> dict[str, float]:
    return {"gradient/reward": reward, "gradient/distillation": distillation, "gradient": reward, **more}


LOG = [entry(2.0, 0.0), entry(4.0, 1.0), {"gradient": 9.0}, entry(1.0, 0.5), entry(2.0, 0.2)]


def test_medians_leave_out_updates_at_which_the_teacher_is_the_student() -> None:
    values = summarised(LOG, TrainConfig())
    assert values == {
        "gradient/reward": 2.0,  # of 2, 4, 1, 2
        "gradient/distillation": 0.5,  # of 1, 0.5, 0.2
        "ratio/distillation": 0.25,  # of 1/4, 1/2, 1/10: not of the medians
        "gradient": 2.0,  # of all updates
    }
    assert summarised([], TrainConfig(clip_grad=1.0)) == {}
    assert summarised([{"gradient": 3.0}], TrainConfig()) == {"gradient": 3.0}


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ([entry(1.0, 0.0), entry(1.0, 0.02)], None),
        (
            [entry(1.0, 0.0), entry(1.0, 0.005)],
            r"distillation is 0\.005 of that of reward .*; raise lam$",
        ),
        (
            [entry(0.0, 0.0), entry(0.005, 1.0)],
            r"reward is 0\.005 of that of distillation .* weight of reward$",
        ),
        ([entry(1.0, 0.0), entry(1.0, 0.0)], "distillation is 0 of"),
        ([entry(1.0, 0.0)], None),  # one update says nothing
        ([{"gradient": 1.0}], None),
    ],
)
def test_a_term_without_influence_is_warned_of(log: Any, told: str | None) -> None:
    found = warnings(log, TrainConfig(), {"distillation": "raise lam"})
    assert len(found) == (told is not None)
    assert all(re.search(told or "", text) for text in found)
    assert warnings(log, TrainConfig(), None) == []  # a combined gradient is no sum


def test_small_gradients_are_warned_of() -> None:
    log = [{"gradient": 1.0, "gradient_median": size} for size in (1e-9, 3e-8, 1e-3)]
    (text,) = warnings(log, TrainConfig(eps=1e-8), {})
    assert "are below 3e-08, which is less than 100 x train.eps (1e-08)" in text
    assert warnings(log, TrainConfig(eps=1e-10), {}) == []


@pytest.mark.parametrize(
    ("clip", "told", "share"),
    [
        (0.5, "train.clip_grad=0.5 clipped every update: the smallest gradient norm was 1", 1.0),
        (10.0, "train.clip_grad=10 never clipped: the largest gradient norm was 9", 0.0),
        (3.0, None, 0.4),
        (0.0, None, None),
    ],
)
def test_what_clipping_did(clip: float, told: str | None, share: float | None) -> None:
    config = TrainConfig(clip_grad=clip)
    found = notes(LOG, config)
    assert [text.partition(", so")[0].partition(";")[0] for text in found] == ([told] if told else [])
    assert summarised(LOG, config).get("clipped") == share


@pytest.fixture
def train(pipeline: Path, tmp_path: Path) -> Any:
    def trained(strategy: Strategy, **train: float) -> tuple[list[dict[str, float]], list[str], list[str]]:
        """The log of a stage of three updates, its warnings and its notes."""
        model = TextToImage.load(ModelConfig(path=str(pipeline), steps=2, device="cpu"))
        warned, said = list[str](), list[str]()
        job = StageTraining(
            model=model,
            group=adapter_group(model.network, targets=("to_q", "to_v")),
            strategy=strategy,
            stage=(stage := strategy.plan(["red", "dark"])[0]),
            index=1,
            reward=WeightedReward(
                {"red": toy.Redness(NoSettings()), "dark": toy.Darkness(NoSettings())}, stage.rewards
            ),
            config=TrainConfig(samples=6, batch_size=2, log_gradients_every=1, **train),  # type: ignore[arg-type]
            prompts=[Prompt("a red circle"), Prompt("a blue ring")],
            rank=2,
            init="paper",
            seed=0,
            checkpoint=tmp_path / "checkpoint",
            warn=warned.append,
            say=said.append,
        )
        job.group.load_chain([])
        job.run()
        return job.log, warned, said

    return trained


def test_a_stage_warns_of_a_distillation_that_does_nothing(train: Any) -> None:
    _, warned, said = train(RID(RIDSettings(lam=1e-9)))
    assert [text.partition(" is ")[0] for text in warned] == ["stage 1 (red): the gradient of distillation"]
    assert "raise lam or alpha or set distance=sum in strategy_settings.rid, or lower train.reward_scale" in warned[0]
    assert said == []
    log, warned, _ = train(RID(RIDSettings(lam=1e9)))
    assert all(entry["gradient/distillation"] > entry["gradient/reward"] for entry in log[1:])
    assert [text.partition(" is ")[0] for text in warned] == ["stage 1 (red): the gradient of reward"]
    assert warned[0].endswith("lower lam in strategy_settings.rid, or raise train.reward_scale")


def test_a_stage_tells_what_clipping_and_eps_did(train: Any) -> None:
    log, warned, said = train(RID(RIDSettings(lam=0.0)), clip_grad=1e-12, eps=1.0)
    assert [text.split(",")[0].partition(" (")[0] for text in warned] == ["stage 1"]
    assert "are below" in warned[0]
    assert "clipped every update" in said[0]
    assert all(0 < entry["gradient_median"] < 1e-12 for entry in log)  # after clipping; zeros of A do not count


def test_terms_that_are_balanced_may_differ(train: Any) -> None:
    joint = Joint(JointSettings(balance="gradients", weights={"red": 1e-9, "dark": 1.0}))
    log, warned, _ = train(joint)
    expected = ["gradient/dark", "gradient/red", "ratio/red", "gradient_median", "gradient"]
    assert list(summarised(log, TrainConfig())) == expected
    assert warned == []


class WeightedSum(Baseline):
    """The baseline on a sum of rewards, as `joint` plans it."""

    def __init__(self, **weights: float) -> None:
        super().__init__(BaselineSettings())
        self.weights = weights

    def plan(self, rewards: Sequence[str]) -> list[Stage]:
        return [Stage(rewards=self.weights)]


def test_the_influence_of_each_reward_in_a_sum_is_measured(train: Any) -> None:
    (first, *_), warned, _ = train(WeightedSum(red=2.0, dark=3.0), reward_scale=0.5)
    assert warned == []
    for name, weight in {"red": 2.0, "dark": 3.0}.items():
        (alone, *_), *_ = train(WeightedSum(**{name: weight}), reward_scale=0.5)
        assert first[f"gradient/{name}"] == pytest.approx(alone["gradient"], rel=1e-4)
        assert "gradient/dark" not in alone


def test_a_reward_without_influence_in_a_sum_is_warned_of(train: Any) -> None:
    log, (text,), _ = train(WeightedSum(red=1.0, dark=1e-5))
    assert text.startswith("stage 1 (red+dark): the gradient of dark is ")
    assert text.endswith("raise the weight of dark")
    assert 0 < summarised(log, TrainConfig())["ratio/dark"] < 1e-4
    log, warned, _ = train(WeightedSum(red=1.0, dark=0.0))  # a weight of 0 is on purpose
    assert (warned, [key for key in log[0] if key.startswith("gradient/")]) == ([], [])
