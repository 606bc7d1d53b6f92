"""Combinations of rewards, as an item of a run's `rewards`: `aesthetic+0.5*hps`, `max(a,b)`, `hinge(aesthetic,6)`.

item      sum
sum       term + term + ...
term      [-] [NUMBER *] factor
factor    REWARD | ( sum ) | max(sum, sum, ...) | min(sum, sum, ...)
          | hinge(sum, NUMBER)          min(sum, NUMBER): above NUMBER there is no reward and no gradient
          | unit(sum)                   the same value; its gradient has norm 1 for each image
          | ramp(sum, NUMBER, NUMBER)   a factor that goes from the first to the second number during the stage
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache, cached_property

from rilbench.contracts.errors import ConfigError

SPECIAL = re.compile(r"^\s*-|[+*(),]")  # a text without these is the name of a reward
TOKEN = re.compile(
    r"\s*(?:(?P<number>(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?(?![\w.]))|(?P<name>[^\W_][\w.-]*)|(?P<sign>[-+*(),]))"
)
NUMBERS = {"max": 0, "min": 0, "hinge": 1, "unit": 0, "ramp": 2}  # function -> how many numbers come last
SEVERAL = ("max", "min")
DEEPEST = 20  # nested parentheses


@dataclass(frozen=True)
class Expression:
    """A parsed item. kind: `name`, `sum`, `times` or a function; name: of a reward; numbers: factor or thresholds."""

    kind: str
    parts: tuple[Expression, ...] = ()
    name: str = ""
    numbers: tuple[float, ...] = ()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The rewards in it, each once."""
        return (self.name,) if self.name else tuple(dict.fromkeys(name for part in self.parts for name in part.names))

    @property
    def scheduled(self) -> bool:
        """Whether it changes during a stage."""
        return self.kind == "ramp" or any(part.scheduled for part in self.parts)

    def __str__(self) -> str:
        """The canonical text: without spaces, numbers in their shortest form."""
        texts = [*map(str, self.parts), *map(_number, self.numbers)]
        if self.kind == "times":
            inner = f"({texts[0]})" if self.parts[0].kind in ("sum", "times") else texts[0]
            return f"{texts[1]}*{inner}"
        if self.kind == "sum":  # the order of additions decides the last bit
            return "+".join(f"({part})" if part.kind == "sum" else str(part) for part in self.parts)
        return self.name or f"{self.kind}({','.join(texts)})"


@cache
def parse(text: str) -> Expression:
    """The expression of an item; ConfigError that points to the character where it cannot be read."""
    if not SPECIAL.search(text):
        return Expression("name", name=text)
    return _Parser(text).item()


def items(texts: Sequence[str]) -> tuple[str, ...]:
    """The items of a list in canonical form. One that a list was split in at a comma in parentheses is joined again."""
    found: list[str] = []
    for text in texts:
        if found and found[-1].count("(") > found[-1].count(")"):
            found[-1] += f",{text}"
        else:
            found.append(text)
    return tuple(str(parse(text)) for text in found)


def names_in(texts: Iterable[str]) -> tuple[str, ...]:
    """The rewards in items, each once."""
    return tuple(dict.fromkeys(name for text in texts for name in parse(text).names))


class _Parser:
    """Reads one item from left to right."""

    def __init__(self, text: str) -> None:
        self.text, self.at, self.depth = text, 0, 0

    def item(self) -> Expression:
        found = self._sum()
        if self._peek()[0]:
            minus = "; to subtract, write +-1*REWARD" if self._peek()[1] == "-" else ""
            self._fail(f"expected + or the end{minus}")
        return found

    def _sum(self) -> Expression:
        self.depth += 1
        if self.depth > DEEPEST:
            self._fail("too many parentheses within each other")
        terms = [self._term()]
        while self._take("+"):
            terms.append(self._term())
        self.depth -= 1
        return terms[0] if len(terms) == 1 else Expression("sum", tuple(terms))

    def _term(self) -> Expression:
        sign = -1.0 if self._take("-") else 1.0
        if self._peek()[0] == "number":
            factor = sign * self._number()
            if not self._take("*"):
                self._fail("expected * and a reward after the number")
            return Expression("times", (self._factor(),), numbers=(factor,))
        found = self._factor()
        return found if sign > 0 else Expression("times", (found,), numbers=(sign,))

    def _factor(self) -> Expression:
        kind, token = self._peek()
        if kind == "name":
            self._next()
            return self._call(token) if token in NUMBERS and self._take("(") else Expression("name", name=token)
        if not self._take("("):
            self._fail("expected a reward, a number or (")
        found = self._sum()
        self._need(")")
        return found

    def _call(self, function: str) -> Expression:
        parts, numbers = [self._sum()], []
        while function in SEVERAL and self._take(","):
            parts.append(self._sum())
        for _ in range(NUMBERS[function]):
            self._need(",")
            sign = -1.0 if self._take("-") else 1.0
            if self._peek()[0] != "number":
                self._fail("expected a number")
            numbers.append(sign * self._number())
        if function in SEVERAL and len(parts) == 1:
            self._fail(f"expected , and another reward for {function}")
        self._need(")")
        return Expression(function, tuple(parts), numbers=tuple(numbers))

    def _number(self) -> float:
        value = float(self._peek()[1])
        if value > 1e9:
            self._fail("expected a number of at most 1e9")
        self._next()
        return value

    def _peek(self) -> tuple[str, str]:
        """Kind and text of the next token; empty at the end."""
        match = TOKEN.match(self.text, self.at)
        if match is None or match.lastgroup is None:
            if self.text[self.at :].strip():
                self._fail("this character is not allowed")
            return "", ""
        return match.lastgroup, match[match.lastgroup]

    def _next(self) -> None:
        match = TOKEN.match(self.text, self.at)
        assert match is not None
        self.at = match.end()

    def _take(self, sign: str) -> bool:
        if self._peek() != ("sign", sign):
            return False
        self._next()
        return True

    def _need(self, sign: str) -> None:
        if not self._take(sign):
            self._fail(f"expected {sign}")

    def _fail(self, why: str) -> None:
        rest = self.text[self.at :]
        at = self.at + len(rest) - len(rest.lstrip())
        found = f"{self.text[at]!r}" if at < len(self.text) else "the end"
        raise ConfigError(f"rewards: {self.text!r} cannot be read at character {at + 1}, {found}: {why}")


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() else repr(value)
