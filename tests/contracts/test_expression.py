"""Expressions over rewards: what they are read as, and where they cannot be read."""

from __future__ import annotations

import pytest

from rilbench.contracts.errors import ConfigError
from rilbench.contracts.expression import items, names_in, parse
from rilbench.contracts.values import split_names


@pytest.mark.parametrize(
    ("text", "canonical", "names"),
    [
        ("hps", "hps", ("hps",)),
        ("wise-one.2", "wise-one.2", ("wise-one.2",)),
        (" aesthetic + 0.50 * hps ", "aesthetic+0.5*hps", ("aesthetic", "hps")),
        ("-2*a+-b", "-2*a+-1*b", ("a", "b")),
        ("-a", "-1*a", ("a",)),
        ("(a+b)+a", "(a+b)+a", ("a", "b")),
        ("2*(a+b)", "2*(a+b)", ("a", "b")),
        ("2*(3*a)", "2*(3*a)", ("a",)),
        ("max( a, min(b ,c) )", "max(a,min(b,c))", ("a", "b", "c")),
        ("hinge(aesthetic,6.0)", "hinge(aesthetic,6)", ("aesthetic",)),
        ("unit(a)+ramp(b, 0, -1e-3)", "unit(a)+ramp(b,0,-0.001)", ("a", "b")),
        ("max+min", "max+min", ("max", "min")),
    ],
)
def test_canonical_form(text: str, canonical: str, names: tuple[str, ...]) -> None:
    assert items([text]) == (canonical,)
    assert items([canonical]) == (canonical,)
    assert names_in([text]) == names


@pytest.mark.parametrize(
    ("text", "at", "why"),
    [
        ("aesthetic+*hps", 11, "expected a reward"),
        ("a+", 3, "the end: expected a reward"),
        ("max(a)", 6, "another reward for max"),
        ("hinge(a,b)", 9, "expected a number"),
        ("hinge(a)", 8, "expected ,"),
        ("(a+b", 5, "expected )"),
        ("a+b)", 4, "expected + or the end"),
        ("2*a - b", 5, "to subtract, write +-1*REWARD"),
        ("2+a", 2, "expected * and a reward"),
        ("a + b & c", 7, "not allowed"),
        ("1e99*a", 1, "at most 1e9"),
        ("(" * 30 + "a" + ")" * 30, 21, "too many parentheses"),
    ],
)
def test_an_error_points_to_the_character(text: str, at: int, why: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse(text)
    assert f"character {at}" in str(error.value)
    assert why in str(error.value)


def test_lists_are_not_split_in_parentheses() -> None:
    assert split_names("max(a,b), hinge(c,6),d") == ["max(a,b)", "hinge(c,6)", "d"]
    assert items(["max(a", " min(b", "c))", "d"]) == ("max(a,min(b,c))", "d")
