"""Checks: a question about a partition's rows, and from which share of rows on the answer warns or blocks."""

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
    """What a check found in a partition.

    Attributes:
        name: the check's name.
        value: what was found, a share between 0 and 1.
        limit: the limit that was exceeded, or the first that would be.
        action: what exceeding that limit means: the partition is loaded all the same, or blocked.
        passed: whether the value is within the limit.
        detail: the figures behind the value, for people.
    """

    name: str
    value: float
    limit: float
    action: Action
    passed: bool
    detail: str = ""


@dataclass(frozen=True)
class Figures:
    """What a check judges.

    Attributes:
        read: rows in the file.
        clean: rows that passed the contract and the rules.
        published: rows that the publisher counted; None where that is not known.
        copies: clean rows that are copies of another one.
        matching: clean rows that the check's condition holds for.
        sample: whether the file is a sample, see `Dataset.sample_rows`.
    """

    read: int
    clean: int
    published: int | None
    copies: int
    matching: int
    sample: bool


Share = tuple[float, str] | None
"""A share and the figures behind it; None where a check has nothing to judge."""

Condition = Callable[[pa.Array, dt.datetime, dt.datetime], pa.BooleanArray]
"""Which rows count, from a column's values and the start and the end of the partition (a null counts as false)."""


@dataclass(frozen=True)
class Check:
    """A named question about a partition.

    Attributes:
        name: what it is called in ledgers and reports.
        ask: the share, from the partition's figures.
        warn: a greater share is reported, and the partition is loaded.
        block: a greater share keeps the partition out; what was loaded before is unchanged.
        column: what the question is about; a partition whose file does not have it is not checked.
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
        """The result for one partition, None where there is nothing to judge."""
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
    """Rows read, more or fewer than the publisher counted, as a share of those."""

    def ask(figures: Figures) -> Share:
        if figures.published is None:
            return None
        share = abs(figures.read - figures.published) / figures.published
        return share, f"{figures.read:,} rows read, {figures.published:,} published"

    return Check(name, ask, warn, block)


def missing_of_published(name: str, warn: float | None = None, block: float | None = None) -> Check:
    """Rows fewer than the publisher counted, as a share of those."""

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
    """Clean rows whose value in the column meets the condition, as a share of the clean rows; `detail` says it."""
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
