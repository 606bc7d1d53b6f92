"""The plugin host: broken plugins cost a warning, control, requirements, and what users read."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import fabricate
import pytest
import toy
from broken_plugins import CASES, Case
from command import FEW, Done
from command import rilbench as in_process

from rilbench.host.global_state import warn_once

GROUNDED = ["--config", "toy.yaml", "tracking=true", "evaluate.metrics=[png_kb]"]
SELECTABLE = [case for case in CASES if "hook" not in case.name]


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """A working folder with a tiny pipeline and its store, shared: finished stages are not trained again."""
    import shutil

    folder = tmp_path_factory.mktemp("place")
    shutil.copytree(pipeline, folder / "pipeline")
    toy.config(folder)
    return folder


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path, with one good plugin; made-up distributions go here."""
    folder = tmp_path / "site"
    fabricate.reward(folder, "good", fabricate.GOOD, cls="Good", version="3.1")
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow")
    yield folder
    for path in folder.glob("*.py"):
        sys.modules.pop(path.stem, None)


@pytest.fixture
def rilbench(place: Path) -> Callable[..., Done]:
    """The command line in the working folder."""
    return partial(in_process, cwd=place)


def test_there_are_at_least_twelve_of_them() -> None:
    assert len({case.name for case in CASES}) == len(CASES) >= 12


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_a_broken_plugin_that_is_not_used_costs_at_most_one_warning(
    case: Case, installed: Path, rilbench: Callable[..., Done]
) -> None:
    """The others work: a run with a built-in and a third party's reward finishes beside it."""
    case.make(installed, case.name)
    done = rilbench("run", *GROUNDED, "--rewards", "compressibility,good")
    assert done.code == 0, done.err
    assert "2 good" in done.out
    told = FEW.sub("", done.err)
    warnings = [line for line in told.splitlines() if line.startswith("warning: ")]
    assert len(warnings) == (1 if case.warning else 0), done.err
    assert case.warning.format(name=case.name) in "".join(warnings)
    assert not case.imported or case.name not in sys.modules
    assert "Traceback" not in done.err


@pytest.mark.parametrize("case", SELECTABLE, ids=lambda case: case.name)
def test_a_selected_broken_plugin_is_an_error_with_its_own_traceback(
    case: Case, installed: Path, rilbench: Callable[..., Done]
) -> None:
    case.make(installed, case.name)
    select = case.select or ("--rewards", case.name)
    done = rilbench("run", *GROUNDED, *(text.format(name=case.name) for text in select))
    assert done.code == case.exit_code
    *above, error = [line for line in done.err.splitlines() if not line.startswith("warning: ")]
    assert error.startswith("error: ")
    assert case.error in error
    assert bool(above) == bool(case.trace)
    assert case.trace in "\n".join(above)
    assert "rilbench/host/catalog.py" not in done.err


@pytest.mark.slow
@pytest.mark.parametrize("case", [case for case in CASES if case.fault], ids=lambda case: case.name)
def test_strict_makes_every_fault_fatal(
    case: Case, installed: Path, rilbench: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    case.make(installed, case.name)
    monkeypatch.setenv("RILBENCH_STRICT_PLUGINS", "1")
    done = rilbench("run", *GROUNDED, "--rewards", "compressibility,good")
    assert done.code == 3
    error = done.err.splitlines()[-1]
    assert case.fault in error
    assert "RILBENCH_STRICT_PLUGINS is set" in error


def test_strict_without_a_fault_is_silent(
    installed: Path, rilbench: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RILBENCH_STRICT_PLUGINS", "1")
    assert rilbench("plugins", "list").code == 0
    fabricate.reward(installed, "broken", "import nothing_of_that_name\n")
    done = rilbench("plugins", "list")
    assert (done.code, done.out) == (3, "")


@pytest.mark.slow
def test_a_plugin_that_prints_leaves_stdout_alone(installed: Path, rilbench: Callable[..., Done]) -> None:
    fabricate.reward(installed, "chatty", f"print('hello from chatty')\n{fabricate.GOOD}", cls="Good")
    done = rilbench("run", *GROUNDED, "--rewards", "compressibility,chatty", "--json")
    assert json.loads(done.out)["plugins"]["reward/chatty"] == "chatty 1.2"
    assert "hello from chatty" in done.err


@pytest.mark.slow
def test_list_shows_the_status_and_imports_nothing(
    installed: Path, rilbench: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    for case in CASES:
        case.make(installed, case.name)
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,syntax_error")
    before = set(sys.modules)
    found = {(p["kind"], p["name"]): p for p in json.loads(rilbench("plugins", "list", "--json").out)}
    assert not {case.name for case in CASES} & (set(sys.modules) - before)
    assert found["reward", "good"] | {"status": "ok", "version": "3.1"} == found["reward", "good"]
    assert found["reward", "two_claim_it"]["status"].startswith("conflict: claimed by two_claim_it-1 1.0")
    assert found["reward", "syntax_error"]["status"] == "off: by RILBENCH_DISABLE_PLUGINS"
    assert found["reward", "no_object_reference"]["status"].startswith("broken: ")
    assert found["reward", "hps"]["status"] == "ok"
    assert all(case.name in rilbench("plugins", "list").out for case in CASES if case.name.isidentifier())


@pytest.mark.parametrize(
    ("variable", "value", "usable"),
    [
        ("RILBENCH_PLUGINS", "good", {"good"}),
        ("RILBENCH_PLUGINS", "reward/good, second-dist", {"good", "second"}),
        ("RILBENCH_PLUGINS", "", set()),
        ("RILBENCH_DISABLE_PLUGINS", "good", {"second"}),
        ("RILBENCH_DISABLE_PLUGINS", "second-dist", {"good"}),
        ("RILBENCH_DISABLE_PLUGINS", "metric/good", {"good", "second"}),
        ("RILBENCH_DISABLE_PLUGINS", "rilbench", {"good", "second"}),
    ],
)
def test_lists_of_allowed_and_disabled(
    variable: str, value: str, usable: set[str], installed: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from rilbench.host.catalog import Catalog

    fabricate.distribution(installed, "second-dist", "[rilbench.rewards]\nsecond = good:Good\n")
    monkeypatch.setenv(variable, value)
    names = set(Catalog().names("reward"))
    assert names & {"good", "second"} == usable
    assert ("hps" in names) == (value != "rilbench")


def test_a_plugin_switched_off_says_so_when_it_is_selected(
    installed: Path, rilbench: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RILBENCH_PLUGINS", "god")
    done = rilbench("run", *GROUNDED, "--rewards", "good")
    assert done.code == 3
    assert "reward 'good' of good 3.1 (good:Good) is switched off: not in RILBENCH_PLUGINS" in done.err
    assert "warning: RILBENCH_PLUGINS names 'god', which is not installed" in done.err


@pytest.mark.slow
def test_switching_one_off_settles_a_conflict(
    installed: Path, rilbench: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    fabricate.distribution(installed, "rival", "[rilbench.rewards]\ngood = nowhere:Bad\n")
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "mlflow,rival")
    assert rilbench("run", *GROUNDED, "--rewards", "good").code == 0


@pytest.mark.slow
def test_a_plugin_that_is_not_installed(place: Path, rilbench: Callable[..., Done], installed: Path) -> None:
    file = place / "my_rewards.py"
    file.write_text(fabricate.GOOD.replace("Good", "MyGreen"))
    try:
        run = ("run", *GROUNDED, "--plugin", "my_rewards:MyGreen", "--rewards", "my_green", "--json")
        first = json.loads(rilbench(*run).out)
        assert first["plugins"]["reward/my_green"].startswith("--plugin source-")
        assert "--plugin my_rewards:MyGreen" in first["command"]
        del sys.modules["my_rewards"]
        file.write_text(file.read_text().replace("images[:, 1]", "images[:, 2]"))
        second = json.loads(rilbench(*run).out)
        assert second["stages"][1]["stage_id"] != first["stages"][1]["stage_id"], "changed code must be trained again"
        named = rilbench("plugins", "show", "verdure", "--plugin", "verdure=my_rewards:MyGreen", "--json")
        assert json.loads(named.out)["object"] == "my_rewards:MyGreen"
    finally:
        sys.modules.pop("my_rewards", None)


@pytest.mark.parametrize(
    ("text", "code", "message"),
    [
        ("my_rewards", 2, "'my_rewards' is not of the form module:Class"),
        ("my_rewards.py:Redness", 2, "name the module, not its file: my_rewards:Redness"),
        ("nowhere_at_all:Reward", 3, "cannot be imported: ModuleNotFoundError"),
        ("json:dumps", 3, "--plugin json:dumps is not a subclass of Reward, Metric or Strategy"),
        ("good=good:Good", 3, "give one another name: --plugin my_good=good:Good"),
        ("json.decoder:NaN", 3, "--plugin json.decoder:NaN is not a subclass of Reward, Metric or Strategy"),
    ],
)
def test_a_wrong_plugin_option(
    text: str, code: int, message: str, installed: Path, rilbench: Callable[..., Done]
) -> None:
    done = rilbench("run", *GROUNDED, "--plugin", text, "--rewards", "good")
    assert done.code == code
    assert message in done.err


@pytest.mark.parametrize(
    ("requires", "message"),
    [
        ("good>=4", "requires: good>=4 is required, 3.1 is installed. Install with: pip install 'good>=4'"),
        ("absent-plugin", "absent-plugin is not installed. Install with: pip install absent-plugin"),
        ("good>>4", "requires: 'good>>4' is not a requirement"),
    ],
)
def test_required_plugins_are_checked_before_any_work(
    requires: str, message: str, installed: Path, place: Path, rilbench: Callable[..., Done]
) -> None:
    done = rilbench("run", *GROUNDED, "--rewards", "good", f"requires=['{requires}']", "store=untouched")
    assert done.code == 3
    assert message in done.err
    assert not (place / "untouched").exists()


@pytest.mark.slow
def test_a_fulfilled_requirement_and_what_took_part(installed: Path, rilbench: Callable[..., Done]) -> None:
    options = ("requires=['good>=3,<4', 'absent; python_version < \"3\"']", "--rewards", "good", "--json")
    result = json.loads(rilbench("run", *GROUNDED, *options).out)
    assert result["plugins"] == {
        "strategy/rid": "rilbench 0.1.0",
        "reward/good": "good 3.1",
        "metric/png_kb": "rilbench 0.1.0",
        "hook/jsonl": "rilbench 0.1.0",
    }


def test_a_name_of_another_kind_is_pointed_out(rilbench: Callable[..., Done]) -> None:
    assert "There is a metric of that name." in rilbench("run", *GROUNDED, "--rewards", "fid").err


def test_show_prints_contract_settings_and_licence(installed: Path, rilbench: Callable[..., Done]) -> None:
    import importlib_metadata  # noqa: F401  as MLflow does; it replaces the finder of distributions, and is stricter

    shown = rilbench("plugins", "show", "compressibility").out
    assert "rilbench.Reward: Scores images" in shown
    assert "Apache-2.0" in shown
    rows = [[cell.strip() for cell in line.split("│")[1:4]] for line in shown.splitlines()]
    assert ["quality", "whole number", "80"] in rows, shown
    (quality, *_) = json.loads(rilbench("plugins", "show", "compressibility", "--json").out)["settings"]
    assert (quality["range"], quality["meaning"]) == ("between 1 and 100", "quality of JPEG")
    told = json.loads(rilbench("plugins", "show", "reward/good", "--json").out)
    assert (told["licence"], told["about"], told["settings"]) == ("MIT", "The mean of the green channel.", [])
    assert json.loads(rilbench("plugins", "show", "jsonl", "--json").out)["hooks"][0] == "run_started"
    assert "Did you mean 'hps'" in rilbench("plugins", "show", "hsp").err


@pytest.mark.slow
def test_check_runs_the_kit(installed: Path, rilbench: Callable[..., Done]) -> None:
    good = rilbench("plugins", "check", "good", "--image-size", "16")
    assert good.code == 0, good.out
    flat = fabricate.GOOD.replace("images[:, 1]", "images[:, 1].detach()")
    fabricate.reward(installed, "flat", flat, cls="Good")
    bad = rilbench("plugins", "check", "flat", "--image-size", "16", "--json")
    assert bad.code == 1
    assert any(result["status"] == "failed" for result in json.loads(bad.out))
    fabricate.reward(
        installed, "nan", fabricate.GOOD.replace("images[:, 1]", "float('nan') * images[:, 1]"), cls="Good"
    )
    assert "[nan, nan, nan, nan]" in rilbench("plugins", "check", "nan", "--image-size", "16").out.replace("\n", " ")
    wrong = rilbench("plugins", "check", "compressibility", "quality=none")
    assert "quality" in wrong.out + wrong.err


@pytest.mark.slow
def test_what_an_import_changes_is_undone(installed: Path, rilbench: Callable[..., Done]) -> None:
    import torch

    warn_once.cache_clear()
    source = f"import torch\ntorch.set_default_dtype(torch.float64)\ntorch.manual_seed(0)\n{fabricate.GOOD}"
    fabricate.reward(installed, "selfish", source, cls="Good")
    torch.manual_seed(5)
    before = torch.get_rng_state()
    with pytest.warns(
        UserWarning, match=r"reward 'selfish' of selfish 1.2 \(selfish:Good\) changes torch's default dtype"
    ):
        done = rilbench("run", *GROUNDED, "--rewards", "compressibility,selfish")
    assert done.code == 0
    assert torch.get_default_dtype() == torch.float32
    assert torch.equal(torch.get_rng_state(), before)


def test_distributions_without_a_name_are_all_seen(installed: Path) -> None:
    from rilbench.host.catalog import Catalog

    for name in ("nameless_one", "nameless_two"):
        fabricate.reward(installed, name, fabricate.GOOD, cls="Good", version=None)
    assert {"nameless_one", "nameless_two"} <= set(Catalog().names("reward"))


@pytest.mark.slow
def test_two_hooks_of_one_name_cost_one_warning(installed: Path, rilbench: Callable[..., Done]) -> None:
    hook = "from rilbench import hookimpl\nclass Hook:\n    @hookimpl\n    def run_started(self):\n        pass\n"
    for n in (1, 2):
        points = f"[rilbench.hooks]\ntwin = twin_{n}:Hook\n"
        fabricate.distribution(installed, f"twin-{n}", points, {f"twin_{n}": hook})
    done = rilbench("run", *GROUNDED, "--rewards", "compressibility")
    assert done.err.count("claimed by twin-1 1.2") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("disabled", "config", "code", "message"),
    [
        ("hps", "shapes", 0, ""),  # whose recipes name it, though nobody asked for it
        (
            "fid",
            "shapes",
            3,
            "metric 'fid' of rilbench 0.1.0 (rilbench_metrics.fid:FID) is switched off: by RILBENCH_DIS",
        ),
    ],
)
def test_what_is_switched_off_is_not_unknown(
    disabled: str,
    config: str,
    code: int,
    message: str,
    rilbench: Callable[..., Done],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", f"mlflow,{disabled}")
    metrics = ["evaluate.metrics=[png_kb]"] if code == 0 else []
    done = rilbench("explain", "--config", config, "--rewards", "compressibility", *metrics)
    assert done.code == code, done.err
    assert message in done.err
    assert "is switched off: by RILBENCH_DISABLE_PLUGINS" in rilbench("plugins", "show", disabled).err


@pytest.mark.slow
def test_a_print_in_a_call_leaves_stdout_alone(place: Path, rilbench: Callable[..., Done]) -> None:
    loud = fabricate.GOOD.replace("return", "print('seen', len(images))\n        return").replace("Good", "Loud")
    (place / "loud_rewards.py").write_text(f"print('hello')\n{loud}")
    done = rilbench("run", *GROUNDED, "--plugin", "loud_rewards:Loud", "--rewards", "loud", "--json")
    assert json.loads(done.out)["rewards"] == ["loud"]
    assert "hello" in done.err
    assert "seen 2" in done.err


@pytest.mark.slow
@pytest.mark.parametrize("part", ["reset", "compute"])
def test_a_metric_that_raises_is_blamed(part: str, installed: Path, rilbench: Callable[..., Done]) -> None:
    source = "from rilbench import MeanMetric\nclass M(MeanMetric):\n    higher_is_better = True\n"
    source += "    def score(self, images, prompts, *, base_images=None):\n        return images.mean((1, 2, 3))\n"
    condition = "hasattr(self, '_count') and " if part == "reset" else ""
    source += f"    def {part}(self):\n        if {condition}True:\n            raise KeyError('lost')\n"
    source += "        super().reset()\n"
    fabricate.distribution(installed, "moody", "[rilbench.metrics]\nmoody = moody:M\n", {"moody": source})
    done = rilbench("run", *GROUNDED, "--rewards", "compressibility", "evaluate.metrics=[moody]")
    assert done.code == 3
    assert done.err.splitlines()[-1] == "error: metric 'moody' failed: KeyError: 'lost'"


@pytest.mark.slow
def test_a_metric_that_changes_the_images_is_refused(installed: Path, rilbench: Callable[..., Done]) -> None:
    source = "from rilbench import MeanMetric\nclass M(MeanMetric):\n    higher_is_better = True\n"
    source += (
        "    def score(self, images, prompts, *, base_images=None):\n        return images.mul_(2).mean((1, 2, 3))\n"
    )
    fabricate.distribution(installed, "greedy", "[rilbench.metrics]\ngreedy = greedy:M\n", {"greedy": source})
    done = rilbench("run", *GROUNDED, "--rewards", "compressibility", "evaluate.metrics=[greedy]")
    assert done.code == 3
    assert "metric 'greedy' changes the images in place" in done.err


@pytest.mark.slow
def test_another_class_of_the_same_name_is_trained_anew(place: Path, rilbench: Callable[..., Done]) -> None:
    twice = fabricate.GOOD + fabricate.GOOD.replace("Good", "Other").replace("images[:, 1]", "images[:, 2]")
    (place / "two_rewards.py").write_text(twice)
    ids = []
    for cls in ("Good", "Other"):
        done = rilbench("run", *GROUNDED, "--plugin", f"same=two_rewards:{cls}", "--rewards", "same", "--json")
        ids.append(json.loads(done.out)["stages"][1]["stage_id"])
    assert ids[0] != ids[1]


@pytest.mark.slow
def test_the_advice_in_a_conflict_settles_it(
    installed: Path, rilbench: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where one distribution is called like the reward, as those of `plugins new` are."""
    fabricate.reward(installed, "green", fabricate.GOOD, cls="Good")
    fabricate.distribution(installed, "rival", "[rilbench.rewards]\ngreen = good:Good\n")
    refused = rilbench("run", *GROUNDED, "--rewards", "green")
    assert refused.code == 3
    advice = refused.err.split("RILBENCH_DISABLE_PLUGINS=")[1].split()[0]
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", f"mlflow,{advice}")
    assert rilbench("run", *GROUNDED, "--rewards", "green").code == 0


def test_a_misspelt_group_is_pointed_out(installed: Path, rilbench: Callable[..., Done]) -> None:
    fabricate.distribution(installed, "typo", "[rilbench.reward]\nblue = good:Good\n")
    done = rilbench("run", *GROUNDED, "--rewards", "compressibility")
    assert (
        "'blue' of typo 1.2 (good:Good) cannot be used: broken: unknown group of entry points 'rilbench.reward'"
        in done.err
    )
    assert "Did you mean 'rilbench.rewards'?" in done.err


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("images.mean()", "reward 'bad' must return a tensor of scores of shape (2,), it returned ()"),
        (
            "images.mean((1, 2, 3)).detach().numpy()",
            "reward 'bad' must return a tensor of scores of shape (2,), it returned nd",
        ),
        (
            "images.mean((1, 2, 3)) * float('nan')",
            "reward 'bad' is not finite",
        ),
    ],
)
def test_a_wrong_return_value_is_told_as_the_rewards(
    body: str, message: str, installed: Path, rilbench: Callable[..., Done]
) -> None:
    fabricate.reward(installed, "bad", fabricate.GOOD.replace("images[:, 1].mean((1, 2))", body), cls="Good")
    done = rilbench("run", *GROUNDED, "--rewards", "bad", "evaluate.batch_size=2")
    assert done.code in (1, 3)
    assert message in done.err


def test_misuse_of_check_is_told_in_a_line(rilbench: Callable[..., Done]) -> None:
    typo = rilbench("plugins", "check", "compressibility", "qualty=7")
    assert (typo.code, typo.out) == (3, "")
    assert "unknown setting in reward 'compressibility' 'qualty'. Did you mean 'quality'?" in typo.err
    hook = rilbench("plugins", "check", "jsonl")
    assert hook.code == 2
    assert "has no conformance checks; start a run" in hook.err


@pytest.mark.slow
def test_a_malformed_entry_of_a_builtins_name_leaves_the_builtin(
    installed: Path, rilbench: Callable[..., Done]
) -> None:
    fabricate.distribution(installed, "acme", "[rilbench.rewards]\nsharpness = acme : Broken?\n")
    done = rilbench("run", *GROUNDED, "--rewards", "sharpness")
    assert done.code == 0, done.err
    assert done.err.count("warning: reward 'sharpness' of acme 1.2") == 1


@pytest.mark.parametrize("version", ["__import__('numpy').array([1, 2])", "'2'", "True"])
def test_an_odd_api_version_is_refused(version: str, installed: Path, rilbench: Callable[..., Done]) -> None:
    fabricate.reward(installed, "odd_version", f"{fabricate.GOOD}    api_version = {version}\n", cls="Good")
    done = rilbench("plugins", "check", "odd_version")
    assert done.code == 3
    assert "which is not a whole number" in done.err


@pytest.mark.parametrize("name", ["../../up", "acme/red", "sharp@blur", "a,b", "a+b"])
def test_a_name_that_cannot_be_asked_for_is_broken(name: str, installed: Path) -> None:
    from rilbench.host.catalog import Catalog

    fabricate.distribution(installed, "names", f"[rilbench.rewards]\n{name} = good:Good\n")
    (entry,) = (p for p in Catalog().plugins if p.distribution == "names")
    assert entry.state.startswith(f"broken: the name {name!r} may contain only letters")


@pytest.mark.slow
def test_what_hooks_and_plugins_by_hand_change_is_undone(
    installed: Path, place: Path, rilbench: Callable[..., Done]
) -> None:
    import torch

    hook = "class Hook:\n    @hookimpl\n    def run_started(self):\n        pass\n"
    fabricate.hook(installed, "dark_hook", f"import torch\ntorch.set_grad_enabled(False)\n{hook}")
    (place / "double_rewards.py").write_text(f"import torch\ntorch.set_default_dtype(torch.float64)\n{fabricate.GOOD}")
    warn_once.cache_clear()
    with pytest.warns(UserWarning, match="is undone") as warned:
        done = rilbench("run", *GROUNDED, "--plugin", "dbl=double_rewards:Good", "--rewards", "dbl")
    assert done.code == 0, done.err
    told = " ".join(str(warning.message) for warning in warned)
    assert "double_rewards:Good changes torch's default dtype" in told
    assert "(dark_hook:Hook) changes torch's grad mode" in told
    assert torch.is_grad_enabled()
    assert torch.get_default_dtype() == torch.float32


@pytest.mark.slow
def test_filters_of_warnings_end_with_the_import(installed: Path, rilbench: Callable[..., Done]) -> None:
    fabricate.reward(
        installed, "a_strict", f"import warnings\nwarnings.simplefilter('error')\n{fabricate.GOOD}", cls="Good"
    )
    loud = f"import warnings\nwarnings.warn('old', DeprecationWarning)\n{fabricate.GOOD}"
    fabricate.reward(installed, "b_loud", f"import warnings\nwarnings.simplefilter('ignore')\n{loud}", cls="Good")
    done = rilbench("run", *GROUNDED, "--rewards", "a_strict,b_loud")
    assert done.code == 0, done.err


def test_names_of_distributions_are_compared_as_pip_does(installed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from rilbench.host import control
    from rilbench.host.catalog import Catalog

    fabricate.distribution(installed, "Under_Score", "[rilbench.rewards]\nunder = good:Good\n")
    monkeypatch.setenv("RILBENCH_DISABLE_PLUGINS", "under-score")
    catalog = Catalog()
    assert "under" not in catalog.names("reward")
    assert control.not_installed(catalog.plugins) == []


@pytest.mark.slow
@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("def plan(self, rewards):\n        return None", "list of Stage, it returned None"),
        ("def loss(self, step):\n        return 3", "the loss must be a scalar tensor"),
        ("def loss(self, step):\n        return step.denoise().mean().detach()", "it is a tensor of shape ()"),
        ("def loss(self, step):\n        return step.term('x', 7)", "the term 'x' of the loss is not a scalar tensor"),
        ("def carry(self):\n        raise KeyError('gone')", "failed: KeyError: 'gone'"),
        ("def carry(self):\n        return {'x': 1}", "carry must return a dictionary of tensors"),
    ],
)
def test_a_strategy_that_returns_nonsense_is_blamed(
    body: str, message: str, installed: Path, rilbench: Callable[..., Done]
) -> None:
    loss = "    def loss(self, step):\n        return -step.reward(step.decode(step.denoise()))\n"
    source = f"from rilbench import Strategy\nclass S(Strategy):\n{loss}    {body}\n"
    fabricate.distribution(
        installed, "nonsense", "[rilbench.strategies]\nnonsense = nonsense:S\n", {"nonsense": source}
    )
    done = rilbench("run", *GROUNDED, "--strategy", "nonsense", "--rewards", "compressibility")
    assert done.code == 3
    assert message in done.err.splitlines()[-1]
