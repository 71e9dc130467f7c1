"""Random draws for generated months: fast over a hundred thousand rows at once, the same for the same seed."""

from __future__ import annotations

import calendar
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from flows.datasets.dataset import Partition

_SLOTS = 1 << 16


class Odds:
    """Draws values by their weights (of any sum), by looking up a random 16-bit number in a table.

    The precision is 1 in 65,536; a value with lower odds than that may never be drawn.
    """

    def __init__(self, odds: Mapping[Any, float]) -> None:
        edges = np.round(np.cumsum(list(odds.values())) / sum(odds.values()) * _SLOTS).astype(int)
        self._table = np.repeat(np.array(list(odds)), np.diff(edges, prepend=0))

    def draw(self, rng: np.random.Generator, rows: int) -> NDArray[Any]:
        """`rows` values, int64 or float64 as the values are."""
        return self._table[rng.integers(0, _SLOTS, rows, dtype=np.uint16)]


def chosen(rng: np.random.Generator, rows: int, share: float) -> NDArray[np.int64]:
    """Positions of about `share` of the rows (a fraction of a row with that probability)."""
    count = int(rows * share + rng.random())
    return rng.integers(0, rows, count)


def spread(rng: np.random.Generator, rows: int, low: float, high: float) -> NDArray[np.float64]:
    """`rows` numbers evenly between low and high."""
    return low + (high - low) * rng.random(rows)


class Clock:
    """Pickup times of a month, by 24 weights for the hours of a working day and 7 for the days from Monday on.

    At the weekend the hours are shifted by two, as in real files.
    """

    def __init__(self, month: Partition, hours: Sequence[float], weekdays: Sequence[float]) -> None:
        first, days = calendar.monthrange(month.start.year, month.start.month)
        weights = [
            np.roll(hours, 2 if weekday >= 5 else 0) * weekdays[weekday]
            for weekday in ((first + day) % 7 for day in range(days))
        ]
        self.start = calendar.timegm(month.first_day.timetuple())
        self.seconds = days * 86_400
        self._edges = np.arange(days * 24 + 1) * 3600.0
        self._reached = np.concatenate([[0.0], np.cumsum(weights) / np.sum(weights)])

    def at(self, fraction: NDArray[np.float64]) -> NDArray[np.int64]:
        """The time, in seconds since 1970, at which that fraction (0 to 1) of the month's trips has begun."""
        seconds = np.interp(fraction, self._reached, self._edges).astype(np.int64)
        return self.start + np.minimum(seconds, self.seconds - 1)

    def in_order(self, rng: np.random.Generator, index: NDArray[np.int64], rows: int) -> NDArray[np.int64]:
        """Times of the rows `index` of `rows`, ascending over the month with deviations of up to hours."""
        fraction = (index + 0.5) / max(rows, 1) + spread(rng, len(index), -0.005, 0.005)
        # Mirrored at both ends: clipping would put many trips at the month's first second.
        return self.at(1.0 - np.abs(1.0 - np.abs(fraction)))

    def strays(self, rng: np.random.Generator, count: int) -> NDArray[np.int64]:
        """Times outside the month: mostly hours before or after it, some years before, as from a reset clock."""
        before = self.start - rng.integers(1, 4 * 3600, count)
        after = self.start + self.seconds + rng.integers(0, 2 * 86_400, count)
        dead = calendar.timegm((2008, 12, 31, 12, 0, 0)) + rng.integers(0, 86_400, count)
        kind = rng.integers(0, 10, count)
        return np.where(kind < 6, before, np.where(kind < 8, after, dead))


def zones(*hot: int) -> Odds:
    """All 265 taxi zones: the hot ones often, in descending order, the others rarely."""
    return Odds(dict.fromkeys(range(1, 266), 1.0) | {zone: 250.0 / (rank + 3) for rank, zone in enumerate(hot)})
