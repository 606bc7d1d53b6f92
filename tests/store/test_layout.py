"""Names of files in a store are spelled in one place."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from checkout import ROOT

from rilbench.store.layout import RunFiles, Store, stage_of

LAYOUT = ROOT / "rilbench/store/layout.py"
NAMES = {
    "result.json",
    "config.yaml",
    "environment.json",
    "plan.json",
    "table.md",
    "samples.png",
    "study.json",
    "stage.json",
    "adapter_model.safetensors",
    "adapter_config.json",
    "carry.safetensors",
    "checkpoint.pt",
    "metrics.json",
    "scores.safetensors",
    "images.safetensors",
}
FOLDERS = {"stages", "evaluations"}


def spelled(tree: ast.Module) -> Iterator[tuple[int, str]]:
    """Line and text of every name of a store's file or folder in code: alone or at the end of a path."""
    documented = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documented:
            last = node.value.rpartition("/")[2]
            if " " not in node.value and (last in NAMES or last.startswith("sample-")):
                yield node.lineno, node.value
        right = node.right if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) else None
        if isinstance(right, ast.Constant) and right.value in FOLDERS:
            yield right.lineno, str(right.value)


def test_no_other_file_spells_a_name_of_the_store() -> None:
    folders = ("rilbench", "commands", "plugins", "strategies", "benchmarks")
    files = [file for folder in folders for file in (ROOT / folder).rglob("*.py") if file != LAYOUT]
    files = [file for file in files if "recipe" not in file.parts]  # of a model's card, which is in no store
    found = [
        f"{file.relative_to(ROOT)}:{line} {text}"
        for file in files
        for line, text in spelled(ast.parse(file.read_text()))
    ]
    assert not found, "\n".join(found)


def test_the_layout_spells_every_name() -> None:
    text = LAYOUT.read_text()
    assert all(f'"{name}"' in text for name in NAMES | FOLDERS)


def test_rows_name_evaluations_as_the_store_does(tmp_path: Path) -> None:
    store = Store(tmp_path)
    files = store.stage("0a1b").evaluation("2c3d")
    path = store.relative(files.folder)
    assert store.evaluation(path) == files
    assert stage_of(path) == "0a1b"
    assert stage_of("stages/../evaluations/2c3d") == ""


def test_pictures_are_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    files = Store(tmp_path).stage("a").evaluation("b")
    files.folder.mkdir(parents=True)
    for name in ("sample-10.png", "sample-2.png", "sample-x.png"):
        (files.folder / name).touch()
    assert files.pictures() == [(2, files.picture(2)), (10, files.picture(10))]


def test_a_run_is_told_from_a_study_and_from_what_is_being_deleted(tmp_path: Path) -> None:
    for name in ("run", "study", ".run", "empty"):
        (tmp_path / name).mkdir()
    for name in ("run", "study", ".run"):
        RunFiles(tmp_path / name).environment.touch()
    RunFiles(tmp_path / "study").study.touch()
    assert [folder.name for folder in sorted(tmp_path.iterdir()) if RunFiles(folder).is_run] == ["run"]
