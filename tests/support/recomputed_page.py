"""A page of findings, read and compared cell by cell with what `recomputed` computes from the record."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from recomputed import MAIN, NAN, UNITS, Expected, Recomputed, holm, needed, student, tested

NUMBER = r"-?\d+(?:\.\d+)?"
PARTS = ("findings", "tables")
FIGURE = r"(?<![\w.])\d+\.\d+(?![\w.]*\d)"  # not of a version


class Between(NamedTuple):
    """An interval."""

    low: float
    high: float


class Chance(NamedTuple):
    """A p value, which may be too small to be printed."""

    p: float


def block(text: str, name: str) -> str:
    """The findings of a record and the tables behind them."""
    parts = [re.findall(f"<!-- {part} {name} -->\n(.*?)<!-- end of {part} {name} -->", text, re.S) for part in PARTS]
    ((findings,), (behind,)) = parts
    return f"{findings}\n{behind}"


def tables(text: str, name: str) -> dict[str, list[list[str]]]:
    """The tables of a record by title; the first row is the head."""
    found = {}
    for part in block(text, name).split("### ")[1:]:
        lines = [re.split(r" \| ", line.strip("| ")) for line in part.splitlines() if line.startswith("| ")]
        found[part.splitlines()[0]] = [line for line in lines if set(line) != {"---"}]
    return found


def records(text: str) -> set[str]:
    """The names of the records that a page has findings or tables of."""
    return set(re.findall(f"<!-- (?:{'|'.join(PARTS)}) (\\w+) -->", text))


def strange_figures(text: str) -> set[str]:
    """Figures of a page's text that no table of its findings has, but for sections with commands of their own."""
    shown = " ".join(block(text, name) for name in records(text))
    rest = re.sub(r"<!-- (\w+ \w+) -->.*?<!-- end of \1 -->", "", text, flags=re.S)
    sections = re.split(r"^## ", rest, flags=re.M)
    prose = " ".join(s for s in sections if not re.search(r"^    (?!python benchmarks/(?:findings|record))", s, re.M))
    return set(re.findall(FIGURE, re.sub(r"`[^`]*`", "", prose))) - set(re.findall(FIGURE, shown))


def agrees(cell: str, expected: Any) -> bool:
    """Whether a cell shows what is expected, in the decimals that it shows."""
    if isinstance(expected, str):
        return cell == expected
    if isinstance(expected, Chance) and expected.p < 1e-4:
        return cell == "< 1e-4"
    values = [v for v in np.atleast_1d(expected).tolist() if not math.isnan(v)]
    shown = re.findall(NUMBER, re.sub(r"±|to", " ", cell))
    if not values or len(shown) != len(values):
        return cell == "-" and not values
    limits = [0.5001 * 10.0 ** -len(text.partition(".")[2]) for text in shown]
    return all(abs(float(text) - v) <= limit for text, v, limit in zip(shown, values, limits, strict=True))


def wrong(text: str, folder: Path, only: str = "") -> tuple[int, list[str]]:
    """How many cells of numbers were compared with the record in a folder, and those that do not agree. A table nobody
    recomputes is an error."""
    known, compared, found = Recomputed(folder), 0, []
    for title, (head, *rows) in ((t, table) for t, table in tables(text, folder.name).items() if only in ("", t)):
        expected = _counts(text, folder.name, head, rows) if title == "In short" else EXPECTED[title](known, head, rows)
        for row, cells in zip(rows, expected, strict=True):
            assert len(head) == len(row) == len(cells), (title, row, cells)
            for column, cell, value in zip(head, row, cells, strict=True):
                compared += not isinstance(value, str)
                if not agrees(cell, value):
                    found.append(f"{title}: {row[0]}, {column}: {cell} is {value}")
    return compared, found


def _findings(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    effects = [_compared(known, row[2], row[3]) for row in rows]
    corrected = [NAN] * len(rows)
    for finding in {row[0] for row in rows}:
        own = [i for i, row in enumerate(rows) if row[0] == finding]
        for i, p in zip(own, holm([effects[i]["p"] for i in own]), strict=True):
            corrected[i] = p
    found = []
    for row, effect, p in zip(rows, effects, corrected, strict=True):
        interval = Between(effect["mean"] - effect["half"], effect["mean"] + effect["half"])
        absent = "no gain" if effect.get("gain", 1.0) <= 0 else "not reached"
        verdict = absent if math.isnan(effect["mean"]) else _verdict(known, row, effect["mean"], p)
        counts = [str(effect["seeds"]), str(effect["prompts"] or "-")]
        seeds = needed(effect["mean"], effect["sd"])
        metric = re.split(r",? ", row[3])[0]
        own = known.lines["metric"].get(metric, {"unit": "1 - SSIM"})["unit"] or "score"
        unit = next((name for name in UNITS if row[3] in (f"learned, {name}", f"left, {name}")), own)
        many = row[10] if seeds != seeds and effect["sd"] == effect["sd"] else seeds
        found.append([row[0], verdict, row[2], row[3], effect["mean"], interval, unit, *counts, Chance(p), many])
    return found


def _counts(text: str, name: str, head: list[str], rows: list[list[str]]) -> list[Expected]:
    """How often each finding has each verdict in the table of findings, those that hold least first."""
    found = [(row[0], row[1]) for row in tables(text, name)["Findings"][1:]]
    assert {row[0] for row in rows} == {finding for finding, _ in found}
    shares = [found.count((row[0], "holds")) / sum(finding == row[0] for finding, _ in found) for row in rows]
    assert shares == sorted(shares)
    assert {verdict for _, verdict in found} <= set(head)
    return [[row[0], *(str(found.count((row[0], verdict))) for verdict in head[1:])] for row in rows]


def _compared(known: Recomputed, compared: str, measure: str) -> dict[str, float]:
    if match := re.fullmatch(r"rid minus front of ([\w-]+)", compared):
        return known.matched(match[1], known.measure(measure.removeprefix("drift at ")), known.measure("drift"))
    if " minus " in compared:
        return tested(known.minus(*compared.split(" minus "), known.measure(measure)))
    name, _, which = measure.partition(", ")
    if match := re.fullmatch(r"(\d) minus 1", which):
        last = int(match[1])
        return tested(
            known.seeds(compared, lambda run: known.forgotten(run, name, last) - known.forgotten(run, name, 1))
        )
    assert which == "rest"
    real, sums = known.later(compared, name)
    return tested({seed: real[seed] - sums[seed] for seed in real})


def _verdict(known: Recomputed, row: list[str], mean: float, p: float) -> str:
    finding, _, _, measure, *_ = row
    falls = finding.startswith(("at an equal gain", "a reward loses more")) or " forgets less of a reward " in finding
    drifts = " drifts less " in finding
    positive = not falls and not (drifts and (measure == "drift" or known.sign(measure) < 0))
    if math.isnan(p):
        return "not tested"
    return "not shown" if p >= 0.05 else "holds" if (mean > 0) == positive else "the opposite holds"


def _methods(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    labels = {run["label"] for run in known.runs}
    assert {row[0] for row in rows} == labels
    cases = {(tuple(run["rewards"]), run["seed"]) for run in known.runs if run["label"] in MAIN}
    found = []
    for label in (row[0] for row in rows):
        runs = known.labelled(label)
        counts = [{run["seed"] for run in runs}, {tuple(run["rewards"]) for run in runs}, runs]
        models = {(run["seed"], known.model(run)) for run in runs}
        missing = len(cases) - len(runs) if label in MAIN else 0
        own = [*(str(len(each)) for each in counts), str(len(models)), str(missing)]
        found.append([label, *own, _settings(known, label)])
    return found


def _settings(known: Recomputed, label: str) -> str:
    every = {run["label"]: known.lines["settings"][run["settings"]]["values"] for run in known.runs}
    alike = [values for values in every.values() if values["strategy"] == every[label]["strategy"]]
    keys = sorted({key for values in alike for key in values if len({str(v.get(key)) for v in alike}) > 1})
    text = ", ".join(f"{key} {every[label].get(key, 'unset')}" for key in keys)
    return re.sub(r"([\\|`*<\[])", r"\\\1", text) or "-"


def _units(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    found = []
    for name in (row[0] for row in rows):
        values = known.at(known.runs[0], name, 0)
        sd = float(np.std(values, ddof=1)) if values.ndim and np.ptp(values) else NAN
        single = known.size("single gain", name) if name in known.rewards else NAN
        better = "higher" if known.sign(name) > 0 else "lower"
        found.append([name, better, known.mean(known.runs[0], name, 0), sd, single])
    return found


def _gains(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    labels = [row[0] for row in rows]
    places: dict[str, dict[int, list[int]]] = {label: {} for label in labels}
    for reward in known.rewards:
        left = {label: known.seeds(label, known.measure(f"{reward} left")) for label in labels}
        for label in labels:
            for seed, value in left[label].items():
                others = [float(np.mean(own[seed])) for own in left.values() if seed in own]
                places[label].setdefault(seed, []).append(1 + sum(other > float(np.mean(value)) for other in others))
    ranks = {label: student([float(np.mean(own)) for own in places[label].values()]) for label in labels}
    return [[x, *(known.spread(x, known.measure(name)) for name in head[1:-1]), ranks[x]] for x in labels]


def _final(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    return [[row[0], *(known.spread(row[0], known.measure(name)) for name in head[1:])] for row in rows]


def _forgetting(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    return [
        [row[0], *(known.spread(row[0], lambda run, name=name: known.forgotten(run, name, -1)) for name in head[1:])]
        for row in rows
    ]


def _by_stage(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    found = []
    for label, metric, *_ in rows:
        numbers = range(1, len(head) - 2)
        assert head[2:] == [*(f"stage {t}" for t in numbers), f"{numbers[-1]} minus 1"]
        after = [lambda run, t=t, metric=metric: known.forgotten(run, metric, t) for t in numbers]
        stages = [known.spread(label, of, t) for t, of in enumerate(after, 1)]
        growth = known.spread(label, lambda run, after=after: after[-1](run) - after[0](run))
        found.append([label, metric, *stages, growth])
    return found


def _differences(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    found = []
    for row in rows:
        one, other = row[0].split(" minus ")
        effects = [tested(known.minus(one, other, known.measure(name))) for name in head[2:]]
        found.append([row[0], str(effects[0]["seeds"]), *((e["mean"], e["half"]) for e in effects)])
    return found


def _fronts(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    means = {(r[0], name): known.spread(r[0], known.measure(name)) for r in rows for name in head[1 : -len(UNITS)]}
    found = []
    for row in rows:
        beaten = []
        for unit in UNITS:
            place = {r[0]: (means[r[0], f"left, {unit}"][0], -means[r[0], "drift"][0]) for r in rows}
            x, y = place[row[0]]
            names = [n for n, (a, b) in place.items() if n != row[0] and a >= x and b >= y]
            beaten.append(", ".join(names) or "none")
        found.append([row[0], *(means[row[0], name] for name in head[1 : -len(UNITS)]), *beaten])
    return found


def _matched(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    found = []
    for family, equal, *_ in rows:
        each = [known.matched(family, known.measure(equal), known.measure(name)) for name in head[4:]]
        seeds = int(each[0]["seeds"])
        reached = f"{int(each[0]['reached'])} of {seeds}"
        found.append([family, equal, str(seeds), reached, *((e["mean"], e["half"]) for e in each)])
    return found


def _rates(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    found = []
    for label, reward, *_ in rows:
        effects = [tested(known.rate(label, reward, name)) for name in head[3:]]
        found.append([label, reward, str(effects[0]["seeds"]), *((e["mean"], e["half"]) for e in effects)])
    return found


def _later(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    found = []
    for label, reward, *_ in rows:
        real, sums = known.later(label, reward)
        rest = [real[seed] - sums[seed] for seed in real]
        effects = [student(list(real.values())), student(list(sums.values())), student(rest)]
        share = NAN if abs(effects[0][0]) <= effects[0][1] else effects[1][0] / effects[0][0]
        found.append([label, reward, str(len(real)), *effects, 100 * share])
    return found


def _teacher(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    found = []
    for label, reward, *_ in rows:
        ratios, updates, constants = known.ratio(label, reward)
        (length,) = constants
        found.append([label, reward, str(len(ratios)), "; ".join(map(str, sorted(updates))), length, student(ratios)])
    return found


def _costs(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    found = []
    for label in (row[0] for row in rows):
        names = {row[2] for run in known.labelled(label) for row in run["rows"]}
        stages = [stage for stage in (known.lines["stage"][name] for name in names) if stage["updates"]]
        seconds = float(np.median([stage["seconds"] / stage["updates"] for stage in stages]))
        found.append([label, str(len(stages)), str(sum(stage["updates"] for stage in stages)), seconds])
    return found


def _environments(known: Recomputed, head: list[str], rows: list[list[str]]) -> list[Expected]:
    names = {"torch": "packages.torch", "rilbench": "packages.rilbench"}
    every = [known.lines["environment"][run["environment"]] for run in known.runs]
    counts = Counter(tuple(str(each.get(names.get(key, key), "-")) for key in head[:-1]) for each in every)
    return [[*row[:-1], str(counts[tuple(row[:-1])])] for row in rows]


EXPECTED: dict[str, Callable[[Recomputed, list[str], list[list[str]]], Sequence[Expected]]] = {
    "Findings": _findings,
    "Methods": _methods,
    "Base values and units": _units,
    "Gains": _gains,
    "Final values": _final,
    "Forgetting": _forgetting,
    "Forgetting by stage": _by_stage,
    "Differences to RID": _differences,
    "Fronts of gain against drift": _fronts,
    "At RID's gain": _matched,
    "Exchange rates": _rates,
    "Later change, and what exchange rates explain": _later,
    "Teacher": _teacher,
    "Ablations": _differences,
    "Costs": _costs,
    "Environments": _environments,
}
