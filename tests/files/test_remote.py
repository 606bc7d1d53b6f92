"""References to published files: what they say, where the files lie, and what speaks against one."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from huggingface_hub import constants
from web import git_hash

from rilbench import ConfigError, NeededFile
from rilbench.contracts.files import named
from rilbench.files import published as remote
from rilbench.files.hub import is_hub_id
from rilbench.files.published import fault_of, place_of
from rilbench.files.resources import checked, resolve

SHA = hashlib.sha256(b"weights").hexdigest()
MD5 = hashlib.md5(b"weights").hexdigest()
URL = "url:https://example.org/release/head%20one.pth"


@pytest.fixture(autouse=True)
def caches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILBENCH_CACHE", str(tmp_path / "urls"))
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def test_a_reference_says_where_and_what() -> None:
    file = NeededFile.parse(f"hub:some-one/some.thing/sub/head.pth@v1#sha256={SHA}&size=7&licence=Apache-2.0")
    assert file.hub == ("some-one/some.thing", "sub/head.pth", "v1")
    assert (file.name, file.sha256, file.size, file.licence) == ("sub/head.pth", SHA, 7, "Apache-2.0")
    assert NeededFile.parse("hub:a/b/c.bin").hub == ("a/b", "c.bin", "main")
    assert NeededFile.parse(URL).name == "head one.pth"
    assert NeededFile.parse(f"{URL}#md5={MD5}").md5 == MD5


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("hub:owner/file.pth", "write hub:OWNER/REPO/FILE@REVISION"),
        ("hub:owner/repo/@v1", "write hub:OWNER/REPO/FILE@REVISION"),
        ("url:https://example.org/", "write url:https://HOST/PATH/FILE"),
        (f"{URL}#sha265={SHA}", "unknown fact 'sha265'. Did you mean 'sha256'"),
        (f"{URL}#sha256=abc", "sha256 must be 64"),
        (f"{URL}#md5={SHA}", "md5 must be 32"),
        (f"{URL}#size=big", "size must be a number of bytes, not 'big'"),
    ],
)
def test_wrong_references_are_refused(text: str, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        NeededFile.parse(text)


@dataclass(frozen=True)
class Settings:
    weights: str = f"{URL}#size=7"
    other: str = "data/local.pth"
    words: str | None = None
    rank: int = 4
    model: str = "hub:a/b/c.bin"
    server: str = "https://example.org/score"  # no file to fetch


def test_settings_name_their_files() -> None:
    assert [file.source for file in named(Settings())] == [URL, "hub:a/b/c.bin"]


def put(path: Path, contents: bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(contents)
    return path


def in_hub_cache(tmp_path: Path, contents: bytes, etag: str, branch: str = "main") -> Path:
    """The layout the Hub's client documents: blobs, snapshots that link to them, and refs."""
    repo = tmp_path / "hub" / "models--a--b"
    blob = put(repo / "blobs" / etag, contents)
    put(repo / "refs" / branch, b"d" * 40)
    link = repo / "snapshots" / ("d" * 40) / "c.bin"
    link.parent.mkdir(parents=True)
    link.symlink_to(blob)
    return link


def test_a_missing_file_names_itself_its_place_and_the_command(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "argv", ["rilbench", "run", "--config", "sd15", "model.steps=5"])
    place = place_of(NeededFile(URL))
    assert place.parent == tmp_path / "urls"
    with pytest.raises(ConfigError) as caught:
        resolve(f"{URL}#size=7")
    text = str(caught.value)
    assert text.startswith(f"missing files: head one.pth of {URL} should be at {place}; ")
    assert text.endswith(" with: rilbench fetch --config sd15 model.steps=5")
    with pytest.raises(ConfigError, match=rf"should be at {tmp_path}/hub/models--a--b/snapshots/v2/c\.bin"):
        resolve("hub:a/b/c.bin@v2")


def test_what_is_made_here_says_how() -> None:
    error = remote.missing([NeededFile("data/stats.safetensors", made_by="make it")])
    assert "missing files: there is no data/stats.safetensors; " in str(error)
    assert str(error).endswith(" with: make it")


def test_a_url_file_is_found_and_checked(tmp_path: Path) -> None:
    file = NeededFile.parse(f"{URL}#sha256={SHA}&md5={MD5}&size=7")
    put(place_of(file), b"weights")
    assert resolve(f"{URL}#sha256={SHA}") == str(place_of(file))
    assert fault_of(file) is None
    assert fault_of(NeededFile.parse(f"{URL}#size=8")) == "has 7 bytes, published are 8"
    assert f"md5 {MD5}, published" in str(fault_of(NeededFile.parse(f"{URL}#md5={'0' * 32}")))
    put(place_of(file), b"Weights")
    assert f"published is {SHA}" in str(fault_of(file))


@pytest.mark.parametrize("etag", [SHA, git_hash(b"weights")])
def test_the_hubs_cache_knows_every_hash(tmp_path: Path, etag: str) -> None:
    link = in_hub_cache(tmp_path, b"weights", etag)
    file = NeededFile("hub:a/b/c.bin")
    assert place_of(file) == link
    assert fault_of(file) is None
    link.write_bytes(b"Weights")
    assert str(fault_of(file)).endswith(f"the Hub says {etag}")


def test_reading_checks_the_file_each_time_it_changed(tmp_path: Path) -> None:
    text = f"{URL}#sha256={SHA}"
    place = put(place_of(NeededFile(URL)), b"weights")
    assert checked(text) == str(place)
    put(place, b"another")
    with pytest.raises(ConfigError, match=rf"{place} .*sha256 .*{URL}.*rilbench fetch"):
        checked(text)
    put(place, b"weights")
    assert checked(text) == str(place)


def test_a_folder_of_the_hub(tmp_path: Path) -> None:
    link = in_hub_cache(tmp_path, b"weights", SHA, branch="v3")
    assert remote.hub_folder("a/b@v3", ["c.bin"]) == link.parent
    with pytest.raises(ConfigError, match=r"d\.json of hub:a/b/d\.json@v3 should be at"):
        remote.hub_folder("a/b@v3", ["c.bin", "d.json"])
    (tmp_path / "x" / "y").mkdir(parents=True)
    assert is_hub_id("a/b@v3")
    assert not is_hub_id(f"{tmp_path}/x")
    assert not is_hub_id("./a")
    assert not is_hub_id("package:a/b")
