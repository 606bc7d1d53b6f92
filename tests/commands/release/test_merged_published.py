"""A merged export of Stable Diffusion 1.5 as `rilbench fetch` gets it: the index names parts that are not fetched."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from diffusers import DiffusionPipeline, StableDiffusionPipeline
from safetensors.torch import load_file

from rilbench.contracts.pair import LoraPair
from rilbench.model.attach import adapter_group
from rilbench.model.config import ModelConfig
from rilbench_release import merged

NOT_FETCHED = {
    "safety_checker": ["stable_diffusion", "StableDiffusionSafetyChecker"],
    "feature_extractor": ["transformers", "CLIPImageProcessor"],
}


@pytest.fixture
def config(workplace: Path) -> ModelConfig:
    """The tiny pipeline with the published index, without the folders of its safety checker."""
    index = workplace / "pipeline" / "model_index.json"
    index.write_text(json.dumps(json.loads(index.read_text()) | NOT_FETCHED))
    return ModelConfig(path=str(workplace / "pipeline"), device="cpu")


@pytest.mark.slow
def test_a_merged_export_needs_no_safety_checker(config: ModelConfig, tmp_path: Path) -> None:
    unet = StableDiffusionPipeline.from_pretrained(config.path, safety_checker=None, feature_extractor=None).unet
    layers = adapter_group(unet, targets=("to_q", "to_v")).layers
    pair = LoraPair.initialised(layers, rank=2, init="paper", generator=torch.Generator().manual_seed(1))
    for factor in pair.factors:
        factor.copy_(torch.randn(factor.shape, generator=torch.Generator().manual_seed(2)))
    out = tmp_path / "merged"
    assert merged.write_merged(out, config, [(pair, 0.5)]) == "unet"

    index = json.loads((out / "model_index.json").read_text())
    named = {name for name, origin in index.items() if isinstance(origin, list) and origin[0]}
    assert named == {path.name for path in out.iterdir() if path.is_dir()}
    again = DiffusionPipeline.from_pretrained(out)  # with no options at all
    assert again.safety_checker is None

    files = [path.relative_to(out) for path in out.rglob("*.safetensors")]
    assert set(files) == {path.relative_to(config.path) for path in Path(config.path).rglob("*.safetensors")}
    for file in files:
        before, after = load_file(Path(config.path) / file), load_file(out / file)
        assert before.keys() == after.keys()
        for name, value in before.items():
            layer = name.removesuffix(".weight")
            changed = file.parts[0] == "unet" and layer in pair.a
            expected = value + 0.5 * (pair.a[layer] @ pair.b[layer]) if changed else value
            assert torch.allclose(after[name], expected, rtol=0, atol=1e-6 if changed else 0), name
