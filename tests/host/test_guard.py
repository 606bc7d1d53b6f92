"""What a component does to the process and to what it is shown stays with it."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from importlib.metadata import EntryPoint
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import fabricate
import pytest
import torch
import toy
from command import FEW
from torch import Tensor

from rilbench import MeanMetric, Strategy, hookimpl
from rilbench.contracts.errors import PluginError
from rilbench.contracts.result import RunResult
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.host import global_state
from rilbench.host.global_state import warn_once
from rilbench.host.guard import blamed
from rilbench_study.worker import Setup, work

SHORT = ("rewards=[red]", "train.samples=4", "evaluate.metrics=[toy_contrast]")


@pytest.fixture(autouse=True)
def fresh() -> Iterator[None]:
    """Warnings are given again, and torch's modes are right whatever a test found."""
    before = global_state.snapshot(global_state.modes())
    warn_once.cache_clear()
    yield
    global_state.restore(global_state.modes(), before)


class Wide(MeanMetric):
    """Sets float64 for everybody."""

    higher_is_better = True

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        torch.set_default_dtype(torch.float64)
        torch.manual_seed(3)
        super().__init__(settings, device=device)

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return images.mean((1, 2, 3))


class WideLater(Wide):
    """The same in a call."""

    def __init__(self, settings: Any, *, device: str = "cpu") -> None:
        MeanMetric.__init__(self, settings, device=device)

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(True)
        return images.mean((1, 2, 3))


def with_metric(workplace: Path, cls: str, *overrides: str) -> RunResult:
    point = EntryPoint("odd", f"test_guard:{cls}", "rilbench.metrics")
    config = toy.config(workplace, *SHORT, *overrides)
    return engine.run(config, catalog=toy.catalog(point), reporter=Reporter(quiet=True)).result


@pytest.mark.slow
@pytest.mark.parametrize("cls", ["Wide", "WideLater"])
def test_a_metric_cannot_change_what_is_trained(cls: str, workplace: Path) -> None:
    plain = toy.run(workplace, *SHORT).result
    pairs = {row.stage_id: _pair(workplace, row.stage_id) for row in plain.matrix.rows[1:]}
    with pytest.warns(UserWarning, match=r"odd.* changes torch's default dtype.* this is undone") as told:
        odd = with_metric(workplace, cls, "evaluate.metrics=[toy_contrast,odd]", f"store={workplace}/other")
    assert len(told) == 1
    assert torch.get_default_dtype() == torch.float32
    for row, expected in zip(odd.matrix.rows, plain.matrix.rows, strict=True):
        assert row.stage_id == expected.stage_id
        assert row.values["red"] == expected.values["red"]
    for key, pair in pairs.items():
        assert _pair(workplace, key, "other") == pair


def _pair(workplace: Path, key: str, store: str = "runs") -> bytes:
    return (workplace / store / "stages" / key / "adapter_model.safetensors").read_bytes()


@pytest.mark.slow
def test_making_a_component_draws_for_itself(workplace: Path) -> None:
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with pytest.warns(UserWarning, match="torch's default dtype"):
        with_metric(workplace, "Wide", "evaluate.metrics=[odd]")
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize("mode", ["set_default_device", "set_num_threads", "use_deterministic_algorithms"])
def test_every_mode_is_put_back(mode: str) -> None:
    before = global_state.snapshot(global_state.modes())
    value = {"set_default_device": "meta", "set_num_threads": 7, "use_deterministic_algorithms": True}[mode]
    with pytest.warns(UserWarning, match="reward 'x' changes torch's"), blamed("reward 'x'"):
        getattr(torch, mode)(value)
    with pytest.raises(PluginError, match="ZeroDivisionError"), blamed("reward 'x'"):
        _ = getattr(torch, mode)(value), 1 // 0
    assert global_state.changed(global_state.modes(), before) == []


@pytest.mark.slow
def test_a_plugin_that_brings_torch_finds_its_modes_put_back(tmp_path: Path) -> None:
    """Where nothing has imported torch before."""
    (tmp_path / "wide.py").write_text(f"import torch\ntorch.set_default_dtype(torch.float64)\n{fabricate.GOOD}")
    program = "import sys\nfrom rilbench.host import given\nassert 'torch' not in sys.modules\n"
    program += "given.given('wide:Good')\nimport torch\nprint(torch.get_default_dtype())"
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True)
    assert done.stdout == "torch.float32\n", done.stderr
    assert "--plugin wide:Good changes torch's default dtype" in done.stderr


class Painter(MeanMetric):
    """Normalises the pictures in numpy, whose array is the tensor's memory."""

    higher_is_better = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        scores = images.mean((1, 2, 3))
        array = images.numpy()
        array -= 0.5
        return scores


class BasePainter(Painter):
    needs_base = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        assert base_images is not None
        base_images.numpy()[:] = 0
        return images.mean((1, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize("cls", ["Painter", "BasePainter"])
def test_a_metric_that_changes_the_images_through_numpy_is_refused(cls: str, workplace: Path) -> None:
    with pytest.raises(PluginError, match="metric 'odd' changes the images in place"):
        with_metric(workplace, cls, "evaluate.metrics=[odd,toy_contrast]")


@pytest.mark.slow
def test_a_reward_that_changes_the_images_of_training_is_refused(
    workplace: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def paint(self: toy.Redness, images: Tensor, prompts: Sequence[str]) -> Tensor:
        scores = images[:, 0].mean((1, 2))
        if images.requires_grad:
            images.detach().numpy()[:] *= 0.5
        return scores

    monkeypatch.setattr(toy.Redness, "__call__", paint)
    with pytest.raises(PluginError, match="reward 'red' changes the images in place"):
        toy.run(workplace, *SHORT)


class Length(MeanMetric):
    """Counts the letters of the prompts."""

    higher_is_better = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return torch.tensor([float(len(prompt)) for prompt in prompts])


@pytest.mark.slow
def test_a_component_cannot_change_the_prompts_of_others(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = with_metric(workplace, "Length", "evaluate.metrics=[odd]")

    def rewrite(self: toy.Redness, images: Tensor, prompts: list[str]) -> Tensor:
        prompts[:] = ["nothing"] * len(prompts)
        return images[:, 0].mean((1, 2))

    monkeypatch.setattr(toy.Redness, "__call__", rewrite)
    odd = with_metric(workplace, "Length", "evaluate.metrics=[odd]", f"store={workplace}/other")
    assert [row.values for row in odd.matrix.rows] == [row.values for row in plain.matrix.rows]


class Reuses(MeanMetric):
    """Gives the same tensor for every batch, filled anew."""

    higher_is_better = True

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        self.scores = getattr(self, "scores", torch.zeros(len(images)))
        return self.scores.copy_(images.mean((1, 2, 3)))


@pytest.mark.slow
def test_scores_stay_what_they_were(workplace: Path) -> None:
    settings = "evaluate.metrics=[odd]", "evaluate.batch_size=2"
    result = with_metric(workplace, "Reuses", *settings)
    plain = with_metric(workplace, "WideLess", *settings, f"store={workplace}/other")
    for row, expected in zip(result.matrix.rows, plain.matrix.rows, strict=True):
        assert row.intervals["odd"] == expected.intervals["odd"]


class WideLess(WideLater):
    """The same scores, a tensor for each batch."""

    def score(self, images: Tensor, prompts: Sequence[str], *, base_images: Tensor | None = None) -> Tensor:
        return images.mean((1, 2, 3))


class Cancels:
    """Raises what is no Exception, as libraries do that are told to stop."""

    @hookimpl
    def run_started(self) -> None:
        raise asyncio.CancelledError

    @hookimpl
    def stage_finished(self) -> None:
        raise AssertionError("it is left out")


class Interrupts:
    """Is interrupted by the user."""

    @hookimpl
    def stage_finished(self) -> None:
        raise KeyboardInterrupt


def with_hook(workplace: Path, cls: str, warnings: list[str]) -> engine.Outcome:
    class Loud(Reporter):
        def warn(self, text: str) -> None:
            warnings.append(text)

    point = EntryPoint("odd", f"test_guard:{cls}", "rilbench.hooks")
    config = toy.config(workplace, *SHORT, "tracking=true")
    return engine.run(config, catalog=toy.catalog(point), reporter=Loud(quiet=True))


@pytest.mark.slow
def test_no_exception_of_a_hook_stops_a_run(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")
    told: list[str] = []
    assert with_hook(workplace, "Cancels", told).result.status == "finished"
    assert "failed in run_started: CancelledError: ; it is skipped" in told[0]
    assert FEW.fullmatch(f"warning: {told[1]}\n")
    assert len(told) == 2


@pytest.mark.slow
def test_ctrl_c_in_a_hook_is_the_users(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")
    with pytest.raises(KeyboardInterrupt):
        with_hook(workplace, "Interrupts", [])


@pytest.mark.slow
def test_no_exception_of_a_component_is_a_traceback(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def cancelled(self: Strategy, step: Any) -> Tensor:
        raise asyncio.CancelledError

    monkeypatch.setattr("rilbench_rid.RID.loss", cancelled)
    with pytest.raises(PluginError, match="RID failed: CancelledError"):
        toy.run(workplace, *SHORT)


ENDLESS = "import threading\nthreading.Thread(target=threading.Event().wait, name='watcher').start()\n"
LEFT = "endless 1.2 (endless:{}) left the thread 'watcher' running"


@pytest.fixture
def endless(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path of new processes with a reward whose import starts a thread without end."""
    fabricate.reward(workplace / "site", "endless", f"{ENDLESS}{fabricate.GOOD}", cls="Good")
    monkeypatch.setenv("PYTHONPATH", str(workplace / "site"))
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,jsonl")
    return workplace / "site"


def command(workplace: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    line = [sys.executable, "-m", "rilbench.cli", *arguments]
    return subprocess.run(line, cwd=workplace, capture_output=True, text=True, timeout=100)


@pytest.mark.slow
def test_a_run_does_not_wait_for_a_thread_of_an_import_but_for_all_others(endless: Path, workplace: Path) -> None:
    busy = "import atexit, threading, time\nclass Hook:\n    @hookimpl\n    def run_finished(self):\n"
    busy += "        atexit.register(print, 'at the end')\n        threading.Thread(target=self.upload).start()\n"
    busy += "    def upload(self):\n        time.sleep(0.5)\n        open('uploaded', 'w').close()\n"
    fabricate.hook(endless, "busy", busy)
    toy.config(workplace)
    settings = ["rewards=[endless]", "train.samples=2", "evaluate.metrics=[png_kb]", "tracking=true"]
    done = command(workplace, "run", "--config", "toy.yaml", *settings)
    assert done.returncode == 0, done.stderr
    assert done.stderr.count(f"warning: reward 'endless' of {LEFT.format('Good')}") == 1
    assert "png_kb" in done.stdout
    assert done.stdout.endswith("at the end\n")
    assert (workplace / "uploaded").exists()


@pytest.mark.slow
def test_a_command_that_imports_such_a_plugin_keeps_its_exit_code(endless: Path, workplace: Path) -> None:
    done = command(workplace, "plugins", "show", "endless", "--json")
    assert (done.returncode, json.loads(done.stdout)["name"]) == (0, "endless")
    assert LEFT.format("Good") in done.stderr
    module = endless / "endless.py"
    module.write_text(module.read_text().replace("(Reward)", "(int)"))
    assert command(workplace, "plugins", "show", "endless").returncode == 3


@pytest.mark.slow
def test_a_worker_of_a_study_does_not_wait_for_a_thread_of_an_import(
    endless: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(endless))  # which the process inherits
    fabricate.hook(endless, "endless_hook", f"{ENDLESS}class Hook:\n    pass\n")
    context = get_context("spawn")
    ours, theirs = context.Pipe()
    ours.send(None)
    process = context.Process(
        target=work, args=(theirs, Setup(number=0, threads=1, extra=(), tracking=True, trackers=()))
    )
    process.start()
    try:
        process.join(20)
        assert process.exitcode == 0
    finally:
        process.kill()
