"""Parses the orders of rewards and the seeds of a study."""

from __future__ import annotations

import math
import random
from collections import Counter
from collections.abc import Sequence
from itertools import permutations
from typing import Any

from rilbench.contracts.errors import ConfigError, UsageError
from rilbench.contracts.expression import items
from rilbench.contracts.settings import as_type
from rilbench.contracts.values import split_names
from rilbench.contracts.yaml_text import WHOLE

Order = tuple[str, ...]
MOST = 720  # orders of a study: the permutations of six rewards
MOST_REWARDS = 50
MOST_SEEDS = 1000


def read_orders(value: Any, rewards: Sequence[str]) -> tuple[Order, ...]:
    """The orders meant by `all`, `random:N`, one order, or a list of orders; None is the order of `rewards`.

    Raises UsageError when an order is no permutation of the given rewards, or when there are too many orders.
    """
    rewards = items(rewards)
    texts = list(value) if isinstance(value, list | tuple) else [] if value is None else [value]
    if texts == ["all"]:
        if count(_named(rewards)) > MOST:
            raise UsageError(
                f"orders: {len(rewards)} rewards have {count(rewards)} orders; draw some, for example random:10"
            )
        return tuple(dict.fromkeys(permutations(rewards)))
    if len(texts) == 1 and isinstance(texts[0], str) and texts[0].startswith("random:"):
        return _random(texts[0], _named(rewards))
    drawn = [text for text in texts if text == "all" or str(text).startswith("random:")]
    if drawn:
        raise UsageError(f"orders: {drawn[0]!r} cannot be combined with orders; give it alone, or list orders")
    orders = [items(as_type(order, tuple[str, ...], "orders")) for order in texts]
    for order in orders:
        if not order or (rewards and Counter(order) != Counter(rewards)):
            raise UsageError(
                f"orders: {','.join(order)!r} is not an order of {','.join(rewards)}; give all, random:N, or every "
                "reward once, for example --orders hps,aesthetic"
            )
    return tuple(dict.fromkeys(orders)) or (_named(rewards),)


def read_seeds(value: Any) -> tuple[int, ...]:
    """The seeds meant by a number of seeds, or by a list such as `0,5,7`; `5,` is seed 5 alone."""
    text = ",".join(map(str, value)) + "," if isinstance(value, list | tuple) else str(value)
    try:
        numbers = [as_type(part, int, "seeds") for part in split_names(text)]
    except ConfigError as error:
        raise UsageError(f"{error}; give a number of seeds, or a list such as 0,5,7") from None
    once("seeds", numbers)
    if "," not in text and sum(numbers) > MOST_SEEDS:
        raise UsageError(f"seeds: {text} seeds, more than {MOST_SEEDS}; for the seed {text} alone give --seeds {text},")
    seeds = tuple(numbers) if "," in text else tuple(range(sum(numbers)))
    if not seeds or min(seeds) < 0:
        raise UsageError(f"seeds: {text[:70]!r} contains no seed; give a number of seeds, or a list such as 0,5,7")
    return seeds


def once(key: str, values: Sequence[Any]) -> None:
    """Raises UsageError when a value is given twice."""
    for value, n in Counter(values).items():
        if n > 1:
            raise UsageError(f"{key}: {value} is given {n} times; give it once")


def count(rewards: Sequence[str]) -> int:
    """The number of distinct orders; rewards may be repeated."""
    return math.factorial(len(rewards)) // math.prod(math.factorial(n) for n in Counter(rewards).values())


def _named(rewards: Sequence[str]) -> Order:
    if not rewards:
        raise UsageError("name the rewards of the study, for example --rewards aesthetic,hps,compressibility")
    if len(rewards) > MOST_REWARDS:
        raise UsageError(f"rewards: {len(rewards)} exceed the limit of {MOST_REWARDS} rewards in a study")
    return tuple(rewards)


def _random(text: str, rewards: Order) -> tuple[Order, ...]:
    """Distinct orders that depend on the rewards and the number only, so a repeated command gives the same orders."""
    number = text.removeprefix("random:")
    most = min(MOST, count(rewards))
    if not WHOLE.fullmatch(number) or len(number) > 9 or not 0 < int(number) <= most:
        raise UsageError(f"orders: {text[:70]!r} is not random:N with N from 1 to {most}")
    draw, orders = random.Random("-".join(rewards)), dict[Order, None]()
    while len(orders) < int(number):
        orders[tuple(draw.sample(rewards, len(rewards)))] = None
    return tuple(orders)
