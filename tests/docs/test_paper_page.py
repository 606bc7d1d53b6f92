"""docs/paper.md names the file and the name of every equation and of every line of Alg. 1, and they exist."""

from __future__ import annotations

import ast
import re

import pytest
from checkout import ROOT

PAGE = (ROOT / "docs" / "paper.md").read_text()
NAMED = re.findall(r"\[`([\w/]+\.py)`\]\(\.\./\1\) `([\w.]+)`", PAGE)
ALGORITHM = (ROOT / "rilbench" / "training" / "update.py").read_text()


def names(path: str) -> set[str]:
    """The functions, classes and methods (`Class.method`) of a file."""
    found = set()
    for node in ast.parse((ROOT / path).read_text()).body:
        if isinstance(node, ast.ClassDef | ast.FunctionDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{method.name}" for method in node.body if isinstance(method, ast.FunctionDef)}
    return found


def lines_of(path: str, name: str) -> list[str]:
    """The source of a method, without its docstring."""
    owner, _, method = name.partition(".")
    tree, source = ast.parse((ROOT / path).read_text()), (ROOT / path).read_text().splitlines()
    (of_class,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == owner)
    (found,) = (node for node in of_class.body if isinstance(node, ast.FunctionDef) and node.name == method)
    first = found.body[1] if ast.get_docstring(found) else found.body[0]
    return source[first.lineno - 1 : found.end_lineno]


@pytest.mark.parametrize(("path", "name"), sorted(set(NAMED)))
def test_a_named_thing_is_in_the_named_file(path: str, name: str) -> None:
    assert name in names(path)


def test_every_equation_and_every_line_has_a_row() -> None:
    rows = [row for row in PAGE.splitlines() if re.search(r"`[\w/]+\.py`\]\(\S+\) `", row)]
    assert [n for n in range(1, 11) if not any(row.startswith(f"| Eq. {n},") for row in rows)] == []
    assert [n for n in range(1, 17) if not any(row.startswith(f"| {n} |") for row in rows)] == []


def test_the_algorithm_and_the_loss_are_short() -> None:
    """What the page promises: Alg. 1 on one screen, its lines in order, and RID's loss in a few lines."""
    assert len(ALGORITHM.splitlines()) <= 100
    update = "\n".join(lines_of("rilbench/training/update.py", "Trainer.update"))
    numbers = [int(n) for n in re.findall(r"# lines? (\d+)", update)]
    assert numbers == sorted(numbers) == [2, 4, 8, 14, 15, 16]
    loss = lines_of("strategies/rilbench_rid/method.py", "RewardIncrementalDistillation.loss")
    assert len(loss) <= 12
    assert re.findall(r"Eq\. (\d+)", "\n".join(loss)) == ["5", "8", "9"]
