"""The checks that every month must pass, with their limits, in one table.

Limits come from what the real files hold: of 20 whole green months of 2013 to 2025 and samples of yellow ones, none had
a duplicate row, at most 0.09% of pickups outside the month (green 2025-01), 1.9% of negative totals (yellow 2025-02),
0.1% of distances beyond 200 miles (green 2022-01), 47% of rows without a passenger count (green 2021-01).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

SAMPLE = 5_000
"""Up to this many rows read, a failed check only warns: it is a sample. TLC's smallest known month has 7,623."""


@dataclass(frozen=True)
class CheckResult:
    """What a check found in a month.

    Attributes:
        name: the check's.
        value: what was found, a share between 0 and 1.
        limit: the limit that was exceeded, or the first that would be.
        action: what exceeding that limit means: the month is loaded all the same, or kept aside.
        passed: whether the value is within the limit.
        detail: the figures behind the value, for people.
    """

    name: str
    value: float
    limit: float
    action: Literal["warn", "block"]
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Figures:
    """What the checks judge: rows that a month's file held (`read`, `published`), else counts over its clean rows.

    `nulls` are counted per column, for those that a check is about; `columns` are those that the file has.
    """

    read: int
    clean: int
    published: int | None
    outside: int
    negative: int
    far: int
    copies: int
    nulls: dict[str, int]
    columns: set[str]


Found = tuple[float, str] | None
"""A share and the figures behind it; None where a check has nothing to judge."""


@dataclass(frozen=True)
class Check:
    """A named question to a month, and from which share on the answer warns or blocks.

    Attributes:
        name: what it is called in ledgers and reports.
        ask: the share, from a month's figures.
        warn: a greater share is said, and the month is loaded.
        block: a greater share keeps the month aside.
        column: what the question is about; a month whose file does not have it is not asked.
        always: it blocks a sample (a file of few rows) as well.
    """

    name: str
    ask: Callable[[Figures], Found]
    warn: float | None = None
    block: float | None = None
    column: str | None = None
    always: bool = False

    def judge(self, figures: Figures) -> CheckResult | None:
        """The answer for one month, None where there is nothing to judge."""
        found = self.ask(figures) if self.column in (None, *figures.columns) else None
        if found is None:
            return None
        value, detail = found
        limits: list[tuple[float, Literal["warn", "block"]]] = []
        if self.block is not None:
            limits.append((self.block, "block" if self.always or figures.read > SAMPLE else "warn"))
        if self.warn is not None:
            limits.append((self.warn, "warn"))
        for limit, action in limits:
            if value > limit:
                return CheckResult(self.name, value, limit, action, False, detail)
        limit, action = limits[-1]
        return CheckResult(self.name, value, limit, action, True, detail)


def _off_published(figures: Figures) -> Found:
    if figures.published is None:
        return None
    share = abs(figures.read - figures.published) / figures.published
    return share, f"{figures.read:,} rows read, {figures.published:,} published"


def _short_of_published(figures: Figures) -> Found:
    if figures.published is None:
        return None
    missing = max(figures.published - figures.read, 0)
    return missing / figures.published, f"{missing:,} of {figures.published:,} published rows missing"


def _rejected(figures: Figures) -> Found:
    rejected = figures.read - figures.clean
    return rejected / figures.read if figures.read else 0.0, f"{rejected:,} of {figures.read:,} rows rejected"


def _share(count: Callable[[Figures], int], what: str) -> Callable[[Figures], Found]:
    def ask(figures: Figures) -> Found:
        rows = count(figures)
        return (rows / figures.clean if figures.clean else 0.0), f"{rows:,} of {figures.clean:,} rows {what}"

    return ask


def _nulls(column: str) -> Callable[[Figures], Found]:
    return _share(lambda figures: figures.nulls[column], f"have no {column}")


CHECKS = (
    # TLC's older CSV files hold up to 0.4% (yellow), once 9.4% (green 2019-04) fewer rows than the parquet counted.
    Check("rows_off_published", _off_published, warn=0.005),
    Check("rows_short_of_published", _short_of_published, block=0.2),
    # Zero passengers, which Postgres rejects, are 1 to 3% of a month. Half of one rejected is a layout misread, which
    # must not take the place of a good month, however few its rows are.
    Check("rows_rejected", _rejected, 0.1, 0.5, always=True),
    Check("pickups_outside_month", _share(lambda found: found.outside, "begin outside the month"), 0.002, 0.5),
    Check("negative_totals", _share(lambda found: found.negative, "have a negative total"), 0.03, 0.5, "total_amount"),
    Check(
        "distances_beyond_200_miles",
        _share(lambda found: found.far, "are longer than 200 miles"),
        0.002,
        0.5,
        "trip_distance",
    ),
    # A file that holds its month twice has a share of a half.
    Check("duplicate_rows", _share(lambda found: found.copies, "are copies of another"), 0.0001, 0.4),
    Check("nulls_in_passenger_count", _nulls("passenger_count"), 0.6, None, "passenger_count"),
    Check("nulls_in_dropoff_datetime", _nulls("dropoff_datetime"), 0.05, None, "dropoff_datetime"),
    Check("nulls_in_trip_distance", _nulls("trip_distance"), 0.01, 0.5, "trip_distance"),
    Check("nulls_in_total_amount", _nulls("total_amount"), 0.01, 0.5, "total_amount"),
)
"""Every check, in the order of the reports: a share above `warn` is said, one above `block` keeps the month aside."""
