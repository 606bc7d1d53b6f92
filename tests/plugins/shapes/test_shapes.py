"""The procedural world, its oracle, and the quality of the shipped weights on held-out data."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

import rilbench_shapes
from rilbench.contracts.errors import ConfigError
from rilbench.files.prompts import read_prompts
from rilbench_shapes import captions, rules
from rilbench_shapes.oracle import agreement
from rilbench_shapes.recipe import fit as fitting
from rilbench_shapes.recipe import tokenizer
from rilbench_shapes.renderer import render
from rilbench_shapes.world import PALETTE, Scenes, sample_scenes

ROOT = Path(rilbench_shapes.__file__).parent


def scenes(n: int, seed: int = 0) -> Scenes:
    return sample_scenes(n, torch.Generator().manual_seed(seed))


def plain(n: int) -> Scenes:
    """Scenes without style: full colour, no gradient, shadow, blur or grain, no jitter."""
    zero, one = torch.zeros(n), torch.ones(n)
    style = {"gradient": zero, "shadow": zero, "blur": zero, "grain": zero, "dx": zero, "dy": zero}
    return replace(scenes(n), saturation=one, brightness=one, scale=one, **style)


def test_captions_and_parse_are_inverse() -> None:
    drawn = scenes(200)
    for i, caption in enumerate(captions.write(drawn, torch.Generator().manual_seed(1), style_words=0.8)):
        content = captions.parse(caption)
        assert content is not None
        assert all(content[name] == getattr(drawn, name)[i] for name in content)
    assert captions.parse("a photo of a cat") is None
    assert len(set(captions.every())) == 2800


def test_renderer_draws_the_palette_and_style_words_mean_style() -> None:
    drawn = plain(64)
    images = render(drawn, torch.Generator())
    corner = images[:, :, 0, 0]
    assert torch.allclose(corner, torch.tensor(PALETTE)[drawn.background], atol=1e-5)
    grainy = render(replace(drawn, grain=torch.full((64,), 0.1)), torch.Generator().manual_seed(0))
    assert 0.05 < (grainy - images).std() < 0.1
    blurred = render(replace(drawn, blur=torch.ones(64)), torch.Generator())
    assert (blurred.diff(dim=-1).abs().amax() < images.diff(dim=-1).abs().amax()).all()
    assert captions.style_word("saturation", 0.9) == "vivid"
    assert captions.style_word("saturation", 0.65) == ""


def test_rules_disagree_where_they_say() -> None:
    drawn = plain(100)
    pale = replace(drawn, saturation=torch.full((100,), 0.3))
    assert torch.equal(rules.calm_rating(drawn), rules.calm_rating(pale))
    assert (rules.rating(drawn) > rules.rating(pale)).all()
    assert (rules.utility(drawn, drawn) < rules.utility(pale, drawn)).all()
    wrong = replace(drawn, shape=(drawn.shape + 1) % 5)
    assert torch.allclose(rules.utility(drawn, drawn) - rules.utility(wrong, drawn), torch.tensor(0.4))


@pytest.mark.slow
def test_oracle_reads_renders_and_sees_wrong_captions() -> None:
    drawn = scenes(500, seed=7)
    images = render(drawn, torch.Generator().manual_seed(7))
    right = agreement(images, captions.write(drawn))
    assert all(hits.float().mean() > 0.85 for hits in right.values())
    wrong = agreement(images, captions.write(replace(drawn, shape=(drawn.shape + 1) % 5)))
    assert wrong["shape"].float().mean() < 0.1
    assert torch.equal(wrong["colour"], right["colour"])


def test_oracle_refuses_other_worlds() -> None:
    with pytest.raises(ConfigError, match="not a caption of the `shapes` world"):
        agreement(torch.zeros(1, 3, 32, 32), ["a cat"])
    with pytest.raises(ConfigError, match="32 x 32"):
        agreement(torch.zeros(1, 3, 64, 64), captions.every()[:1])


def test_prompts_are_disjoint_and_complete() -> None:
    files = (str(ROOT / "prompts" / f"{name}.txt") for name in ("train", "eval"))
    train, test = ([prompt.text for prompt in read_prompts(file)] for file in files)
    assert (len(set(train)), len(set(test))) == (750, 50)
    assert not set(train) & set(test)
    assert all(captions.parse(p) for p in (*train, *test))


def test_tokenizer_knows_the_words_and_survives_others() -> None:
    words = tokenizer.build()
    assert len(words.tokenize("a large red circle at the left")) == 7
    assert words.decode(words("Émile's cat, 42!").input_ids, skip_special_tokens=True).replace(" ", "") != ""
    assert words.eos_token_id == len(words) - 1  # CLIP pools at the highest number


def test_training_is_seeded_and_leaves_the_average_weights_frozen() -> None:
    def train(seed: int) -> nn.Linear:
        torch.manual_seed(0)
        model = nn.Linear(3, 1)

        def loss(generator: torch.Generator) -> torch.Tensor:
            return (model(torch.randn(8, 3, generator=generator)) - 1).pow(2).mean()

        fitting.fit("line", model, loss, steps=12, lr=0.1, seed=seed)
        return model

    first, again, other = train(0), train(0), train(1)
    assert torch.equal(first.weight, again.weight)
    assert not torch.equal(first.weight, other.weight)
    assert not first.weight.requires_grad


def test_the_recipe_keeps_finished_parts_and_makes_the_missing_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rilbench_shapes.__main__ import train
    from rilbench_shapes.recipe import measure

    finished = (
        "pipeline/vae/diffusion_pytorch_model.safetensors",
        "pipeline/captions.json",
        "clip/tokenizer.json",
        "hps/tokenizer.json",
        "probe.safetensors",
        "fid.safetensors",
    )
    for name in (*finished, *(f"{head}.safetensors" for head in rules.RATINGS)):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("kept")
    monkeypatch.setattr(measure, "measure", lambda folder: "measured")
    train(tmp_path)
    assert all((tmp_path / name).read_text() == "kept" for name in finished)
    made = {file.name: file.read_text() for file in (tmp_path / "prompts").iterdir()}
    assert made == {file.name: file.read_text() for file in (ROOT / "prompts").iterdir()}  # as they are shipped


@pytest.mark.slow
def test_shipped_weights_are_as_good_as_the_model_card_says() -> None:
    """The card's figures meet the benchmark's bar, and the cheap ones are measured again."""
    from rilbench_aesthetic.head import LinearHead
    from rilbench_shapes.recipe import aesthetic, clip, hps, measure

    card = json.loads((ROOT / "weights" / "quality.json").read_text())
    assert card["vae_psnr_db"] >= 26
    assert min(card["oracle_on_renders"].values()) >= 0.85
    assert min(card["oracle_on_base_model"][k] for k in ("shape", "colour", "background")) >= 0.75
    assert card["clip_retrieval_of_100"] >= 0.70
    assert card["aesthetic_correlation"] >= 0.85
    assert card["aesthetic_calm_correlation"] >= 0.85
    assert min(card["attributes_on_renders"].values()) >= 0.97
    assert min(card["attributes_on_base_model"].values()) >= 0.97
    assert max(card["attributes_of_other_captions"].values()) < 0.6
    assert card["hps_pair_accuracy"] >= 0.85

    encoder = measure.load_clip(ROOT / "weights" / "clip")
    head = LinearHead.load(ROOT / "weights" / "aesthetic.safetensors")
    assert clip.retrieval(encoder, rounds=3, seed=9) >= 0.70
    assert aesthetic.correlation(encoder, head, n=1000, seed=9) >= 0.83
    assert hps.accuracy(measure.load_clip(ROOT / "weights" / "hps"), n=500, seed=9) >= 0.83


def test_shipped_weights_are_small() -> None:
    assert sum(p.stat().st_size for p in ROOT.rglob("*") if p.is_file()) < 30e6
