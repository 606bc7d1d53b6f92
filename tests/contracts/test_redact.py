"""Addresses without their secrets."""

from __future__ import annotations

import pytest

from rilbench.contracts.errors import RilbenchError
from rilbench.contracts.files import NeededFile
from rilbench.contracts.redact import argument, public, redacted, values
from rilbench.files.published import place_of
from rilbench_fetch.download import complete

PASSWORD = "S3cr3t"


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (f"http://me:{PASSWORD}@host:5000/x", "http://host:5000/x"),
        (f"htps://me:{PASSWORD}@host", "htps://host"),
        (f"http:/me:{PASSWORD}@host", "http:/host"),
        (f"http:me:{PASSWORD}@host", "http:host"),
        (f"http//me:{PASSWORD}@host", "host"),
        (f"me:{PASSWORD}@host:5000", "me:host:5000"),
        (f"http://me:a#{PASSWORD}@host", "http://host"),
        (f"http://me:a/{PASSWORD}@host/x", "http://host/x"),
        (f"http://me:a?{PASSWORD}@host", "http://host"),
        (f"http://me:a@{PASSWORD}/b@host", "http://host"),
        (f"http://{PASSWORD}@host/", "http://host/"),
        (f"postgresql+psycopg://me:{PASSWORD}@db/runs", "postgresql+psycopg://db/runs"),
        (f"http://host/x?token={PASSWORD}&a=1#b", "http://host/x?token=***&a=1#b"),
        (f"http://host/#/x?api_key={PASSWORD}", "http://host/#/x?api_key=***"),
        (f"http://host#access_token={PASSWORD}", "http://host#access_token=***"),
        (f"url:https://me:{PASSWORD}@host/f.pt#sha256=ab", "url:https://host/f.pt#sha256=ab"),
        (f"url:https://host/f.pt?X-Amz-Signature={PASSWORD}", "url:https://host/f.pt?X-Amz-Signature=***"),
    ],
)
def test_secrets_of_addresses_are_removed(address: str, shown: str) -> None:
    assert public(address) == shown
    for text in (address, f"no answer from {address} in 3 s", f"'{address}'", f"key={address}, and"):
        assert PASSWORD not in redacted(text), text
    assert PASSWORD not in argument(f"reward_settings.x.weights={address}")
    assert PASSWORD not in str(values({"a": [{"b": address}], "c": (address,)}))


@pytest.mark.parametrize(
    "text",
    [
        "hub:xswu/HPSv2/HPS_v2_compressed.pt@697403e",
        "reward_settings.hps.weights=hub:xswu/HPSv2/HPS_v2_compressed.pt@697403e#sha256=ab&size=12",
        "url:https://host/path@v1/file.pt?id=1234567890abc",
        "https://host/path@v1",
        "sqlite:////tmp/a@b/mlflow.db?timeout=60#colours",
        "sqlite:///a@b.db",
        "http://host/#/experiments/1/runs?viewStateShareKey=colours-final&compareRunsMode=CHART",
        "https://host/f.pt?token=env:MY_TOKEN",
        "rilbench run -c x.yaml train.lr=1e-3 evaluate.metrics=[fid,hps@jpeg] 'a: b'",
        "error: no such file: /tmp/a@b",
        "",
    ],
)
def test_other_texts_are_left_as_they_are(text: str) -> None:
    assert redacted(text) == text
    assert public(text) == text or "=hub:" in text or " " in text
    assert argument(text) == text


def test_a_password_with_spaces_and_quotes() -> None:
    assert (
        argument("reward_settings.x.weights=url:https://me:a 'b\" c@host/f")
        == "reward_settings.x.weights=url:https://host/f"
    )


def test_an_address_is_completed_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_TOKEN", PASSWORD)
    assert complete("https://host/f?token=env:MY_TOKEN&id=3") == f"https://host/f?token={PASSWORD}&id=3"
    monkeypatch.delenv("MY_TOKEN")
    with pytest.raises(RilbenchError, match="the environment variable MY_TOKEN is not set"):
        complete("https://host/f?token=env:MY_TOKEN")
    with pytest.raises(RilbenchError, match=r"host/f\?token=\*\*\* .* without its secrets; .* token=env:NAME"):
        complete("https://host/f?token=***")


def test_the_place_of_a_file_does_not_depend_on_the_secret() -> None:
    places = {place_of(NeededFile(f"url:https://{user}host/f.pt?id=3&token={token}")) for user, token in TWICE}
    assert len(places) == 1
    assert place_of(NeededFile("url:https://host/f.pt?id=4")) not in places
    assert PASSWORD not in NeededFile(f"url:https://me:{PASSWORD}@host/f.pt").origin


TWICE = ((f"me:{PASSWORD}@", PASSWORD), ("", "env:MY_TOKEN"), ("", "***"))


def test_addresses_of_two_files_have_two_places() -> None:
    """A port and an `@` in the path look like a user and a password."""
    places = {place_of(NeededFile(f"url:https://{host}:8443/{folder}/x@v1.bin")) for host in "ab" for folder in "cd"}
    assert len(places) == 4
    same = ("url:https://a/c/x.bin?token=1", "url:https://a/c/x.bin?token=env:T", "url:https://me:pw@a/c/x.bin?token=2")
    assert len({place_of(NeededFile(source)) for source in same}) == 1
