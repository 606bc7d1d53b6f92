"""Training uses the negative prompt of each prompt, in the rollout, in its last steps and in a teacher's rollout."""

from __future__ import annotations

import pytest
import torch
from toy import Redness, random_pair

from rilbench.contracts.components import NoSettings
from rilbench.contracts.prompt import Prompt
from rilbench.model.attach import adapter_group
from rilbench.model.config import ModelConfig
from rilbench.model.text_to_image import TextToImage
from rilbench.training.config import TrainConfig
from rilbench.training.drawing import PromptPool
from rilbench.training.step import TrainingStep, WeightedReward
from rilbench.training.update import begin_step, draw_batch

PROMPTS = [Prompt("a red circle", "dull"), Prompt("a blue ring")]


@pytest.mark.slow
def test_every_forward_of_a_step_has_the_negative_prompts(pipeline: object) -> None:
    model = TextToImage.load(ModelConfig(path=str(pipeline), steps=3, guidance=3.0, device="cpu", negative_prompt="x"))
    group = adapter_group(model.network, targets=("to_q", "to_v"))
    group.load_chain([])
    group.start(random_pair(group, 1).trainable())
    reward = WeightedReward({"red": Redness(NoSettings())}, {"red": 1.0})

    def step(prompts: list[Prompt]) -> TrainingStep:
        batch = draw_batch(PromptPool(prompts), model.latent_shape, range(6), seed=0, stage=1)
        return begin_step(model, group, reward, TrainConfig(), batch)

    found, plain = step(PROMPTS), step([Prompt(prompt.text) for prompt in PROMPTS])
    assert found.negatives == ["dull" if prompt == "a red circle" else "" for prompt in found.prompts]
    texts = ["dull" if prompt == "a red circle" else "x" for prompt in found.prompts]
    expected = model.finish(found.z, found.prompts, negatives=texts, last_steps=1)
    assert torch.equal(found.denoise(), expected)
    with group.folded():
        assert torch.equal(found.z, model.rollout(found.z_N, found.prompts, negatives=texts, stop=1))
    assert torch.equal(found.rollout(group.pair), found.z)
    own = torch.tensor([prompt == "a red circle" for prompt in found.prompts])
    assert 0 < own.sum() < 6
    for one, other in ((found.z, plain.z), (found.denoise(), plain.denoise(z=found.z))):
        changed = (one - other).abs().amax((1, 2, 3)) > 1e-3
        assert torch.equal(changed, own), "those alone that have a negative prompt of their own"
