"""Orders of rewards and seeds as people write them."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Any

from rilbench.errors import UsageError
from rilbench.values import split_names

Order = tuple[str, ...]
MOST = 720  # permutations that `all` lists: those of six rewards


def read_orders(value: Any, rewards: Sequence[str]) -> tuple[Order, ...]:
    """The orders meant by `all`, `random:N`, one order, or a list of orders; nothing means the rewards as given.

    UsageError when an order is no permutation of the rewards, if these are given, or when there are too many.
    """
    texts = [value] if isinstance(value, str) else list(value or ())
    if texts == ["all"]:
        return _all(_named(rewards))
    if len(texts) == 1 and isinstance(texts[0], str) and texts[0].startswith("random:"):
        return _random(texts[0], _named(rewards))
    drawn = [text for text in texts if text == "all" or str(text).startswith("random:")]
    if drawn:
        raise UsageError(f"orders: {drawn[0]!r} stands for orders of all rewards; give it alone, or name orders")
    orders = [tuple(split_names(order) if isinstance(order, str) else map(str, order)) for order in texts]
    for order in orders:
        if not order or (rewards and Counter(order) != Counter(rewards)):
            raise UsageError(
                f"orders: {','.join(order)!r} is no order of {','.join(rewards)}; write all, random:N, or every reward "
                "once, for example --orders hps,aesthetic"
            )
    return tuple(dict.fromkeys(orders)) or (_named(rewards),)


def read_seeds(value: Any) -> tuple[int, ...]:
    """The seeds meant by a number of seeds, or by a list such as `0,5,7`; `5,` is seed 5 alone."""
    text = ",".join(map(str, value)) + "," if isinstance(value, list | tuple) else str(value)
    try:
        numbers = [int(part) for part in split_names(text)]
    except ValueError:
        raise UsageError(f"seeds: {text!r} is neither a number of seeds nor a list such as 0,5,7") from None
    once("seeds", numbers)
    seeds = tuple(numbers) if "," in text else tuple(range(sum(numbers)))
    if not seeds or min(seeds) < 0:
        raise UsageError(f"seeds: {text!r} gives no seed; write how many, or a list such as 0,5,7")
    return seeds


def once(key: str, values: Sequence[Any]) -> None:
    """UsageError when something is named twice, which most likely is a slip."""
    for value, n in Counter(values).items():
        if n > 1:
            raise UsageError(f"{key}: {value} is named {n} times; name it once")


def count(rewards: Sequence[str]) -> int:
    """How many distinct orders there are; a reward may be repeated."""
    return math.factorial(len(rewards)) // math.prod(math.factorial(n) for n in Counter(rewards).values())


def _named(rewards: Sequence[str]) -> Order:
    if not rewards:
        raise UsageError("name the rewards of the study, for example --rewards aesthetic,hps,compressibility")
    return tuple(rewards)


def _all(rewards: Order) -> tuple[Order, ...]:
    if count(rewards) > MOST:
        raise UsageError(
            f"orders: {len(rewards)} rewards have {count(rewards)} orders; draw some of them, for example random:10"
        )
    return tuple(dict.fromkeys(permutations(rewards)))


def _random(text: str, rewards: Order) -> tuple[Order, ...]:
    """Distinct orders that depend on the rewards and the number only, so that a repeated command means the same."""
    number = text.removeprefix("random:")
    if not number.isdecimal() or not 0 < int(number) <= count(rewards):
        raise UsageError(f"orders: {text!r} wants a number from 1 to {count(rewards)}, the orders there are")
    draw, orders = random.Random("-".join(rewards)), dict[Order, None]()
    while len(orders) < int(number):
        orders[tuple(draw.sample(rewards, len(rewards)))] = None
    return tuple(orders)
