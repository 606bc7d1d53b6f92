"""What a command prints reaches any terminal, and a reader who leaves costs nothing but the text."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TextIO

import pytest
import small_runs
import toy

from rilbench.cli import main
from rilbench.store.results import load_result


def called(patched: pytest.MonkeyPatch, *arguments: str, out: TextIO, err: TextIO | None = None) -> int:
    """The exit code of `rilbench` with these streams."""
    patched.setattr(sys, "argv", ["rilbench", *arguments])
    patched.setattr(sys, "stdout", out)
    patched.setattr(sys, "stderr", err or io.StringIO())
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0)


@contextmanager
def unread() -> Iterator[TextIO]:
    """A pipe whose reader has gone."""
    theirs, ours = os.pipe()
    os.close(theirs)
    with os.fdopen(ours, "w") as stream:
        yield stream


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_tables_on_a_narrow_terminal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str) -> None:
    small_runs.write_run(tmp_path, "rid")
    small_runs.write_run(tmp_path, "baseline")
    small_runs.write_run(tmp_path, "rid", seed=1)
    text = io.BytesIO()
    code = called(monkeypatch, "compare", str(tmp_path), out=io.TextIOWrapper(text, encoding=encoding))
    shown = text.getvalue().decode(encoding)
    assert code == 0
    assert "red ^" in shown, "the direction of a metric"
    assert "+--" in shown, "the lines of a table"
    assert ("±" if encoding == "latin-1" else "+-") in shown


def test_what_has_no_plain_sign_is_escaped(monkeypatch: pytest.MonkeyPatch) -> None:
    text = io.BytesIO()
    err = io.TextIOWrapper(text, encoding="ascii")
    assert called(monkeypatch, "run", "--config", "\u96ea↑", out=io.StringIO(), err=err) == 3
    assert "\\u96ea\\u2191" in text.getvalue().decode("ascii")


@pytest.mark.slow
def test_a_run_whose_readers_have_gone_is_finished(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    toy.config(workplace)
    arguments = ["run", "--config", str(workplace / "toy.yaml"), "--rewards", "red", "evaluate.metrics=[]"]
    with unread() as out, unread() as err:
        code = called(monkeypatch, *arguments, "--plugin", "red=toy:Redness", out=out, err=err)
    (folder,) = (path.parent for path in (workplace / "runs").glob("*/result.json"))
    assert code == 0
    assert load_result(folder).status == "finished"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that is always full")
def test_a_full_disk_under_stdout_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_runs.write_run(tmp_path, "rid")
    err = io.StringIO()
    with open("/dev/full", "w") as full:
        assert called(monkeypatch, "compare", str(tmp_path), "--format", "json", out=full, err=err) == 1
    assert "cannot write to stdout: No space left on device" in err.getvalue()


def test_without_streams_a_command_still_works(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_runs.write_run(tmp_path, "rid")
    monkeypatch.setattr(sys, "argv", ["rilbench", "compare", str(tmp_path)])
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    with pytest.raises(SystemExit) as ended:
        main()
    assert not ended.value.code
