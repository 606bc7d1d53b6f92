"""Record what rilbench plans and measures: `python tests/golden/record.py` rewrites the records that tests compare.

A new record is a change of identities or of numbers; it belongs in a commit of its own that says so.

The two functions that call rilbench are `planned` and `ran`. Nothing here depends on the machine's caches, home
folder, environment or on who else is installed: `alone` sees to that.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

THREE = "rewards=[aesthetic,hps,compressibility]"
ALL = "aesthetic,hps,compressibility,clip,sharpness,colorfulness,incompressibility"

# name -> configuration file and settings. What stands together below shares stages.
PLANS: dict[str, tuple[str, ...]] = {
    "rid": ("shapes",),
    "rid-three": ("shapes", THREE),
    "rid-backwards": ("shapes", "rewards=[compressibility,hps,aesthetic]"),
    "rid-again": ("shapes", "rewards=[aesthetic,hps,aesthetic]"),
    "rid-long": ("shapes", f"rewards=[{ALL},{ALL}]"),
    "rid-seed7": ("shapes", "seed=7", "label=lucky"),
    "rid-rounding": ("shapes", "model.device=cpu", "model.gradient_checkpointing=true", "model.vae_slicing=true"),
    "rid-bookkeeping": ("shapes", "train.log_gradients_every=1", "train.checkpoint_every=7", "tracking=false"),
    "rid-full": ("shapes", "strategy_settings.rid.distil=full"),
    "rid-single": ("shapes", THREE, "strategy_settings.rid.group=false"),
    "rid-never-reset": ("shapes", "strategy_settings.rid.reset=false"),
    "rid-latent": ("shapes", "strategy_settings.rid.space=latent", "strategy_settings.rid.lam=10"),
    "rid-lam0": ("shapes", "strategy_settings.rid.lam=0", "strategy_settings.rid.alpha=0.9"),
    "rid-others": ("shapes", "rewards=[clip,sharpness,colorfulness,incompressibility]"),
    "baseline": ("shapes", "strategy=baseline", THREE),
    "baseline-single": ("shapes", "strategy=baseline", "strategy_settings.baseline.group=false"),
    "baseline-half": ("shapes", "strategy=baseline", "recipes.baseline.any.lr=5e-4"),
    "baseline-early": ("shapes", "strategy=baseline", "recipes.any.hps={samples: 100, batch_size: 32}"),
    "baseline-K2": ("shapes", "strategy=baseline", "train.last_steps=2"),
    "baseline-same": ("shapes", "strategy=baseline", "rewards=[hps,hps]"),
    "joint": ("shapes", "strategy=joint", THREE),
    "joint-backwards": ("shapes", "strategy=joint", "rewards=[compressibility,hps,aesthetic,hps]"),
    "joint-rid": (
        "shapes",
        "strategy=joint",
        "strategy_settings.joint={balance: weights, by: rid, weights: {hps: 3}}",
        "recipes.rid.aesthetic+hps.lr=2e-3",
    ),
    "soup": ("shapes", "strategy=soup", THREE),
    "soup-factors": ("shapes", "strategy=soup", THREE, "strategy_settings.soup.average=factors"),
    "soup-rid": ("shapes", "strategy=soup", "strategy_settings.soup={by: rid, coefficients: {hps: 0.8}}"),
    "soup-again": ("shapes", "strategy=soup", "rewards=[hps,aesthetic,hps]"),
    "wise_ft": ("shapes", "strategy=wise_ft", THREE, "strategy_settings.wise_ft.scale=0.75"),
    "wise_ft-rid": ("shapes", "strategy=wise_ft", "strategy_settings.wise_ft={by: rid, scale: 0}"),
    "adapter": ("shapes", "adapter={rank: 8, init: peft, targets: [to_q, to_v]}"),
    "model": (
        "shapes",
        "model={steps: 6, guidance: 1, guidance_gradient: false, spacing: trailing, precision: bf16, sampler: lcm}",
        "model.vae_precision=bf16",
        "model.resolution=64",
    ),
    "train": ("shapes", "train={micro_batch: 4, eps: 1e-8, weight_decay: 0.1, clip_grad: 1, samples: 41}"),
    "components": (
        "shapes",
        "rewards=[compressibility,hps]",
        "reward_settings.compressibility={quality: 50, reduction: sum}",
        "metric_settings.fid.scale=1",
    ),
    "evaluate": (
        "shapes",
        "evaluate={prompts: prompts.txt, images_per_prompt: 3, batch_size: 7, seed: 5, pictures: 1}",
        "evaluate.metrics=[sharpness,colorfulness,diversity,png_kb,png_kb]",
        "train.prompts=prompts.txt",
    ),
    "perturb": ("shapes", "evaluate.perturb=[jpeg,blur,shift]"),
    "sd15": ("sd15", THREE),
    "sd15-baseline": ("sd15", "strategy=baseline", THREE),
    "sd15-joint": ("sd15", "strategy=joint", THREE),
    "sd15-published": ("sd15", "rewards=[pickscore,imagereward]"),
    "sdxl": ("sdxl", "strategy=soup"),
    "sd35": ("sd35", "train.last_steps=2"),
    "flux": ("flux", "strategy=wise_ft"),
}

RUNS = ("rid", "baseline", "joint", "soup")
SMALL = """\
base: shapes
rewards: [aesthetic, hps]
store: store
tracking: false
model: {device: cpu, steps: 5}
train: {samples: 11, batch_size: 4, micro_batch: 2, weight_decay: 0.1, log_gradients_every: 1}  # 4, 4, 3
evaluate:
  prompts: prompts.txt
  images_per_prompt: 2
  batch_size: 3
  pictures: 1
  perturb: [jpeg, blur, shift]
  metrics: [compressibility, png_kb, jpeg_kb, attributes, fid, kid, structure, oracle, clip_score, sharpness,
            colorfulness, diversity]
recipes:
  rid: {any: {clip_grad: 1.5e-4}}
  baseline: {any: {batch_size: 4}}
  joint: {any: {batch_size: 4, samples: 11}}
"""
PROMPTS = """\
a large red circle at the left on a blue background
a small green square at the top on a white background
"""
NOT_NUMBERS = ("checksum", "command", "train_seconds", "evaluate_seconds")


def planned(file: str, settings: Sequence[str]) -> tuple[str, list[Any], dict[str, Any], list[str]]:
    """A run's name, its planned stages, what determines the numbers of an evaluation, and its columns.

    Files that are not there are no obstacle, so that published models can be planned without their weights.
    """
    from rilbench.engine.components import Components
    from rilbench.engine.config import load
    from rilbench.engine.parts import Parts
    from rilbench.engine.plan import make_plan
    from rilbench.engine.run import run_name
    from rilbench.host.catalog import Catalog

    config = load(file, settings)
    parts = Parts(config, Catalog())
    parts.check()
    stages = make_plan(config, Components(parts))
    return run_name(config, parts, stages), stages, parts.evaluation_document, parts.columns()


def ran(strategy: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """`result.json` of a run of the command line, and what its stages logged in training: loss, its terms, norms."""
    (command,) = importlib.metadata.entry_points(group="console_scripts", name="rilbench")
    sys.argv = ["rilbench", "run", "--quiet", "--config", "small.yaml", "--strategy", strategy]
    try:
        command.load()()
    except SystemExit as end:
        if end.code:
            raise
    (file,) = Path("store").glob(f"{strategy}-*/result.json")
    result: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    stages = {row["label"]: Path("store", "stages", row["stage_id"], "stage.json") for row in result["stages"]}
    logs = {label: json.loads(file.read_text())["log"] for label, file in stages.items() if file.exists()}
    return result, logs


def plans() -> dict[str, Any]:
    """Every plan: names, order, chains and identities; every identity's document once."""
    documents: dict[str, Any] = {}
    runs = {}
    for name, (file, *settings) in PLANS.items():
        run, stages, evaluation, columns = planned(file, settings)
        documents |= {stage.id: stage.document for stage in stages}
        runs[name] = {"name": run, "columns": columns, "stages": [_told(s) for s in stages], "evaluation": evaluation}
    return {"runs": runs, "documents": documents}


def _told(planned: Any) -> dict[str, Any]:
    stage, train = planned.stage, planned.train
    return {
        "label": stage.label if planned.chain or stage.merge else "base",
        "id": planned.id,
        "by": planned.by,
        "start": stage.start,
        "rewards": dict(stage.rewards),
        "merge": {str(i): coefficient for i, coefficient in stage.merge.items()},
        "average": stage.average,
        "index": planned.index,
        "initial": planned.initial,
        "below": planned.below,
        "chain": planned.chain,
        "updates": train.updates if train else 0,
    }


def results() -> dict[str, Any]:
    """Every small run's result without what differs from time to time, and the machine its numbers come from."""
    runs = {}
    for strategy in RUNS:
        result, logs = ran(strategy)
        runs[strategy] = _numbers(result | {"logs": logs})
    return {"machine": machine(), "runs": runs}


def _numbers(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _numbers(part) for key, part in value.items() if key not in NOT_NUMBERS}
    return [_numbers(part) for part in value] if isinstance(value, list) else value


def machine() -> dict[str, str]:
    """What the last digits of a float depend on: equal machines give equal bits."""
    import torch

    cpu = platform.processor()
    with Path("/proc/cpuinfo").open() if Path("/proc/cpuinfo").exists() else open(os.devnull) as lines:
        about = [line.split(":")[1].strip() for line in lines if line.startswith(("cpu family", "model"))]
    libraries = ("torch", "diffusers", "transformers", "open_clip_torch", "numpy", "scipy", "pillow", "torchvision")
    versions = {name: importlib.metadata.version(name) for name in libraries}
    return versions | {
        "cpu": " ".join([cpu, *about[:3]]).strip(),
        "instructions": torch.backends.cpu.get_cpu_capability(),
    }


def alone(folder: Path) -> None:
    """Work in `folder`, with one thread, no plugin but rilbench's own, no network and empty caches."""
    for name in [n for n in os.environ if n.startswith(("RILBENCH_", "HF_", "XDG_", "MLFLOW_"))]:
        del os.environ[name]
    os.environ |= {
        "HOME": str(folder),
        "OMP_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        "RILBENCH_PLUGINS": "",
        "HF_HUB_OFFLINE": "1",
    }
    (folder / "prompts.txt").write_text(PROMPTS)
    (folder / "small.yaml").write_text(SMALL)
    os.chdir(folder)


def write(what: str, folder: Path) -> None:
    """One line for each thing that can change, so that a diff shows it."""
    record = {"plans": plans, "results": results}[what]()
    (folder / f"{what}.json").write_text(_lines(record, 3 if what == "plans" else 5) + "\n", encoding="utf-8")


def _lines(value: Any, depth: int) -> str:
    """JSON with objects opened to a depth."""
    if not depth or not isinstance(value, dict | list) or not value:
        return json.dumps(value)
    if isinstance(value, list):
        return "[\n" + ",\n".join(_lines(part, depth - 1) for part in value) + "\n]"
    return "{\n" + ",\n".join(f"{json.dumps(key)}: {_lines(part, depth - 1)}" for key, part in value.items()) + "\n}"


def main(folder: Path = Path(__file__).parent) -> None:
    folder = folder.resolve()
    with tempfile.TemporaryDirectory() as place:
        alone(Path(place))
        for name in ("plans", "results"):
            write(name, folder)
        os.chdir(folder)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
