"""The command line as a user meets it: exit codes, streams, one line for a mistake."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import toy
from command import FEW, rilbench

HEAVY = ("pydantic", "torch", "diffusers", "mlflow", "transformers", "open_clip", "plotly")


@pytest.mark.parametrize(
    "arguments", [["--help"], ["plugins", "list"], ["plugins", "list", "--json"], ["runs", "list", "."]]
)
def test_quick_commands_import_nothing_heavy(arguments: list[str]) -> None:
    code = (
        "import sys, runpy\n"
        f"sys.argv = ['rilbench', *{arguments!r}]\n"
        "try:\n    runpy.run_module('rilbench.cli', run_name='__main__')\nexcept SystemExit:\n    pass\n"
        f"print('LOADED', [m for m in {HEAVY!r} if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    loaded = done.stdout.rstrip().rpartition("LOADED ")[2]
    assert loaded in ("[]", "['pydantic']" if "." in arguments else "[]")  # Typer's, for an argument


def test_plugins_list_json(tmp_path: Path) -> None:
    found = json.loads(rilbench("plugins", "list", "--json", cwd=tmp_path).out)
    names = {(p["kind"], p["name"]) for p in found}
    assert {("reward", "aesthetic"), ("strategy", "rid"), ("metric", "fid"), ("hook", "mlflow")} <= names
    assert {p["status"] for p in found} == {"ok"}


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["run", "--rewards", "esthetic"], 3, "unknown reward 'esthetic'. Did you mean 'aesthetic'"),
        (["run", "--strategy", "rdi"], 3, "unknown strategy 'rdi'. Did you mean 'rid'"),
        (["run", "evaluate.metrics=[fud]"], 3, "unknown metric 'fud'. Did you mean 'fid'"),
        (["run", "trian.lr=1"], 3, "unknown setting 'trian'. Did you mean 'train'"),
        (["run", "train.lr=fast"], 3, "train.lr: 'fast' is not a number"),
        (["run", "train.prompts=nowhere.txt"], 3, "no prompt file at 'nowhere.txt'"),
        (["run", "--config", "shape"], 3, "unknown configuration 'shape'. Did you mean 'shapes'"),
        (["run", "--config", "nothing.yaml"], 3, "no configuration file at 'nothing.yaml'"),
        (["run", "lr"], 3, "'lr' is not a setting; write key=value"),
        (["compare"], 2, "Missing argument"),
        (["run", "--stratgy", "rid"], 2, "No such option"),
        (["compare", "nowhere"], 2, "no runs at 'nowhere'"),
        (["upload", "nowhere"], 2, "nowhere is not a run and contains none: there is no result.json"),
        (["report"], 2, "Missing argument"),
        (["report", "nowhere"], 2, "no runs at 'nowhere'"),
        (["export", "nowhere"], 2, "no run at 'nowhere'"),
        (["export", "nowhere", "--format", "onnx"], 2, "Invalid value for '--format'"),
        (["generate", "nowhere", "--prompt", "a"], 2, "no run at 'nowhere'"),
        (["evaluate", "./nowhere"], 3, "model.path: no folder at './nowhere'"),
        (["evaluate", "./nowhere", "--lora", "none:1"], 2, "--lora: there is no file or folder 'none:1'"),
    ],
)
def test_a_mistake_is_a_clear_line_and_an_exit_code(
    tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    done = rilbench(*arguments, cwd=tmp_path)
    assert done.code == code, done.err
    assert message in done.err
    assert "Traceback" not in done.err
    assert done.out == ""


def test_a_broken_yaml_names_the_file(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("train: {lr: [")
    done = rilbench("run", "--config", "mine.yaml", cwd=tmp_path)
    assert done.code == 3
    assert "mine.yaml" in done.err
    assert "Traceback" not in done.err


@pytest.mark.slow
def test_run_explain_compare_end_to_end(workplace: Path) -> None:
    """On the tiny model with a reward that needs no weights; stdout is data only."""
    toy.config(workplace)
    common = ["--config", "toy.yaml", "--rewards", "compressibility", "evaluate.metrics=[png_kb]"]
    told = rilbench("explain", "--json", *common, cwd=workplace)
    assert told.code == 0, told.err
    plan = json.loads(told.out)
    assert [s["updates"] for s in plan["stages"]] == [0, 4]
    assert plan["parameters"]["trainable"] > 0
    assert not (workplace / "runs" / "stages").exists()

    line = [sys.executable, "-m", "rilbench.cli", "run", "--json", "--quiet", *common]
    done = subprocess.run(line, cwd=workplace, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert FEW.fullmatch(done.stderr), "no other warning, and no progress"
    result = json.loads(done.stdout)
    assert result["status"] == "finished"
    shown = rilbench("run", *common, cwd=workplace)
    assert "compressibility" in shown.out
    line = "repeat rilbench run --config toy.yaml --rewards compressibility 'evaluate.metrics=[png_kb]'"
    assert line in [" ".join(line.split()) for line in shown.out.splitlines()]
    told = json.loads(rilbench("explain", "--json", *common, cwd=workplace).out)
    assert all(stage["in_store"] and stage["seconds"] == 0 for stage in told["stages"])
    again = json.loads(rilbench("explain", "--json", *common, "--seed", "1", cwd=workplace).out)
    base, stage = result["stages"]
    took = stage["train_seconds"] + (base["evaluate_seconds"] + stage["evaluate_seconds"]) / 2
    assert again["stages"][1]["seconds"] == pytest.approx(took, abs=0.06)
    assert "in this store" in again["estimate"]["how"]
    assert "two timed forward" in plan["estimate"]["how"]
    table = rilbench("compare", "--markdown", result["folder"], cwd=workplace)
    assert table.out.count("\n|") >= 3
