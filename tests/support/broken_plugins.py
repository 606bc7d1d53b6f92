"""What third parties get wrong: how each is made, and what a user then reads.

`warning` is in the one warning of a run that does not use the plugin, `imported` in the error once it is imported: by a
run that uses it, or with RILBENCH_STRICT_PLUGINS=1. `selected` is in the error of a run that uses it alone, and `trace`
in the plugin's own traceback above it. Commands to select with are rewards unless said otherwise.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import fabricate

CALL = "    def __call__(self, images, prompts):\n        return images.mean((1, 2, 3))\n"
REWARD = f"from rilbench import Reward\nclass Broken(Reward):\n{CALL}"
MUTE = "class E(Exception):\n    def __str__(self):\n        raise E\n"
META = (
    "class Meta(type(Reward)):\n    @property\n    def api_version(cls):\n        print('asked')\n"
    "        raise RuntimeError('no version')\nclass "
)
METRIC = (
    "from rilbench import MeanMetric\nclass M(MeanMetric):\n{body}"
    "    def score(self, images, prompts, *, base_images=None):\n        return images.mean((1, 2, 3))\n"
)


@dataclass(frozen=True, kw_only=True)
class Case:
    name: str
    make: Callable[[Path, str], None]
    warning: str = ""
    imported: str = ""
    selected: str = ""
    trace: str = ""
    select: tuple[str, ...] = ()
    exit_code: int = 3

    @property
    def fault(self) -> str:
        """What RILBENCH_STRICT_PLUGINS=1 says."""
        return (self.imported or self.warning).format(name=self.name)

    @property
    def error(self) -> str:
        """What a run says that uses it."""
        return self.selected.format(name=self.name) or self.fault


def _source(source: str, *, cls: str = "Broken") -> Callable[[Path, str], None]:
    return lambda folder, name: fabricate.reward(folder, name, source, cls=cls)


def _hook(source: str) -> Callable[[Path, str], None]:
    return lambda folder, name: fabricate.hook(folder, name, source)


def _points(points: str, source: str = REWARD) -> Callable[[Path, str], None]:
    def make(folder: Path, name: str) -> None:
        module = name.replace("-", "_")
        fabricate.distribution(folder, name, points.format(name=name, module=module), {module: source})

    return make


def _two(folder: Path, name: str) -> None:
    for n in (1, 2):
        points = f"[rilbench.rewards]\n{name} = {name}_{n}:Broken\n"
        fabricate.distribution(folder, f"{name}-{n}", points, {f"{name}_{n}": REWARD}, version=f"{n}.0")


def _not_text(folder: Path, name: str) -> None:
    fabricate.distribution(folder, name, "")
    (folder / f"{name}-1.2.dist-info" / "entry_points.txt").write_bytes(b"[rilbench.rewards]\nn\xff = m:C\n")


def _without_metadata(folder: Path, name: str) -> None:
    fabricate.reward(folder, name, "import nothing_of_that_name\n", version=None)


OF = "of {name} 1.2 ({name}:Broken)"  # the distribution, its version and the object
CASES = [
    Case(
        name="needs_missing_module",
        make=_source("import nothing_of_that_name\n"),
        imported=f"{OF} cannot be imported: ModuleNotFoundError: No module named 'nothing_of_that_name'",
        trace="import nothing_of_that_name",
    ),
    Case(
        name="syntax_error",
        make=_source("class Broken(:\n"),
        imported=f"{OF} cannot be imported: SyntaxError: invalid syntax",
        trace="class Broken(:",
    ),
    Case(
        name="raises_on_import",
        make=_source("def start():\n    raise RuntimeError('no licence key')\nstart()\n"),
        imported=f"{OF} cannot be imported: RuntimeError: no licence key",
        trace="in start",
    ),
    Case(
        name="exits_on_import",
        make=_source("import sys\nsys.exit('this needs a GPU')\n"),
        imported=f"{OF} cannot be imported: SystemExit: this needs a GPU",
        trace="sys.exit('this needs a GPU')",
    ),
    Case(
        name="class_is_missing",
        make=_source("class Other: pass\n"),
        imported=f"{OF} cannot be imported: AttributeError: module '{{name}}' has no attribute 'Broken'",
        trace="has no attribute 'Broken'",
    ),
    Case(
        name="wrong_base_class",
        make=_source("class Broken:\n    pass\n"),
        imported=f"{OF} is not a subclass of rilbench.Reward",
    ),
    Case(
        name="a_function",
        make=_source("def Broken(images, prompts):\n    return images.mean((1, 2, 3))\n"),
        imported=f"{OF} is not a subclass of rilbench.Reward",
    ),
    Case(
        name="without_call",
        make=_source("from rilbench import Reward\nclass Broken(Reward):\n    pass\n"),
        imported=f"{OF} does not implement __call__ of rilbench.Reward",
    ),
    Case(
        name="api_too_new",
        make=_source(REWARD + "    api_version = 2\n"),
        imported=f"{OF} is for API version 2; this rilbench supports 1: update rilbench",
    ),
    Case(
        name="api_too_old",
        make=_source(REWARD + "    api_version = 0\n"),
        imported=f"{OF} is for API version 0; this rilbench supports 1: update the plugin",
    ),
    Case(
        name="settings_no_dataclass",
        make=_source(REWARD + "    Settings = dict\n"),
        imported=f"{OF} has Settings that are not a dataclass",
    ),
    Case(
        name="settings_an_instance",
        make=_source(f"from rilbench.contracts.components import NoSettings\n{REWARD}    Settings = NoSettings()\n"),
        imported=f"{OF} has Settings that are not a dataclass",
    ),
    Case(
        name="metrics_no_names",
        make=_source(REWARD + "    metrics = None\n"),
        imported=f"{OF} has metrics = None, which is not a tuple of names",
    ),
    Case(
        name="message_raises",
        make=_source(f"{MUTE}raise E\n"),
        imported=f"{OF} cannot be imported: E: its message cannot be read",
        trace="raise E",
    ),
    Case(
        name="message_of_a_call_raises",
        make=_source(MUTE + REWARD.replace("return images", "raise E\n        return images")),
        selected="'{name}' failed: E: its message cannot be read",
        trace="raise E",
    ),
    Case(
        name="attribute_raises",
        make=_source(REWARD.replace("Broken(Reward)", "Broken(Reward, metaclass=Meta)").replace("class ", META, 1)),
        imported=f"{OF} cannot be checked: RuntimeError: no version",
        trace="raise RuntimeError('no version')",
    ),
    Case(
        name="metric_without_direction",
        make=_points("[rilbench.metrics]\n{name} = {module}:M\n", METRIC.format(body="    higher_is_better = 'yes'\n")),
        imported="metric '{name}' of {name} 1.2 ({name}:M) does not declare higher_is_better",
        select=("--rewards", "compressibility", "evaluate.metrics=[{name}]"),
    ),
    Case(
        name="two_claim_it",
        make=_two,
        warning="reward '{name}' cannot be used: conflict: claimed by {name}-1 1.0 (reward {name}_1:Broken) and "
        "{name}-2 2.0 (reward {name}_2:Broken); switch one off, for example RILBENCH_DISABLE_PLUGINS={name}-",
    ),
    Case(
        name="takes_a_builtin_name",
        make=_points("[rilbench.rewards]\nsharpness = {module}:Broken\n"),
        warning="reward 'sharpness' cannot be used: conflict: claimed by rilbench 0.1.0 (reward "
        "rilbench_sharpness:Sharpness) and {name} 1.2 (reward {name}:Broken); switch one off, for example "
        "RILBENCH_DISABLE_PLUGINS={name}",
        select=("--rewards", "sharpness"),
    ),
    Case(
        name="reward_and_metric",
        make=_points("[rilbench.rewards]\n{name} = {module}:Broken\n[rilbench.metrics]\n{name} = {module}:Broken\n"),
        warning="cannot be used: conflict: claimed by {name} 1.2 (metric {name}:Broken) and {name} 1.2 (reward",
    ),
    Case(
        name="no_object_reference",
        make=_points("[rilbench.rewards]\n{name} = {module} : Broken?\n"),
        warning="of {name} 1.2 ({name} : Broken?) cannot be used: broken: '{name} : Broken?' is not of the form",
    ),
    Case(
        name="damaged_entry_points",
        make=_points("[rilbench.rewards]\n{name} {module}:Broken\n"),
        warning="unknown '-' of {name} 1.2 (-) cannot be used: broken: its entry_points.txt cannot be read",
        selected="unknown reward '{name}'",
    ),
    Case(
        name="entry_points_no_text",
        make=_not_text,
        warning="unknown '-' of {name} 1.2 (-) cannot be used: broken: its entry_points.txt cannot be read (UnicodeDec",
        selected="unknown reward '{name}'",
    ),
    Case(
        name="without_metadata",
        make=_without_metadata,
        imported="of unknown unknown ({name}:Broken) cannot be imported: ModuleNotFoundError",
        trace="import nothing_of_that_name",
    ),
    Case(
        name="constructor_raises",
        make=_source(REWARD + "    def __init__(self, settings, **_):\n        raise OSError('no weights')\n"),
        selected="reward '{name}' of {name} 1.2 failed: OSError: no weights",
        trace="raise OSError('no weights')",
    ),
    Case(
        name="constructor_exits",
        make=_source(REWARD + "    def __init__(self, settings, **_):\n        raise SystemExit('no weights')\n"),
        selected="reward '{name}' of {name} 1.2 failed: SystemExit: no weights",
        trace="raise SystemExit('no weights')",
    ),
    Case(
        name="settings_for_the_type_checker",
        make=_source(
            "from __future__ import annotations\nfrom dataclasses import dataclass\n"
            "@dataclass(frozen=True)\nclass S:\n    size: Size = 1\n" + REWARD + "    Settings = S\n"
        ),
        selected="settings.{name}: the types of S cannot be read: name 'Size' is not defined",
    ),
    Case(
        name="call_raises",
        make=_source(REWARD.replace("return images", "images.sum(7)\n        return images")),
        selected="'{name}' failed: IndexError: Dimension out of range",
        trace="images.sum(7)",
    ),
    Case(
        name="no_such_hook",
        make=_hook("class Hook:\n    @hookimpl\n    def stage_done(self):\n        pass\n"),
        warning="({name}:Hook) cannot be registered: PluginValidationError: unknown hook 'stage_done' in plugin",
    ),
    Case(
        name="hook_argument",
        make=_hook("class Hook:\n    @hookimpl\n    def run_started(self, directory):\n        pass\n"),
        warning="({name}:Hook) cannot be registered: PluginValidationError: Plugin '{name}' for hook 'run_started'",
    ),
    Case(
        name="hook_constructor",
        make=_hook("class Hook:\n    def __init__(self):\n        raise KeyError('TOKEN')\n"),
        warning="({name}:Hook) cannot be registered: KeyError: 'TOKEN'",
    ),
    Case(
        name="hook_exits",
        make=_hook("class Hook:\n    @hookimpl\n    def run_started(self):\n        raise SystemExit('no licence')\n"),
        warning="({name}:Hook) failed in run_started: SystemExit: no licence; it is skipped",
    ),
    Case(
        name="hook_raises",
        make=_hook("class Hook:\n    @hookimpl\n    def stage_finished(self):\n        raise ValueError('no host')\n"),
        warning="({name}:Hook) failed in stage_finished: ValueError: no host; it is skipped",
    ),
    Case(
        name="hook_answers_nonsense",
        make=_hook("class Hook:\n    @hookimpl\n    def summary(self):\n        return 7\n"),
        warning="({name}:Hook) failed in summary: TypeError",
    ),
]
