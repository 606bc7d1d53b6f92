"""Folders as the engine leaves them, of runs of two stages with numbers and pictures one can tell apart."""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from rilbench.contracts.result import MetricInfo, ResultMatrix, Row, RunResult
from rilbench.store.files import write_json, write_text

METRICS = (
    MetricInfo(name="red", higher_is_better=True, target_of=("red",)),
    MetricInfo(name="blue", higher_is_better=True, target_of=("blue",)),
    MetricInfo(name="kb", higher_is_better=False, unit="kB"),
)
BOOST = {"baseline": 2.0, "rid": 1.5, "joint": 1.0}
COLOURS = ("gray", "red", "blue")
SMALL = """\
strategy: baseline
tracking: false
model: {path: model, device: cpu, steps: 2, guidance: 1}
adapter: {rank: 2}
train: {samples: 4, batch_size: 2, prompts: prompts.txt}
evaluate: {prompts: prompts.txt, images_per_prompt: 1, metrics: [png_kb]}
"""  # a configuration without its rewards; `model` and `prompts.txt` are in the working folder


def write_run(store: Path, strategy: str, seed: int = 0, *, lam: float = 1.0, order: str = "red blue") -> Path:
    """A finished run's folder; a larger `lam` or `seed` makes the numbers larger."""
    rewards = tuple(order.split())
    folder = store / f"{strategy}-{'-'.join(rewards)}-seed{seed}-{lam:g}"
    rows = tuple(_row(store, f"{folder.name}-{i}", i, rewards, BOOST[strategy] + seed / 10 + lam) for i in range(3))
    result = RunResult(
        name=folder.name,
        strategy=strategy,
        rewards=rewards,
        seed=seed,
        matrix=ResultMatrix(rows, METRICS),
        status="finished",
        command=f"rilbench run --strategy {strategy}",
    )
    write_json(folder / "result.json", result.to_json())
    write_json(folder / "environment.json", {"packages": {"rilbench": "0.1.0"}})
    write_text(store / "prompts.txt", "a red circle, small\na blue square\n")
    settings = (
        f"strategy_settings: {{rid: {{lam: {lam}, alpha: 0.9}}}}\nevaluate: {{prompts: {store / 'prompts.txt'}}}\n"
    )
    write_text(folder / "config.yaml", f"seed: {seed}\nstrategy: {strategy}\n{settings}")
    write_text(folder / "table.md", "| a |\n")
    return folder


def _row(store: Path, stage_id: str, i: int, rewards: tuple[str, ...], boost: float) -> Row:
    evaluation = f"stages/{stage_id}/evaluations/e"
    write_json(store / evaluation / "metrics.json", {})
    write_json(store / "stages" / stage_id / "stage.json", {"seconds": 1.0, "log": [{"update": 1, "loss": 0.5}]})
    for number in range(2):
        Image.new("RGB", (8, 8), COLOURS[i]).save(store / evaluation / f"sample-{number}.png")
    red = [1.0, 1.0 + boost, 1.0 + boost / 2][i]
    return Row(
        label=rewards[i - 1] if i else "base",
        rewards=rewards[i - 1 : i] if i else (),
        stage_id=stage_id,
        evaluation=evaluation,
        values={"red": red, "blue": 0.5 + i * boost / 4, "kb": 10.0 + i},
    )
