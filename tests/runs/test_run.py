"""Whole runs on a tiny random model: identity, continuing, sharing, and everything that can go wrong."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest
import torch
import toy
from safetensors.torch import load_file

from rilbench.contracts.errors import ConfigError, DivergedError, PluginError, RilbenchError
from rilbench.contracts.result import RunResult
from rilbench.engine import run as engine
from rilbench.engine.progress import Reporter
from rilbench.store.results import load_result
from rilbench.training import stage as trainer


def run(folder: Path, *overrides: str, extra: tuple[EntryPoint, ...] = ()) -> tuple[Path, RunResult]:
    return engine.run(toy.config(folder, *overrides), catalog=toy.catalog(*extra), reporter=Reporter(quiet=True))[:2]


def adapters(folder: Path) -> dict[str, bytes]:
    return {p.parent.name: p.read_bytes() for p in (folder / "runs" / "stages").glob("*/adapter_model.safetensors")}


def kept_images(file: Path) -> torch.Tensor:
    return load_file(file)["images"]


def test_run_writes_what_it_promises(workplace: Path) -> None:
    folder, result = run(workplace, "strategy=rid")
    assert [row.label for row in result.matrix.rows] == ["base", "red", "dark"]
    assert {m.name for m in result.matrix.metrics} == {"red", "dark", "toy_contrast", "likeness"}
    assert result.matrix.values("likeness")[0] == 1.0 > result.matrix.values("likeness")[2]
    for name in ("config.yaml", "environment.json", "result.json", "table.md", "samples.png"):
        assert (folder / name).stat().st_size > 0
    saved = json.loads((folder / "result.json").read_text())
    assert saved["schema"] == 1
    assert saved["status"] == "finished"
    assert saved["plugins"]["strategy/rid"].startswith("rilbench ")
    assert load_result(folder) == result
    scores = load_file(workplace / "runs" / result.matrix.rows[2].evaluation / "scores.safetensors")
    assert scores["red"].shape == (3, 2)
    assert scores["red"].mean().item() == pytest.approx(result.matrix.values("red")[2], abs=1e-6)
    log = json.loads((workplace / "runs" / "stages" / result.matrix.rows[1].stage_id / "stage.json").read_text())["log"]
    assert len(log) == 4
    assert {"loss/reward", "loss/distillation", "gradient/reward", "gradient/distillation"} <= set(log[0])


@pytest.mark.parametrize("strategy", ["baseline", "rid", "joint", "soup"])
def test_the_trained_reward_rises(workplace: Path, strategy: str) -> None:
    _, result = run(workplace, f"strategy={strategy}", "rewards=[red]", "train.samples=24")
    values = result.matrix.values("red")
    assert values[1] > values[0] + 0.005


@pytest.mark.slow
def test_same_seed_same_bytes_other_seed_other_bytes(workplace: Path) -> None:
    _, first = run(workplace)
    weights = adapters(workplace)
    shutil.rmtree(workplace / "runs")
    _, again = run(workplace)
    assert adapters(workplace) == weights
    assert again.matrix.values("red") == first.matrix.values("red")
    _, other = run(workplace, "seed=1")
    assert other.matrix.values("red")[0] == first.matrix.values("red")[0]
    assert other.matrix.values("red")[1] != first.matrix.values("red")[1]


@pytest.mark.slow
def test_a_finished_stage_is_never_trained_twice(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _, first = run(workplace, "strategy=baseline")
    before = adapters(workplace)
    _, soup = run(workplace, "strategy=soup")  # its first model is the baseline's first stage
    assert soup.matrix.rows[1].stage_id == first.matrix.rows[1].stage_id
    assert len(adapters(workplace)) == len(before) + 1
    monkeypatch.setattr(trainer.StageTraining, "run", lambda self: pytest.fail("trained again"))
    assert run(workplace, "strategy=baseline")[1] == first


@pytest.mark.slow
def test_earlier_pairs_stay_bit_identical(workplace: Path) -> None:
    _, one = run(workplace, "rewards=[red]")
    before = adapters(workplace)
    _, two = run(workplace, "rewards=[red,dark]")
    assert two.matrix.rows[1].stage_id == one.matrix.rows[1].stage_id
    assert before.items() <= adapters(workplace).items()


@pytest.mark.slow
@pytest.mark.parametrize(("checkpoint_every", "optimiser"), [(100, "adamw"), (2, "adamw"), (2, "adamw8bit")])
def test_a_stopped_run_continues_to_the_same_numbers(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, checkpoint_every: int, optimiser: str
) -> None:
    """Stopped in the middle of stage 2; continues at the stage's start, or at a checkpoint inside it."""
    if optimiser == "adamw8bit":
        pytest.importorskip("bitsandbytes")
    by = f"train.optimiser={optimiser}"
    _, whole = run(workplace, "strategy=rid", by)
    weights = adapters(workplace)
    shutil.rmtree(workplace / "runs")

    update = trainer.StageTraining.update

    def stop(self: trainer.StageTraining, number: int, *arguments: object) -> dict[str, float]:
        if self.index == 2 and number == 3:
            raise KeyboardInterrupt
        return update(self, number, *arguments)  # type: ignore[arg-type]

    every = f"train.checkpoint_every={checkpoint_every}"
    with monkeypatch.context() as patched:
        patched.setattr(trainer.StageTraining, "update", stop)
        with pytest.raises(KeyboardInterrupt):
            run(workplace, "strategy=rid", by, every)
    assert len(adapters(workplace)) == 1
    _, continued = run(workplace, "strategy=rid", by, every)
    assert adapters(workplace) == weights
    assert continued.matrix.values("dark") == whole.matrix.values("dark")
    assert not list((workplace / "runs").rglob("checkpoint.pt"))


@pytest.mark.slow
def test_images_do_not_depend_on_the_batch_size(workplace: Path) -> None:
    _, together = run(workplace, "rewards=[red]", "train.samples=2")
    images = kept_images(workplace / "runs" / together.matrix.rows[0].evaluation / "images.safetensors")
    shutil.rmtree(workplace / "runs")
    _, apart = run(workplace, "rewards=[red]", "train.samples=2", "evaluate.batch_size=1")
    alone = kept_images(workplace / "runs" / apart.matrix.rows[0].evaluation / "images.safetensors")
    assert (images.int() - alone.int()).abs().max() <= 1
    assert apart.matrix.values("red")[1] == pytest.approx(together.matrix.values("red")[1], abs=1e-5)


@pytest.mark.slow
def test_a_model_that_did_not_change_measures_as_the_base(workplace: Path) -> None:
    """Bit by bit, compared with what is kept of the base too: metrics see the kept images."""
    _, result = run(
        workplace, "strategy=wise_ft", "strategy_settings.wise_ft.scale=0", "rewards=[red]", "train.samples=2"
    )
    base, merged = result.matrix.rows[0], result.matrix.rows[-1]
    assert merged.label == "merge"
    assert base.values["likeness"] == merged.values["likeness"] == 1.0
    assert base.values == merged.values


@pytest.mark.slow
def test_what_is_kept_is_what_was_measured(workplace: Path) -> None:
    _, result = run(workplace, "rewards=[red]", "train.samples=2")
    kept = kept_images(workplace / "runs" / result.matrix.rows[0].evaluation / "images.safetensors")
    scores = load_file(workplace / "runs" / result.matrix.rows[0].evaluation / "scores.safetensors")["red"]
    again = (kept.float() / 255)[:, 0].mean((1, 2))
    assert torch.allclose(scores.flatten(), again, rtol=0, atol=1e-6)  # 8 bits alone move it by 1e-4


@pytest.mark.slow
@pytest.mark.parametrize(("samples", "updates", "scored"), [(2, 1, 2), (3, 2, 3), (7, 4, 7), (8, 4, 8)])
def test_every_sample_is_trained_on(
    workplace: Path, monkeypatch: pytest.MonkeyPatch, samples: int, updates: int, scored: int
) -> None:
    """The last batch has what is left of them; `updates` is what `explain` prints."""
    trained: list[int] = []
    score = toy.Redness.__call__

    def counting(self: toy.Redness, images: torch.Tensor, prompts: Sequence[str]) -> torch.Tensor:
        trained.append(len(images) * images.requires_grad)
        return score(self, images, prompts)

    monkeypatch.setattr(toy.Redness, "__call__", counting)
    overrides = ("rewards=[red]", f"train.samples={samples}", "train.batch_size=2", "check_memory=false")
    _, result = run(workplace, *overrides)
    assert sum(trained) == scored
    log = json.loads((workplace / "runs" / "stages" / result.matrix.rows[1].stage_id / "stage.json").read_text())["log"]
    assert len(log) == toy.config(workplace, *overrides).train.updates == updates


@pytest.mark.parametrize(
    ("overrides", "error", "message"),
    [
        (["rewards=[nan]"], DivergedError, r"reward 'nan' is not finite.*stage 1 \(nan\), update 1 of 4"),
        (
            ["rewards=[shape]"],
            PluginError,
            r"reward 'shape' must return a tensor of scores of shape \(2,\), it returned \(2, 3\)",
        ),
        (["rewards=[flat]"], PluginError, "reward 'flat' has no gradient"),
        (["rewards=[rad]"], ConfigError, "unknown reward 'rad'. Did you mean 'red'"),
        (["strategy=ridd"], ConfigError, "unknown strategy 'ridd'. Did you mean 'rid'"),
        (["evaluate.metrics=[liken]"], ConfigError, "unknown metric 'liken'. Did you mean 'likeness'"),
        (
            ["strategy_settings.rid.lamda=1"],
            ConfigError,
            "strategy_settings.rid 'lamda'. Did you mean 'lam'",
        ),
        (["strategy_settings.rid.alpha=2"], ConfigError, "strategy_settings.rid.alpha: 2.* is not between 0 and 1"),
        (["strategy_settings.ridd.lam=1"], ConfigError, "unknown strategy 'ridd'"),
        (["recipes.rid.red.lrr=1"], ConfigError, "unknown setting in recipes.rid.red 'lrr'. Did you mean 'lr'"),
        (["train.samples=1"], ConfigError, "train.samples: 1 is less than one batch of 2"),
        (["train.lr=-1"], ConfigError, "train.lr: -1.0 is not above 0"),
        (["model.steps=0"], ConfigError, "model.steps: 0 is not between 1 and 1000"),
        (["model.steps=1001"], ConfigError, "model.steps: 1001 is not between 1 and 1000"),
        (["evaluate.pictures=-1"], ConfigError, "evaluate.pictures: -1 is not between 0 and 1000"),
        (["train.lr=nan"], ConfigError, "train.lr: 'nan' is not a finite number"),
        (["strategy_settings.joint.by=soup", "strategy=joint"], ConfigError, "strategy 'soup' only plans"),
        (["model.resolution=15"], ConfigError, "model.resolution: 15 is not a multiple of 2"),
        (["recipes.rdi.red.lr=1"], ConfigError, "recipes.rdi.red: unknown strategy 'rdi'. Did you mean 'rid'"),
        (["recipes.rid.rad.lr=1"], ConfigError, "recipes.rid.rad: unknown reward 'rad'. Did you mean 'red'"),
        (["recipes.rid=3"], ConfigError, "recipes.rid"),
        (["train.last_steps=9"], ConfigError, "last_steps: 9 is not between 1"),
        (["strategy=forgetful"], PluginError, "strategy 'forgetful' plans no stage for dark"),
        (["evaluate.prompts=none.txt"], ConfigError, "no prompt file at 'none.txt'"),
        (["model.path=nowhere/at/all"], ConfigError, "model.path: no folder at"),
        (["model.device=cuda"], ConfigError, "model.device: 'cuda' is not available"),
        (["model.device=abacus"], ConfigError, "model.device: 'abacus' is not available here"),
    ],
)
def test_bad_input_is_one_clear_error(
    workplace: Path, overrides: list[str], error: type[RilbenchError], message: str
) -> None:
    if overrides == ["model.device=cuda"] and torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    with pytest.raises(error, match=message):
        run(workplace, *overrides)


@pytest.mark.slow
def test_finished_stages_survive_a_failure(workplace: Path) -> None:
    with pytest.raises(DivergedError, match="Finished stages are kept"):
        run(workplace, "rewards=[red,nan]")
    assert len(adapters(workplace)) == 1


def test_empty_prompts_and_corrupt_weights(workplace: Path) -> None:
    config = toy.config(workplace)
    (workplace / "empty.txt").write_text("\n \n")
    with pytest.raises(ConfigError, match="contains no prompt"):
        run(workplace, f"evaluate.prompts={workplace}/empty.txt")
    weights = Path(config.model.path) / "unet" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(ConfigError, match="cannot load"):
        run(workplace)


@pytest.mark.slow
def test_a_broken_hook_costs_a_warning(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow")
    broken = EntryPoint("noisy", "toy:BrokenHook", "rilbench.hooks")
    config = toy.config(workplace, "tracking=true")
    result = engine.run(config, catalog=toy.catalog(broken), reporter=Reporter()).result
    assert result.status == "finished"
    error = capsys.readouterr().err
    assert error.count("no disk in the drive") == 1
    assert "hook 'noisy' of unknown (toy:BrokenHook) failed in stage_finished: RuntimeError" in error


@pytest.mark.slow
def test_a_full_disk_is_a_clear_error(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: object, **named: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr("rilbench.store.tensors.save_file", full)
        with pytest.raises(RilbenchError, match=r"cannot write .*No space left on device.*store"):
            run(workplace)
    (images,) = (workplace / "runs").rglob("images.safetensors")  # of the base model, written before and whole
    assert len(kept_images(images)) == 6
    assert run(workplace)[1].status == "finished"


@pytest.mark.slow
def test_interrupted_before_the_first_row(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*arguments: object, **named: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("rilbench.engine.session.evaluate", interrupt)
        with pytest.raises(KeyboardInterrupt):
            run(workplace)
    (folder,) = (workplace / "runs").glob("rid-*")
    assert json.loads((folder / "result.json").read_text())["status"] == "failed"
    assert run(workplace)[1].status == "finished"


@pytest.mark.slow
def test_an_edited_prompt_file_is_another_stage(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also when it is named without a folder."""
    monkeypatch.chdir(workplace)
    toy.config(workplace)
    _, first = run(workplace, "rewards=[red]", "train.prompts=prompts.txt")
    assert run(workplace, "rewards=[red]", "train.prompts=prompts.txt")[1] == first
    (workplace / "prompts.txt").write_text("a white cross\n")
    _, second = run(workplace, "rewards=[red]", "train.prompts=prompts.txt")
    assert second.matrix.rows[1].stage_id != first.matrix.rows[1].stage_id


@pytest.mark.slow
def test_a_plugin_that_raises_is_named(workplace: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: toy.Redness, images: torch.Tensor, prompts: list[str]) -> torch.Tensor:
        raise IndexError("list index out of range")

    monkeypatch.setattr(toy.Redness, "__call__", broken)
    with pytest.raises(PluginError, match=r"'red' failed: IndexError: list index out of range"):
        run(workplace)
