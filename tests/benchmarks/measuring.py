"""Timing variants of the same work against each other."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

Work = Callable[[int], object]


@dataclass(frozen=True, slots=True)
class Figure:
    """What one variant took: microseconds (median), and how many times the first variant's."""

    name: str
    microseconds: float
    ratio: float
    queries: int | None = None


def compare(
    variants: dict[str, Work], *, rounds: int, queries: dict[str, int] | None = None
) -> list[Figure]:
    """Run the variants in shuffled order, round by round; the first one is the baseline.

    Shuffled per round, since a machine that slows down for a while then slows all of them.
    """
    taken: dict[str, list[int]] = {name: [] for name in variants}
    order = list(variants)
    clock = time.perf_counter_ns
    for number in range(-rounds // 10, rounds):
        random.shuffle(order)
        for name in order:
            work = variants[name]
            begun = clock()
            work(number)
            if number >= 0:
                taken[name].append(clock() - begun)
    medians = {name: statistics.median(times) / 1000 for name, times in taken.items()}
    baseline = medians[next(iter(variants))]
    return [
        Figure(name, median, median / baseline, (queries or {}).get(name))
        for name, median in medians.items()
    ]


def per_second(work: Callable[[], object], *, seconds: float = 0.5) -> float:
    """How often the work can be done in a second, on one core."""
    count, begun = 0, time.perf_counter()
    while (elapsed := time.perf_counter() - begun) < seconds:
        for _ in range(100):
            work()
        count += 100
    return count / elapsed
