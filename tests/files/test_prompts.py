"""Prompt files are read as they are meant, and what the model does not read of them is said and not counted twice."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_pipelines
import torch
import toy

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.prompt import Prompt
from rilbench.engine.loaded_model import LoadedModel
from rilbench.engine.progress import Reporter
from rilbench.engine.run import prepare
from rilbench.engine.session import Session
from rilbench.evaluation.intervals import interval
from rilbench.files.fingerprints import fingerprint
from rilbench.files.prompts import evaluation_prompts, prompts_fingerprint, read_prompts
from rilbench.files.resources import resolve
from rilbench.model.loading import load_backbone
from rilbench.model.reading import Captions, readings
from rilbench_release.merged import write_merged
from rilbench_shapes import captions

EVALUATED = "package:rilbench_shapes/prompts/eval.txt"
LONG = "a red circle at the left on a blue background, "  # the tiny pipeline reads 30 of its letters


def write(folder: Path, content: str | bytes, name: str = "p.txt") -> str:
    file = folder / name
    file.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(file)


def test_a_byte_order_mark_is_no_part_of_a_prompt(tmp_path: Path) -> None:
    file = write(tmp_path, "\ufeffa red circle\r\n\r\na blue square\r\n")
    assert read_prompts(file) == [Prompt("a red circle"), Prompt("a blue square")]


@pytest.mark.parametrize("between", ["\u2028", "\u2029", "\u0085", "\x0b", "\x0c", "\x1c"])
def test_only_ends_of_lines_split_prompts(tmp_path: Path, between: str) -> None:
    found = read_prompts(write(tmp_path, f"a red{between}circle\na ring\n"))
    assert found == [Prompt(f"a red{between}circle"), Prompt("a ring")]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("p.tsv", "prompt\tkind\na\tb\n", r"is a \.tsv file.*; write one prompt per line"),
        ("p.json", '[{"prompt": "a"}]\n', r"is a \.json file.*rows with prompt, negative_prompt and weight"),
        ("p.csv", "prompt,weight\n", "contains no prompt"),
        ("p.csv", "text,weight\na,2\n", "line 1: 'text,weight' has no column prompt"),
        ("p.csv", "prompt;weight\na;2\n", "line 1: 'prompt;weight' has no column prompt"),
        ("p.csv", "prompt,kind\na,\nb,c\n", r"line 1: unknown column 'kind'\. Known: negative_prompt, prompt, weight"),
        ("p.csv", "prompt,weight\na cat, sleeping,2\n", "line 2: has more values than columns.*double quotes"),
        ("p.csv", "prompt,weight, prompt\na,1,b\n", "line 1: has the column prompt more than once; keep one of them"),
        ("p.csv", 'prompt\n"a\n', "after line 1: is not CSV"),
        ("p.csv", "prompt,weight\na,1\n,2\n", "line 3: has no prompt"),
        ("p.csv", "prompt,weight\na,often\n", "line 2: weight 'often' is not a number above 0 and at most 1e"),
        ("p.JSONL", '{"prompt": "a"}\n\n["b"]\n', "line 3: is no JSON object"),
        ("p.jsonl", '{"prompt": "a"}\na cat\n', "line 2: is not JSON"),
        ("p.jsonl", '{"prompt": "a", "negative": "b"}\n', "line 1: unknown key 'negative'. Did you mean 'negative_p"),
        ("p.jsonl", '{"prompt": ["a"]}\n', r"line 1: prompt is \['a'\], not a text"),
        ("p.jsonl", '{"prompt": "a", "weight": 0}\n', "line 1: weight 0 is not a number above 0"),
        ("p.jsonl", '{"prompt": "a", "weight": true}\n', "line 1: weight True is not"),
        ("p.jsonl", '{"prompt": "a", "weight": NaN}\n', "line 1: weight nan is not"),
        ("p.jsonl", '{"prompt": "a", "weight": 2000000}\n', "line 1: weight 2000000 is not"),
        ("p.jsonl", '{"negative_prompt": "a"}\n', "line 1: has no prompt"),
        ("p.parquet", b"PAR1", r"is a \.parquet file"),
        ("p.txt", '{"prompt": "a"}\n{"prompt": "b"}\n', "contains JSON; write one prompt per line"),
        ("p.txt", '[\n  "a",\n  "b"\n]\n', "contains JSON"),
        ("p.txt", "a\rb\rc", r"lines that end with \\r alone"),
        ("p.txt", "a\nb".encode("utf-16"), "utf-8.*; write one prompt per line"),
        ("p.txt", "a\0b\n", "NUL bytes"),
        ("p.txt", "\ufeff\r\n", "contains no prompt"),
    ],
)
def test_what_is_no_prompt_file(tmp_path: Path, name: str, content: str | bytes, told: str) -> None:
    with pytest.raises(ConfigError, match=told):
        read_prompts(write(tmp_path, content, name))


def test_brackets_are_no_json(tmp_path: Path) -> None:
    assert read_prompts(write(tmp_path, "[cat|dog] on a {red|blue} mat\n")) == [Prompt("[cat|dog] on a {red|blue} mat")]


ROWS = {
    "p.jsonl": """\
{"prompt": "a cat, sleeping", "negative_prompt": "blurred", "weight": 2}

{"prompt": " a \\"dog\\" ", "weight": null}
""",
    "p.csv": """\
weight,prompt,negative_prompt
2,"a cat, sleeping",blurred

,"a ""dog"" ",
""",
}


@pytest.mark.parametrize("name", ROWS)
def test_rows_have_weights_and_negative_prompts(tmp_path: Path, name: str) -> None:
    cat, dog = read_prompts(write(tmp_path, "\ufeff" + ROWS[name].replace("\n", "\r\n"), name))
    assert (cat.text, cat.negative, cat.weight) == ("a cat, sleeping", "blurred", 2.0)
    assert (dog.text, dog.negative, dog.weight) == ('a "dog"', "", 1.0)
    assert (cat.label, dog.label) == ("a cat, sleeping (negative: blurred)", 'a "dog"')


def test_an_evaluation_measures_what_differs_in_a_negative_prompt_and_refuses_weights(tmp_path: Path) -> None:
    table = "prompt,negative_prompt,weight\na,,{}\na,b,1\na,,1\n"
    assert evaluation_prompts(write(tmp_path, table.format(1), "p.csv")) == [Prompt("a"), Prompt("a", "b")]
    file = write(tmp_path, table.format(2), "p.csv")
    with pytest.raises(ConfigError, match=r"the prompt file '.*p\.csv' has weights, which only training uses"):
        evaluation_prompts(file)
    toy.save_pipeline(tmp_path / "pipeline")
    with pytest.raises(ConfigError, match=r"has weights"):  # before anything is loaded
        prepare(toy.config(tmp_path, f"evaluate.prompts={file}"), toy.catalog(), print)


def session(folder: Path, told: list[str], prompts: str) -> Session:
    config = toy.config(folder)
    Path(config.evaluate.prompts).write_text(prompts)

    class Told(Reporter):
        def warn(self, text: str) -> None:
            told.append(text)

    components, plan = prepare(config, toy.catalog(), print)
    return Session(LoadedModel(config, components, plan, Told(quiet=True)))


@pytest.mark.slow
def test_a_repeated_prompt_counts_once(workplace: Path) -> None:
    """Its images are the same again: neither the mean nor the interval may change."""
    config = toy.config(workplace)
    once = toy.run(workplace, "rewards=[red]", "train.samples=2", f"store={workplace}/once").result.matrix.rows[0]
    file = Path(config.evaluate.prompts)
    file.write_text(file.read_text() + 7 * "a red circle\n")
    again = toy.run(workplace, "rewards=[red]", "train.samples=2", f"store={workplace}/again").result.matrix.rows[0]
    assert (again.values, again.intervals) == (once.values, once.intervals)
    texts = [prompt.text for prompt in evaluation_prompts(str(file))]
    assert texts == ["a red circle", "a blue square", "a green ring"]


@pytest.mark.slow
def test_prompts_that_the_model_reads_alike_are_one_observation(workplace: Path) -> None:
    told: list[str] = []
    prompts = [LONG + "small", LONG + "large", LONG + "vivid", "a ring", "A ring", "a cross"]
    made = session(workplace, told, "\n".join([*prompts, "a cross"]) + "\n")
    made.row(made.loaded.plan[0])
    where = f"evaluate.prompts ({made.loaded.config.evaluate.prompts}): "
    assert [text.removeprefix(where) for text in told if text.startswith(where)] == [
        "3 of 7 prompts are longer than the model's limit and are cut",
        "1 of 7 prompts repeat an earlier one",
        "3 of 7 prompts differ from others only in text that the model does not read",
        "3 different prompts; 95 % intervals are not reliable with fewer than 30",
    ]
    assert len(told) == 7  # of the training prompts too, each once


def test_equal_scores_of_equal_prompts_do_not_narrow_the_interval() -> None:
    scores = torch.tensor([[0.0], [1.0]])
    repeated = scores.repeat_interleave(50, 0)
    groups = [i // 50 for i in range(100)]
    assert interval(repeated, groups=groups) == interval(scores) == (0.0, 1.0)
    assert interval(repeated)[0] > 0.35  # what it would be


@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "limits", "cut"),
    [
        ("stable_diffusion_xl", [32, 32], [False, True, True, True]),
        ("stable_diffusion_3", [32, 32, 256], [False, False, True, True]),
        ("flux", [32, 512], [False, False, False, True]),
    ],
)
def test_a_prompt_is_cut_where_no_encoder_reads_it_whole(
    tmp_path: Path, family: str, limits: list[int], cut: list[bool]
) -> None:
    tiny_pipelines.save(family, tmp_path / "pipeline")
    backbone = load_backbone(toy.config(tmp_path, "model.steps=1").model)
    assert [one.limit for one in backbone.text_inputs] == limits
    found = readings(backbone.text_inputs, ["a", "a" * 40, "ab " * 110, "ab " * 300])
    assert [reading.cut for reading in found] == cut


@pytest.mark.slow
def test_a_prompt_unlike_the_captions_of_the_training_is_told(workplace: Path) -> None:
    described = {"template": "a {size} {shape}", "words": {"size": ["small", "big"], "shape": ["ring"]}, "example": "!"}
    file = workplace / "pipeline" / "captions.json"
    file.write_text(json.dumps(described))
    told: list[str] = []
    made = session(workplace, told, "A small ring, vivid\na ring\na small dog\n")
    assert made.loaded.model.captions is not None
    prompts = made.loaded.config.evaluate.prompts
    (text,) = [text for text in told if "evaluate.prompts" in text]
    assert text.startswith(f"evaluate.prompts ({prompts}): 2 of 3 prompts are not like the captions")
    assert ("('a ring')" in text, text.endswith("'!'")) == (True, True)
    write_merged(workplace / "merged", made.loaded.config.model, ())
    assert Captions.of(workplace / "merged") == made.loaded.model.captions
    file.write_text(json.dumps(described | {"words": {}}))
    with pytest.raises(ConfigError, match=r"cannot read .*captions\.json"):
        Captions.of(workplace / "pipeline")


def test_the_captions_of_shapes_are_told_apart(workplace: Path) -> None:
    """The file beside its weights is that of its grammar, and needs no import of it."""
    known = Captions.of(Path(resolve("package:rilbench_shapes/weights/pipeline")))
    assert known is not None
    assert not known.remarks([*captions.every(), known.example, read_prompts(EVALUATED)[0].text], "")
    assert all(captions.parse(prompt.text) is not None for prompt in read_prompts(EVALUATED))
    assert len(known.remarks(["a red circle"], "--prompt")) == 1
    file = Path(resolve("package:rilbench_shapes/weights/pipeline/captions.json"))
    assert json.loads(file.read_text()) == captions.description()


def test_the_hash_of_a_prompt_file_is_that_of_what_it_means(tmp_path: Path) -> None:
    names = ("plain.txt", "plain", "table.csv", "TABLE.CSV", "rows.jsonl")
    for name in names:
        (tmp_path / name).write_text("prompt,weight\na red circle,2\n")
    txt, plain, csv, upper, jsonl = (prompts_fingerprint(str(tmp_path / name)) for name in names)
    assert txt == plain == fingerprint(tmp_path / "plain.txt"), "as before there were tables"
    assert csv == upper
    assert len({txt, csv, jsonl}) == 3
    assert prompts_fingerprint("none.csv") == "none.csv"


@pytest.mark.parametrize("setting", ["train.prompts", "evaluate.prompts"])
def test_a_table_and_a_text_of_the_same_bytes_are_different_runs(workplace: Path, setting: str) -> None:
    def planned(name: str) -> list[object]:
        (workplace / name).write_text("prompt,negative_prompt\na red circle,blue\n")
        components, plan = prepare(toy.config(workplace, f"{setting}={workplace / name}"), toy.catalog(), print)
        return [[stage.id for stage in plan], components.parts.evaluation_document]

    assert planned("p.txt") != planned("p.csv")
