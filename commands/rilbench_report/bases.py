"""Base models that runs start from, when a report has more than one: what sets them apart, and who is on which."""

from __future__ import annotations

from rilbench_report.runs import Base
from rilbench_report.study import Study
from rilbench_report.words import listed

ALONE = "what its own runs do not record"


def settings_of(study: Study, base: Base) -> str:
    """`spacing trailing`: in what a base model or its measurement is not the first one's."""
    differing = sorted(base - study.bases[0])
    return ", ".join(f"{key.rpartition('.')[2]} {value}" for key, value in differing) or ALONE


def other_bases(study: Study) -> str:
    """A sentence on the strategies that were measured on another base model; empty when none was."""
    told = []
    for base in study.bases[1:]:
        marked = [s for s in study.strategies if study.base_of(s) == base]
        told.append(f"{study.mark(marked[0])} {listed(marked)}: {settings_of(study, base)}")
    if not told:
        return ""
    return (
        f"Not all strategies start from the same base model, or are measured alike; marked are {'; '.join(told)}. "
        "They are not ranked with the others; look at their changes, not at their values."
    )
