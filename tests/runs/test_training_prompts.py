"""A run that is also measured on training prompts shows what holds there only; without the setting nothing changes."""

from __future__ import annotations

from pathlib import Path

import pytest
import toy

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.result import RunResult
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.progress import Reporter
from rilbench.engine.run import prepare, run, run_name
from rilbench.engine.training_prompts import chosen
from rilbench.files.prompts import read_prompts
from rilbench.store import tables
from rilbench_release import foreign

TRAINED = "prompt,weight\na small ring,5\na blue square,1\na green cross,1\na small ring,5\na white dot,1\n"
PLAIN = ("rewards=[red]", "train.samples=4", "strategy=baseline")


def measured(folder: Path, told: list[str], *changes: str) -> RunResult:
    class Told(Reporter):
        def warn(self, text: str) -> None:
            told.append(text)

    return run(toy.config(folder, *PLAIN, *changes), catalog=toy.catalog(), reporter=Told(quiet=True)).result


@pytest.mark.slow
def test_training_prompts_are_columns_of_their_own(workplace: Path) -> None:
    file, told = workplace / "train.csv", list[str]()
    file.write_text(TRAINED)
    changes = (f"train.prompts={file}", "evaluate.metrics=[likeness,toy_contrast]")
    plain = measured(workplace, told, *changes)
    assert not any("train.prompts too" in text for text in told)
    both = measured(workplace, told, *changes, "evaluate.train_prompts=3")
    assert both.name != plain.name
    assert [row.stage_id for row in both.matrix.rows] == [
        row.stage_id for row in plain.matrix.rows
    ]  # none trained again
    names = [info.name for info in plain.matrix.metrics]
    assert [info.name for info in both.matrix.metrics] == [*names, *(f"{name}@train" for name in names)]
    for one, other in zip(plain.matrix.rows, both.matrix.rows, strict=True):
        assert {name: other.values[name] for name in names} == one.values
        assert other.evaluation == one.evaluation
    assert [text for text in told if "1 of the 3 prompts of evaluate.prompts are in train.prompts too" in text]

    texts = [prompt.text for prompt in chosen(list(dict.fromkeys(read_prompts(str(file)))), 3, 0)]
    assert len(set(texts)) == 3
    (workplace / "alone.txt").write_text("\n".join(texts))  # the same prompts, measured as any others
    alone = measured(workplace, told, *changes[1:], f"train.prompts={file}", f"evaluate.prompts={workplace}/alone.txt")
    for one, other in zip(alone.matrix.rows, both.matrix.rows, strict=True):
        assert {name: other.values[f"{name}@train"] for name in names} == one.values
        assert {name: other.sds.get(f"{name}@train") for name in names} == {name: one.sds.get(name) for name in names}
    (line,) = tables.on_training_prompts(both)
    gains = [both.matrix.gain(name, 0, 1) for name in ("red", "red@train")]
    base = both.matrix.values("red")[0]
    assert line == f"1 red: red {' and '.join(tables.number(gain, base) for gain in gains)}"
    assert tables.on_training_prompts(plain) == []
    assert "@train" not in tables.markdown(both)


def test_a_recipe_with_other_training_prompts_is_refused(workplace: Path) -> None:
    (workplace / "other.txt").write_text("a\n")
    config = toy.config(workplace, "evaluate.train_prompts=2", f"recipes.any.red.prompts={workplace}/other.txt")
    with pytest.raises(ConfigError, match=r"evaluate\.train_prompts: .* a recipe trains on '.*other\.txt'"):
        prepare(config, toy.catalog(), print)


def test_the_setting_is_in_the_name_of_a_run_and_in_no_identity(workplace: Path) -> None:
    def planned(*changes: str) -> tuple[str, list[str], str]:
        config = toy.config(workplace, *changes)
        components, plan = prepare(config, toy.catalog(), print)
        loaded = LoadedModel(config, components, plan, Reporter(quiet=True))
        assert (loaded.images, loaded.most_images) == (6, max(6, 2 * config.evaluate.train_prompts))
        names = [stage.id for stage in plan]
        return run_name(config, components.parts, plan), names, str(components.parts.evaluation_document)

    plain, on = planned(), planned("evaluate.train_prompts=2")
    assert plain[0] != on[0] != planned("evaluate.train_prompts=5")[0]
    assert plain[1:] == on[1:]
    assert "train_prompts" not in plain[2]


def test_a_model_from_elsewhere_has_none(workplace: Path) -> None:
    config = toy.config(workplace, "evaluate.train_prompts=2")
    with pytest.raises(ConfigError, match=r"evaluate\.train_prompts: the training prompts of a model from elsewhere"):
        foreign.evaluate(config, catalog=toy.catalog(), reporter=Reporter(quiet=True))
