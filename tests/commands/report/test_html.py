"""`rilbench report`: its numbers against an independent computation, its text, and how a real browser shows it."""

from __future__ import annotations

import json
import math
import re
import shutil
from collections.abc import Iterator
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import toy
from command import rilbench
from PIL import Image
from safetensors.torch import load_file
from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.select import Select
from selenium.webdriver.support.wait import WebDriverWait

from rilbench.analysis.figures import front
from rilbench.contracts.errors import UsageError
from rilbench.store.files import read_json, read_text, write_json, write_text
from rilbench.store.tables import number as decimals
from rilbench_report import pictures
from rilbench_report.command import report
from rilbench_report.page import write_report
from rilbench_report.pictures import SIDE, data_uri

EVIL = "<script>alert(1)</script>"
RUNS = [("baseline", "red,dark", 0), ("baseline", "red,dark", 1), ("rid", "red,dark", 0), ("rid", "red,dark", 1)]
RUNS += [("rid", "dark,red", 2), ("joint", "red,dark", 0)]
NAMES = ("baseline", "joint", "rid")
MORE = "evaluate.metrics=[likeness,sharpness]"  # sharpness is a reward that no stage trains


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, pipeline: Path) -> Path:
    """Six tiny real runs; one prompt and the label of `rid` are texts that want to be HTML."""
    folder = tmp_path_factory.mktemp("report")
    shutil.copytree(pipeline, folder / "pipeline")
    toy.config(folder)
    (folder / "prompts.txt").write_text(f"a red circle {EVIL}\na blue square\na green ring\n")
    for strategy, order, seed in RUNS:
        weights = ["strategy_settings.joint.weights={red: 1.0, dark: 1.0}"] if strategy == "joint" else []
        done = toy.run(
            folder, f"strategy={strategy}", f"rewards=[{order}]", f"seed={seed}", "train.samples=4", MORE, *weights
        )
        file = done.folder / "result.json"
        result = read_json(file)
        write_json(file, result | {"label": result["label"].replace("rid", f"rid {EVIL}")})
    return folder / "runs"


@pytest.fixture(scope="module")
def page(store: Path) -> Path:
    file = store.parent / "report.html"
    write_report([str(store)], file, toy.catalog(), ignore)
    return file


@pytest.fixture(scope="module")
def text(page: Path) -> str:
    return page.read_text()


@pytest.fixture(scope="module")
def data(text: str) -> Any:
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', text, re.S)
    return json.loads(found)


@pytest.fixture(scope="module")
def results(store: Path) -> list[Any]:
    return [json.loads(file.read_text()) for file in sorted(store.glob("*/result.json"))]


def ignore(warning: str) -> None:
    """What `write_report` warns of, where a test is about something else."""


def values(result: Any, metric: str) -> np.ndarray:
    return np.array([stage["values"][metric] for stage in result["stages"]])


def chosen(results: list[Any], strategy: str, *rewards: str) -> list[Any]:
    return [r for r in results if r["strategy"].startswith(strategy) and (not rewards or r["rewards"] == [*rewards])]


class Tables(HTMLParser):
    """The cells of every table, and the attributes that would load something."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tables: list[list[list[str]]] = []
        self.loads: list[str] = []
        self.cell = False
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.loads += [v or "" for k, v in attrs if k in ("src", "href", "srcset", "data", "action", "poster")]
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")
            self.cell = True

    def handle_endtag(self, tag: str) -> None:
        self.cell = self.cell and tag not in ("td", "th")

    def handle_data(self, data: str) -> None:
        if self.cell:
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def parsed(text: str) -> Tables:
    return Tables(text)


@pytest.mark.slow
def test_lines_are_means_and_intervals(data: Any, results: list[Any], parsed: Tables) -> None:
    columns = [name.split()[0] for name in parsed.tables[0][0][1:]]
    assert set(columns) == {"red", "dark", "toy_contrast", "likeness", "sharpness"}
    for i, metric in enumerate(columns):
        dark_red, red_dark, every = data["figures"][f"lines-{i}"]
        traces = {(t["meta"]["role"], t["meta"]["strategy"]): t for t in red_dark["data"]}
        assert set(traces) == {("line", 0), ("line", 1), ("line", 2)}
        for number, strategy in enumerate(NAMES):
            runs = np.array([values(r, metric) for r in chosen(results, strategy, "red", "dark")])
            assert traces["line", number]["y"] == pytest.approx(list(runs.mean(0)))
        (alone,) = dark_red["data"]
        assert alone["y"] == pytest.approx(list(values(chosen(results, "rid", "dark", "red")[0], metric)))
        band, rid = [t for t in every["data"] if t["meta"]["strategy"] == 2]
        runs = np.array([values(r, metric) for r in chosen(results, "rid")])
        assert rid["y"] == pytest.approx(list(runs.mean(0)))
        half = 4.302653 * runs.std(0, ddof=1) / math.sqrt(3)
        assert band["y"] == pytest.approx([*(runs.mean(0) + half), *(runs.mean(0) - half)[::-1]])
    assert red_dark["layout"]["xaxis"]["ticktext"] == ["base", "1<br>red", "2<br>dark"]
    assert every["layout"]["xaxis"]["ticktext"] == ["base", "1", "2"]


def rewards_of(result: Any, what: str) -> float:
    """Mean over red and dark of what was learned or forgotten, in SD between the base model's prompts."""
    found = []
    for reward in ("red", "dark"):
        a = values(result, reward)
        trained = max(i for i, stage in enumerate(result["stages"]) if reward in stage["rewards"])
        if what == "forgotten" and trained == len(a) - 1:
            continue
        amount = a[trained] - a[0] if what == "learned" else a.max() - a[-1]
        found.append(amount / result["stages"][0]["sds"][reward])
    return float(np.mean(found)) if found else math.nan


@pytest.mark.slow
def test_pareto_points(data: Any, results: list[Any]) -> None:
    traces = data["figures"]["pareto-0"]["data"]
    means = {t["meta"]["strategy"]: (t["x"][0], t["y"][0]) for t in traces if t["meta"]["role"] == "mean"}
    assert means[1][0] is None  # joint, of one stage, has nothing to forget
    for number, strategy in ((0, "baseline"), (2, "rid")):
        found = chosen(results, strategy)
        each = [(rewards_of(r, "forgotten"), rewards_of(r, "learned")) for r in found]
        assert means[number] == pytest.approx(tuple(np.mean(each, 0)))
        (runs,) = [t for t in traces if t["meta"] == {"role": "runs", "strategy": number}]
        assert sorted(zip(runs["x"], runs["y"], strict=True)) == pytest.approx(np.array(sorted(each)))
    (edge,) = [t for t in traces if t["meta"]["role"] == "front"]
    assert edge["x"] == []  # they do not have the same orders and seeds


def test_front_keeps_what_nothing_beats() -> None:
    assert front([(3, 5), (1, 2), (2, 1), (2, 4), (math.nan, 9), (2, 4)]) == [1, 3, 5, 0]


@pytest.mark.slow
def test_heat_is_forgetting_coloured_by_column(data: Any, results: list[Any]) -> None:
    (trace,) = data["figures"]["heat"]["data"]
    names = [name.split()[0] for name in trace["x"]]
    for column, metric in enumerate(names):
        found = [[forgetting(r, metric) for r in chosen(results, strategy)] for strategy in NAMES]
        means = [float(np.nanmean(each)) if not np.isnan(each).all() else math.nan for each in found]
        assert [row[column] for row in trace["text"]] == [decimals(mean) for mean in means]
        largest = np.nanmax([*means, 0])
        colours = [None if math.isnan(m) else math.sqrt(m / largest) if largest else 0 for m in means]
        assert [row[column] for row in trace["z"]] == pytest.approx(colours)
    assert trace["z"][0][names.index("dark")] is None
    assert trace["z"][0][names.index("red")] is not None


def forgetting(result: Any, metric: str) -> float:
    """Eq. 3; NaN for a target whose reward was trained last. `toy_contrast` reports `dark`."""
    target = {"red": "red", "dark": "dark", "toy_contrast": "dark"}.get(metric)
    a = values(result, metric) * (-1 if metric == "toy_contrast" else 1)
    return math.nan if target in result["stages"][-1]["rewards"] else float(a.max() - a[-1])


@pytest.mark.slow
def test_table_has_means_intervals_and_forgetting(parsed: Tables, results: list[Any]) -> None:
    head, base, baseline, joint, rid = parsed.tables[0]
    assert [row[0] for row in (base, baseline, joint, rid)] == ["base", "baseline (2)", "joint (1)", f"rid {EVIL} (3)"]
    column = next(i for i, name in enumerate(head) if name.startswith("likeness"))
    assert base[column] == "1.000"
    student = {2: 12.706, 3: 4.303}
    for row, strategy in ((baseline, "baseline"), (rid, "rid")):
        last = np.array([values(r, "likeness")[-1] for r in chosen(results, strategy)])
        half = student[len(last)] * last.std(ddof=1) / math.sqrt(len(last))
        low, high = max(0, 1 - last.mean() - half), 1 - last.mean() + half
        expected = f"{last.mean():.3f} ±{half:.3f}({1 - last.mean():.3f} [{low:.3f}, {high:.3f}])"
        assert plain(row[column]) == expected
    assert not any("★" in cell for row in (baseline, joint, rid) for cell in row)  # not the same orders and seeds
    units = next(table for table in parsed.tables if "left, SD ↑" in table[0])
    left = [
        np.mean([(values(r, n)[-1] - values(r, n)[0]) / r["stages"][0]["sds"][n] for n in ("red", "dark")])
        for r in chosen(results, "joint")
    ]
    joint = next(row for row in units if row[0] == "joint")
    assert float(joint[units[0].index("left, SD ↑")]) == pytest.approx(left[0], abs=6e-4)
    assert joint[units[0].index("forgotten, SD ↓")] == "-"


def plain(text: str) -> str:
    """With spaces that break."""
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.slow
def test_the_best_of_strategies_with_the_same_runs_is_marked(store: Path, tmp_path: Path, results: list[Any]) -> None:
    chosen_runs = [str(p) for p in store.glob("*-red-dark-seed*") if not p.name.startswith("joint")]
    write_report(chosen_runs, tmp_path / "page.html", toy.catalog(), ignore)
    head, _, *rows = Tables((tmp_path / "page.html").read_text()).tables[0]
    column = next(i for i, name in enumerate(head) if name.startswith("likeness"))
    finals = {
        s: np.mean([values(r, "likeness")[-1] for r in chosen(results, s, "red", "dark")]) for s in ("baseline", "rid")
    }
    best = [s for s in finals if finals[s] == max(finals.values())]  # one update is the same of both
    assert [row[0].split()[0] for row in rows if "★" in row[column]] == best


@pytest.mark.slow
def test_runs_that_end_in_the_same_model_count_once(store: Path, tmp_path: Path) -> None:
    (joint,) = store.glob("joint-*")
    copy = tmp_path / "runs" / "joint-again"
    shutil.copytree(joint, copy)
    result = json.loads((copy / "result.json").read_text())
    write_json((copy / "result.json"), result | {"name": "joint-again", "rewards": ["dark", "red"]})
    study, _ = write_report([str(joint), str(copy)], tmp_path / "page.html", toy.catalog(), ignore)
    assert (len(study.runs), study.row("joint", "final", "likeness")["n"]) == (2, 1)


@pytest.mark.slow
def test_checks_show_what_is_measured_and_name_the_setting_of_what_is_not(
    parsed: Tables, text: str, results: list[Any]
) -> None:
    (held_out,) = [t for t in parsed.tables if t[0] == ["strategy", "sharpness"]]
    (result,) = chosen(results, "joint")
    a = values(result, "sharpness")
    assert held_out[2][0] == "joint"
    assert plain(held_out[2][1]).endswith(f"({decimals((a[-1] - a[0]) / result['stages'][0]['sds']['sharpness'])} SD)")
    assert "evaluate.metrics=[likeness,sharpness,diversity]" in text
    assert "evaluate.perturb=[jpeg,blur,shift]" in text


@pytest.mark.slow
def test_share_of_the_gain_after_a_disturbance_and_diversity(store: Path, tmp_path: Path) -> None:
    """Columns another plugin would have measured: red gains 0.2 in the first run and 0.1 in the second."""
    shutil.copytree(store, tmp_path / "runs")
    for run, red, disturbed in (("seed0", 0.7, 0.6), ("seed1", 0.6, 0.5)):
        (file,) = tmp_path.glob(f"runs/baseline-red-dark-{run}-*/result.json")
        result = json.loads(file.read_text())
        more = ("red@jpeg", "red@train", "diversity")
        result["metrics"] += [dict(result["metrics"][0], name=n, target_of=[]) for n in more]
        trained = [(0.5, 0.45, 0.8, 3), (0, 0, 0, 0), (red, disturbed, 1.1 if run == "seed0" else 1.08, 2)]
        for stage, (a, b, c, d) in zip(result["stages"], trained, strict=True):
            stage["values"] |= {"red": a, "red@jpeg": b, "red@train": c, "diversity": d}
        write_json(file, result)
    write_report([str(p) for p in tmp_path.glob("runs/baseline*")], tmp_path / "page.html", toy.catalog(), ignore)
    tables = Tables((tmp_path / "page.html").read_text()).tables
    (gain,) = [t for t in tables if t[0] == ["strategy", "red@jpeg"]]
    assert gain[1] == ["baseline", "-"]  # 0.2 and 0.1: Student's interval of two such gains holds 0
    assert all("red@jpeg" not in name for name in tables[0][0])
    (generalises,) = [t for t in tables if t[0] == ["strategy", "red@train"]]
    assert generalises[1][1].startswith("52\N{NO-BREAK SPACE}% [")  # 0.15 of 0.29
    (diversity,) = [t for t in tables if t[0] == ["strategy", "diversity"]]
    assert list(map(plain, diversity[1])) == ["baseline", "3.000 → 2.000"]


@pytest.mark.slow
def test_settings_that_differ_are_a_table_and_others_are_listed_once(parsed: Tables, text: str) -> None:
    (differing,) = [
        t for t in parsed.tables if t[0] == ["", "baseline", "joint", f"rid {EVIL}"] and t[1][0] == "rewards"
    ]
    assert ["seed", "0 | 1", "0", "2 | 0 | 1"] in differing
    assert ["rewards", "red, dark", "red, dark", "dark, red | red, dark"] in differing
    assert text.count("<dt>adapter.rank</dt><dd>2</dd>") == 1
    assert "<dt>packages.torch</dt>" in text
    assert "<dt>reward/sharpness</dt>" in text


@pytest.mark.slow
def test_the_summary_says_what_was_compared(text: str) -> None:
    shown = re.sub(r"\s+", " ", unescape(text[: text.index('id="tables"')]))
    assert f"3 strategies (baseline, joint and rid {EVIL})" in shown
    assert "6 runs over 2 orders of rewards (dark > red; red > dark) and 3 seeds (0, 1 and 2)" in shown
    assert "on 3 prompts with 2 images each" in shown
    assert "Base model: " in shown
    assert "16 x 16 pixels, 4 denoising steps" in shown
    assert "has gained most" not in shown  # no two have the same orders and seeds
    assert re.search(r"Not ranked.* baseline \(2 runs\): joint \(1 run\) and rid", shown)
    assert "The adapted baseline of the paper (Sec. 4.1), AlignProp and DRaFT over the LoRA adapter group." in shown
    assert "<dt>red ↑</dt><dd>Mean of the red channel.</dd>" in shown


@pytest.mark.slow
def test_nothing_is_loaded_and_everything_is_escaped(text: str, parsed: Tables) -> None:
    assert parsed.loads
    assert all(load.startswith(("#", "data:")) for load in parsed.loads), parsed.loads
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style
    assert EVIL not in text
    assert text.count("</script>") == 3


@pytest.mark.slow
def test_pictures_are_each_stored_once(data: Any, results: list[Any]) -> None:
    album = data["pictures"]
    assert len(album["runs"]) == len(RUNS)
    evaluations = {stage["evaluation"] for result in results for stage in result["stages"]}
    assert len(album["uris"]) == 2 * len(evaluations) < 2 * 3 * len(RUNS)
    base = {tuple(run["pictures"][0]) for run in album["runs"]}
    assert len(base) == 1
    assert album["runs"][0]["prompts"][0] == f"a red circle {EVIL}"


@pytest.mark.slow
def test_no_more_runs_are_embedded_than_fit(store: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pictures, "BUDGET", 1)
    _, album = write_report([str(store)], tmp_path / "page.html", toy.catalog(), ignore)
    assert (len(album.runs), album.of) == (1, len(RUNS))
    assert "of 1 of 6 runs" in (tmp_path / "page.html").read_text()


def test_a_large_picture_becomes_a_small_jpeg(tmp_path: Path) -> None:
    Image.new("RGB", (1024, 512), "red").save(tmp_path / "large.png")
    assert data_uri(tmp_path / "large.png").startswith("data:image/jpeg;base64,/9j/")
    Image.new("RGB", (32, 32), "red").save(tmp_path / "small.png")
    assert data_uri(tmp_path / "small.png").startswith("data:image/png;base64,iVBOR")
    assert SIDE < 1024


@pytest.mark.slow
def test_runs_of_other_settings_are_told_apart(store: Path, tmp_path: Path) -> None:
    (first,) = store.glob("baseline-red-dark-seed0-*")
    second = tmp_path / "other"
    shutil.copytree(first, second)
    config, result = second / "config.yaml", second / "result.json"
    write_text(config, read_text(config).replace("rank: 2", "rank: 8"), sealed=True)
    write_json(result, read_json(result) | {"name": "other"})
    study, _ = write_report([str(first), str(second)], tmp_path / "page.html", toy.catalog(), ignore)
    assert study.labels == ["baseline (rank 2)", "baseline (rank 8)"]
    shutil.copy(first / "config.yaml", config)
    study, _ = write_report([str(first), str(second)], tmp_path / "page.html", toy.catalog(), ignore)
    assert study.labels == sorted(["baseline #other", f"baseline #{first.name.rpartition('-')[2]}"])


@pytest.mark.slow
def test_an_unfinished_run_is_left_out_and_named(store: Path, tmp_path: Path) -> None:
    shutil.copytree(store, tmp_path / "runs")
    (file,) = tmp_path.glob("runs/joint-*/result.json")
    write_json(file, read_json(file) | {"status": "running"})
    told: list[str] = []
    study, _ = write_report([str(tmp_path / "runs")], tmp_path / "page.html", toy.catalog(), told.append)
    assert "joint" not in study.labels
    (line,) = told
    assert line.startswith("1 of 6 runs are not finished and left out: ")
    assert file.parent.name in line
    assert line in unescape((tmp_path / "page.html").read_text())
    with pytest.raises(UsageError, match="no finished run"):
        write_report([str(file.parent)], tmp_path / "page.html", toy.catalog(), ignore)
    with pytest.raises(UsageError, match="no runs at 'nowhere'"):
        write_report(["nowhere"], tmp_path / "page.html", toy.catalog(), ignore)


@pytest.mark.slow
def test_the_worst_and_best_prompts_of_a_stage(data: Any, results: list[Any], store: Path) -> None:
    """Recomputed from the scores of single images; `toy_contrast` is better when lower."""
    (result,) = chosen(results, "joint")
    (run,) = [run for run in data["prompts"]["runs"] if run["name"].startswith("joint")]
    (stage,) = run["stages"]
    assert stage["name"] == f"1 {result['stages'][1]['label']}"
    base, after = (load_file(store / row["evaluation"] / "scores.safetensors") for row in result["stages"])
    for metric, sign in (("red", 1), ("toy_contrast", -1)):
        changes = sign * (after[metric] - base[metric]).double().mean(1).numpy()
        order = np.argsort(changes)
        worst, best = stage["metrics"][metric]
        texts = [data["prompts"]["texts"][row[0]] for row in (*worst, *reversed(best))]
        known = [f"a red circle {EVIL}", "a blue square", "a green ring"]
        assert texts == [known[i] for i in order]  # three prompts: two of them the worst
        assert (len(worst), len(best)) == (2, 1)
        assert float(worst[0][3]) == pytest.approx(sign * changes.min(), abs=6e-4)
        pictures = {prompt: row[4:] for prompt, row in zip(texts, (*worst, *reversed(best)), strict=True)}
        assert pictures["a green ring"] == [None, None]  # two pictures are kept
        (shown,) = [run for run in data["pictures"]["runs"] if run["strategy"] == "joint"]
        assert pictures["a blue square"] == [shown["pictures"][0][1], shown["pictures"][1][1]]


@pytest.mark.slow
def test_the_worst_and_best_prompts_as_data(store: Path, tmp_path: Path, results: list[Any]) -> None:
    (folder,) = store.glob("joint-*")
    done = rilbench("report", folder, "-o", "mine.html", "--json", cwd=tmp_path)
    told = json.loads(done.out)
    assert told["report"] == "mine.html"
    rows = [row for row in told["prompts"] if row["metric"] == "toy_contrast"]
    assert [row["is"] for row in rows] == ["worst", "worst", "best"]
    assert rows[0]["change"] == pytest.approx(rows[0]["base"] - rows[0]["value"])
    assert rows[0]["change"] <= rows[1]["change"] <= rows[2]["change"]
    assert (rows[0]["run"], rows[0]["stage"]) == (folder.name, 1)


@pytest.mark.slow
def test_the_command_writes_the_file(store: Path, tmp_path: Path) -> None:
    done = rilbench("report", store, "-o", "mine.html", cwd=tmp_path)
    assert (done.code, done.out) == (0, "mine.html\n")
    assert done.err.splitlines()[-1].startswith("6 runs, images of 6")
    assert (tmp_path / "mine.html").stat().st_size > 1e6


@pytest.mark.slow
def test_a_folder_is_no_file_to_write(store: Path) -> None:
    with pytest.raises(UsageError, match=re.escape(f"-o {store / 'report.html'}")):
        report([str(store)], store)


@pytest.fixture(scope="module")
def browser() -> Iterator[webdriver.Chrome]:
    program, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if program is None:
        pytest.skip("chromium is not installed (Debian: apt-get install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for argument in ("--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--disable-dev-shm-usage"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=webdriver.ChromeService(driver)) as started:
        yield started


def opened(browser: webdriver.Chrome, page: Path, *, scheme: str, width: int) -> None:
    feature = {"name": "prefers-color-scheme", "value": scheme}
    size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": width < 500}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    browser.get(page.as_uri())


def luminance(browser: webdriver.Chrome, selector: str, css: str) -> float:
    """Mean of the channels of a computed colour, 0 to 1."""
    colour = browser.find_element(By.CSS_SELECTOR, selector).value_of_css_property(css)
    return sum(map(int, re.findall(r"\d+", colour)[:3])) / 3 / 255


@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 390])
def test_a_browser_shows_it(browser: webdriver.Chrome, page: Path, scheme: str, width: int) -> None:
    opened(browser, page, scheme=scheme, width=width)
    assert browser.get_log("browser") == []
    assert browser.execute_script("return performance.getEntriesByType('resource').length") == 0
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert browser.execute_script("return document.documentElement.clientWidth") == width
    plots = browser.find_elements(By.CSS_SELECTOR, ".plot")
    assert len(plots) == 7
    for plot in plots:
        drawn = plot.find_element(By.CSS_SELECTOR, "svg.main-svg").size
        assert min(drawn.values()) > 100
        assert plot.find_elements(By.CSS_SELECTOR, "path.point, path.js-line, .heatmaplayer image, .hm image")
        assert plot.get_attribute("aria-label")
    for selector in ("body", "section", ".plot .main-svg"):
        assert (luminance(browser, selector, "background-color") < 0.2) == (scheme == "dark")
        assert (luminance(browser, selector, "background-color") > 0.8) == (scheme == "light")
    assert (luminance(browser, ".plot .xtick text", "fill") > 0.8) == (scheme == "dark")
    shown = browser.find_elements(By.CSS_SELECTOR, ".pane img")
    assert len(shown) == 4  # two prompts in each pane
    assert all(image.get_property("naturalWidth") > 0 and image.get_attribute("alt") for image in shown)


@pytest.mark.slow
def test_figures_follow_a_change_of_the_theme(browser: webdriver.Chrome, page: Path) -> None:
    opened(browser, page, scheme="light", width=800)
    feature = {"name": "prefers-color-scheme", "value": "dark"}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [feature]})
    WebDriverWait(browser, 10).until(lambda shown: luminance(shown, ".plot .main-svg", "background-color") < 0.2)


@pytest.mark.slow
def test_the_slider_changes_the_pictures_by_keyboard(browser: webdriver.Chrome, page: Path, data: Any) -> None:
    opened(browser, page, scheme="light", width=1280)
    Select(browser.find_element(By.ID, "case")).select_by_visible_text("red > dark, seed 0")
    slider = browser.find_element(By.ID, "stage")
    sources = []
    for stage in range(3):
        assert f"Stage {stage} of 2" in slider.get_attribute("aria-valuetext")
        image = browser.find_element(By.CSS_SELECTOR, ".pane img")
        sources.append(image.get_attribute("src"))
        slider.send_keys(Keys.ARROW_RIGHT)
    (run,) = [r for r in data["pictures"]["runs"] if (r["strategy"], r["seed"]) == ("baseline", 0)]
    assert sources == [data["pictures"]["uris"][stage[0]] for stage in run["pictures"]]
    assert len(set(sources)) == 3
    (joint,) = [r for r in data["pictures"]["runs"] if r["strategy"] == "joint"]
    right = browser.find_elements(By.CSS_SELECTOR, ".pane")[1]
    assert right.find_element(By.CSS_SELECTOR, ".stage").text == f"Stage 1 of 1: {joint['stages'][1]}"
    Select(browser.find_element(By.ID, "case")).select_by_visible_text("dark > red, seed 2")
    assert "no images of this run" in right.text


@pytest.mark.slow
def test_chips_and_the_order_change_the_figures(browser: webdriver.Chrome, page: Path) -> None:
    opened(browser, page, scheme="light", width=1280)
    lines = "#stages .plot .scatterlayer .trace"
    Select(browser.find_element(By.ID, "order")).select_by_visible_text("red > dark")
    before = len(browser.find_elements(By.CSS_SELECTOR, lines))
    chip = browser.find_element(By.CSS_SELECTOR, ".chip")
    browser.execute_script("arguments[0].click()", chip)
    assert chip.get_attribute("aria-pressed") == "false"
    assert len(browser.find_elements(By.CSS_SELECTOR, lines)) == before - 5  # a line in five figures
    for chip in browser.find_elements(By.CSS_SELECTOR, ".chip[data-strategy='0']"):  # that of the trade-off too
        assert chip.get_attribute("aria-pressed") == "false"
    Select(browser.find_element(By.ID, "order")).select_by_visible_text("dark > red")
    assert len(browser.find_elements(By.CSS_SELECTOR, lines)) == 5


@pytest.mark.slow
def test_prompts_of_a_run_a_stage_and_a_metric_are_chosen(browser: webdriver.Chrome, page: Path, data: Any) -> None:
    opened(browser, page, scheme="light", width=1280)
    run = next(
        run for run in data["prompts"]["runs"] if run["name"].startswith("rid") and run["name"].endswith("seed 2")
    )
    Select(browser.find_element(By.ID, "prompt-metric")).select_by_visible_text("likeness")
    Select(browser.find_element(By.ID, "prompt-run")).select_by_visible_text(run["name"])
    Select(browser.find_element(By.ID, "prompt-stage")).select_by_visible_text("1 dark")
    worst, best = run["stages"][0]["metrics"]["likeness"]  # a metric stays chosen
    rows = browser.find_elements(By.CSS_SELECTOR, "#by-prompt tbody th[scope=row]")
    assert [row.text for row in rows] == [data["prompts"]["texts"][row[0]] for row in (*worst, *best)]
    cells = [cell.text for cell in browser.find_elements(By.CSS_SELECTOR, "#by-prompt tbody td")]
    assert cells[:3] == worst[0][1:4]
    images = browser.find_elements(By.CSS_SELECTOR, "#by-prompt img")
    assert len(images) == 4  # of two prompts, before and after
