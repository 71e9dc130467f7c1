"""Checks: the share of a partition's rows with some property, and the limits above which it warns or blocks."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pyarrow as pa
import pyarrow.compute as pc

Action = Literal["warn", "block"]


@dataclass(frozen=True)
class CheckResult:
    """The result of a check for a partition.

    Attributes:
        name: the check's name.
        value: a share between 0 and 1.
        limit: the limit that was exceeded, or the lowest one.
        action: what happens above that limit: the partition is loaded with a warning, or blocked.
        passed: whether the value is within the limit.
        detail: the numbers behind the value, as text.
    """

    name: str
    value: float
    limit: float
    action: Action
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Figures:
    """The row counts of a partition that a check needs: of the file, of the clean rows and of the publisher.

    Attributes:
        copies: clean rows that are copies of another one.
        matching: clean rows that meet the check's condition.
        sample: whether the file is a sample, see `Dataset.sample_rows`.
    """

    read: int
    clean: int
    published: int | None
    copies: int
    matching: int
    sample: bool


Share = tuple[float, str] | None
"""A share and the numbers behind it as text; None if a check does not apply."""

Condition = Callable[[pa.Array, dt.datetime, dt.datetime], pa.BooleanArray]
"""Which rows count, from a column's values and the start and the end of the partition (a null counts as false)."""


@dataclass(frozen=True)
class Check:
    """A check of a partition.

    Attributes:
        name: its name in ledgers and reports.
        ask: computes the share from the partition's figures.
        warn: above this share, the partition is loaded with a warning.
        block: above this share, the partition is blocked; existing data is unchanged.
        column: the column that it checks; it does not apply to a file without the column.
        condition: which values of the column are counted as `Figures.matching`.
        always: it blocks a sample as well.
    """

    name: str
    ask: Callable[[Figures], Share]
    warn: float | None = None
    block: float | None = None
    column: str | None = None
    condition: Condition | None = None
    always: bool = False

    def judge(self, figures: Figures) -> CheckResult | None:
        """The result for one partition; None if the check does not apply."""
        found = self.ask(figures)
        if found is None:
            return None
        value, detail = found
        limits: list[tuple[float, Action]] = []
        if self.block is not None:
            limits.append((self.block, "warn" if figures.sample and not self.always else "block"))
        if self.warn is not None:
            limits.append((self.warn, "warn"))
        for limit, action in limits:
            if value > limit:
                return CheckResult(self.name, value, limit, action, False, detail)
        limit, action = limits[-1]
        return CheckResult(self.name, value, limit, action, True, detail)


def difference_from_published(name: str, warn: float | None = None, block: float | None = None) -> Check:
    """The difference of the rows read from the published count, as a share of it."""

    def ask(figures: Figures) -> Share:
        if figures.published is None:
            return None
        share = abs(figures.read - figures.published) / figures.published
        return share, f"{figures.read:,} rows read, {figures.published:,} published"

    return Check(name, ask, warn, block)


def missing_of_published(name: str, warn: float | None = None, block: float | None = None) -> Check:
    """The rows missing from the published count, as a share of it."""

    def ask(figures: Figures) -> Share:
        if figures.published is None:
            return None
        missing = max(figures.published - figures.read, 0)
        return missing / figures.published, f"{missing:,} of {figures.published:,} published rows missing"

    return Check(name, ask, warn, block)


def rejected_rows(name: str, warn: float | None = None, block: float | None = None, *, always: bool = False) -> Check:
    """Rejected rows, as a share of the rows read."""

    def ask(figures: Figures) -> Share:
        rejected = figures.read - figures.clean
        share = rejected / figures.read if figures.read else 0.0
        return share, f"{rejected:,} of {figures.read:,} rows rejected"

    return Check(name, ask, warn, block, always=always)


def duplicate_rows(name: str, warn: float | None = None, block: float | None = None) -> Check:
    """Clean rows that are copies of another one, as a share of the clean rows."""
    return Check(name, lambda figures: _of_clean(figures.copies, "are copies of another", figures), warn, block)


def matching_rows(
    name: str,
    column: str,
    condition: Condition,
    detail: str,
    warn: float | None = None,
    block: float | None = None,
) -> Check:
    """Clean rows whose value in the column meets the condition, as a share of the clean rows; `detail` describes it."""
    return Check(name, lambda figures: _of_clean(figures.matching, detail, figures), warn, block, column, condition)


def nulls(column: str, warn: float | None = None, block: float | None = None) -> Check:
    """Clean rows without a value in the column, as a share of the clean rows."""
    name, detail = f"nulls_in_{column}", f"have no {column}"
    return matching_rows(name, column, lambda values, start, end: pc.is_null(values), detail, warn, block)


def outside_partition(values: pa.Array, start: dt.datetime, end: dt.datetime) -> pa.BooleanArray:
    """Condition on a time column: before the start of the partition, or at its end or later."""
    first, after = (pa.scalar(moment, pa.timestamp("us")) for moment in (start, end))
    return pc.or_(pc.less(values, first), pc.greater_equal(values, after))


def _of_clean(rows: int, what: str, figures: Figures) -> Share:
    return (rows / figures.clean if figures.clean else 0.0), f"{rows:,} of {figures.clean:,} rows {what}"
