"""docs/models.md lists the published files that the shipped configuration and the plugins need."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from checkout import ROOT
from huggingface_hub import constants

from rilbench.contracts.files import NeededFile
from rilbench.engine.config import load
from rilbench.engine.needed import needed
from rilbench.engine.parts import Parts
from rilbench.host.catalog import Catalog

PAGE = (ROOT / "docs" / "models.md").read_text()


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[NeededFile]:
    """What sd15 needs when nothing is there, with the other rewards that have published weights."""
    monkeypatch.setenv("RILBENCH_CACHE", str(tmp_path / "urls"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    config = load("sd15", rewards="aesthetic,hps,compressibility,pickscore,imagereward")
    return [need.file for need in needed(Parts(config, Catalog()))]


def test_every_file_is_on_the_page(files: list[NeededFile]) -> None:
    assert len(files) > 10
    for file in files:
        if file.hub:
            repo, name, revision = file.hub
            assert f"`{repo}`" in PAGE
            assert revision == "main" or f"at {revision[:8]}" in PAGE, file
            assert f"`{name}`" in PAGE or "tokenizer" in PAGE.lower()
        else:
            assert f"`{file.name}`" in PAGE or f"/{file.name}`" in PAGE, file
        for digest in (file.sha256, file.md5):
            assert digest is None or f"{digest[:8]}..." in PAGE, file
        assert file.licence in PAGE


def test_what_is_published_says_where_its_hash_comes_from(files: list[NeededFile]) -> None:
    """Plain addresses have no Hub behind them that knows a hash, so the reference must."""
    plain = [file for file in files if file.published and not file.hub]
    assert len(plain) == 3
    assert all(file.sha256 and file.size and file.licence for file in plain)


def test_the_model_is_pinned_to_a_commit() -> None:
    assert re.fullmatch(r"[0-9a-f]{40}", load("sd15").model.revision or "")


def test_another_version_of_hps_is_one_setting() -> None:
    (setting,) = re.findall(r"reward_settings\.hps\.pretrained='(.*?)'", PAGE)
    config = load("sd15", [f"reward_settings.hps.pretrained={setting}"], rewards="hps")
    file = NeededFile.parse(config.reward_settings["hps"]["pretrained"])
    assert file.hub
    assert (file.hub[1], file.md5) == ("HPS_v2.1_compressed.pt", "4067542e34ba2553a738c5ac6c1d75c0")
