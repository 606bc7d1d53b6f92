"""docs/reference is what docs/generate.py writes, and the site builds from it without a warning."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path

import pytest
from checkout import ROOT

FOLDER = ROOT / "docs" / "reference"


@pytest.mark.slow
def test_the_generated_pages_are_current(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILBENCH_PLUGINS", "")
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, text in generate.pages().items():
        written = (FOLDER / name).read_text(encoding="utf-8")
        assert written == text, f"docs/reference/{name} is out of date: run python docs/generate.py"


@pytest.mark.slow
def test_the_site_builds_and_loads_nothing_from_elsewhere(tmp_path: Path) -> None:
    pytest.importorskip("mkdocstrings_handlers.python", reason="needs pip install -e '.[docs]'")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    pages = {path: path.read_text(encoding="utf-8") for path in tmp_path.rglob("*.html")}
    loaded = r"<(?:script|img|iframe)[^>]+src=\"https?:|<link[^>]+rel=\"(?:stylesheet|preconnect)\"[^>]+href=\"https?:"
    assert [path for path, html in pages.items() if re.search(loaded, html)] == []
    python = pages[tmp_path / "reference" / "python" / "index.html"]
    assert all(
        f'id="rilbench.{name}"' in python for name in ("Reward", "Strategy", "Step.denoise", "testing.CheckResult")
    )
