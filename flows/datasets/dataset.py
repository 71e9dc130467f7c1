"""Datasets and their partitions.

A partition is the unit of all work: one source file, one task, one bucket object, one partition of a table, one ledger
entry, one retry.
"""

from __future__ import annotations

import datetime as dt
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from string import Formatter
from typing import NamedTuple

import pyarrow as pa

from flows.datasets.column import Column, normalized
from flows.datasets.quality_check import Check
from flows.datasets.rule import Rule
from flows.reading.address import source_url

EXTRA_COLUMNS = "extra_columns"


class Partitioning(StrEnum):
    """What a partition of a dataset holds: a period of time, or the whole dataset."""

    MONTH = "month"
    DAY = "day"
    HOUR = "hour"
    WHOLE = "whole"


class _Scheme(NamedTuple):
    """The properties of a partitioning.

    Attributes:
        key: the format of a partition's key, from its start.
        column: the type of the partition column, which has the start in every row; None without one.
        fields: the parts of the start that identify a partition; a URL template must have them.
        step: from the start of a partition, this leads into the next one.
    """

    key: str
    column: pa.DataType | None
    fields: tuple[str, ...]
    step: dt.timedelta


_SCHEMES = {
    Partitioning.MONTH: _Scheme("%Y-%m", pa.date32(), ("year", "month"), dt.timedelta(days=32)),
    Partitioning.DAY: _Scheme("%Y-%m-%d", pa.date32(), ("year", "month", "day"), dt.timedelta(days=1)),
    Partitioning.HOUR: _Scheme(
        "%Y-%m-%dT%H", pa.timestamp("us"), ("year", "month", "day", "hour"), dt.timedelta(hours=1)
    ),
    Partitioning.WHOLE: _Scheme("whole", None, (), dt.timedelta()),
}


# The patterns for the fields of a file name.
_PATTERNS = {"service": "<service>", "year": r"(?P<year>\d{4})"} | {
    name: rf"(?P<{name}>\d{{1,2}})" for name in ("month", "day", "hour")
}


@dataclass(frozen=True, eq=False)
class Dataset:
    """A typed schema with a name, a source, rules and checks.

    Attributes:
        name: lower-case words joined by underscores, unique among all datasets.
        table: its table in Postgres and BigQuery.
        columns: the contract: the same for every file, whatever its layout.
        partitioning: what one partition holds.
        source: where partitions are published: a URL template with {service} (the dataset's name) and the fields of the
            partitioning: {year}, {month:02}, {day:02}, {hour:02}.
        file_name: a template of the same fields for a partition's object in the bucket, without the file extension.
        first: the key of the first published partition; empty for a dataset of one partition.
        rules: store -> the rules for rows that are loaded into it, in this order.
        checks: the checks of every partition, in the order of the reports.
        sample_rows: a file of up to this many rows is a sample: a failed check only warns.
        published_rows: key -> the publisher's row count of the partition; None if unknown.
        layouts: name -> header (comma-separated) of every published layout. They only give a layout its name: columns
            are matched one by one, so files of unknown layouts are read as well.
        marks: normalized column names of which each identifies a file of this dataset.
        signature: normalized column names that together identify a file of this dataset without a mark.
    """

    name: str
    table: str
    columns: tuple[Column, ...]
    partitioning: Partitioning
    source: str
    file_name: str
    first: str = ""
    rules: Mapping[str, tuple[Rule, ...]] = field(default_factory=dict)
    checks: tuple[Check, ...] = ()
    sample_rows: int = 0
    published_rows: Callable[[str], int | None] = lambda key: None
    layouts: Mapping[str, str] = field(default_factory=dict)
    marks: frozenset[str] = frozenset()
    signature: frozenset[str] = frozenset()

    def __str__(self) -> str:
        return self.name

    def __lt__(self, other: Dataset) -> bool:
        return self.name < other.name

    @property
    def scheme(self) -> _Scheme:
        """The properties of the partitioning."""
        return _SCHEMES[self.partitioning]

    @property
    def partition_column(self) -> str | None:
        """The column with the start of each row's partition, such as `source_month`; None for a single partition."""
        return f"source_{self.partitioning}" if self.scheme.column else None

    @cached_property
    def schema(self) -> pa.Schema:
        """The schema of every clean batch: the contract's columns, `extra_columns` and the partition column, if any.

        `extra_columns` is a map of name to text with the file's other columns; null in a row without any.
        """
        fields = [column.field for column in self.columns]
        fields.append(pa.field(EXTRA_COLUMNS, pa.map_(pa.string(), pa.string())))
        if self.partition_column:
            fields.append(pa.field(self.partition_column, self.scheme.column, nullable=False))
        return pa.schema(fields)

    @cached_property
    def columns_by_name(self) -> Mapping[str, Column]:
        """The columns by their normalized names and synonyms."""
        return {normalized(name): column for column in self.columns for name in (column.name, *column.synonyms)}

    def partition(self, *start: int) -> Partition:
        """The partition with that start: `partition(2021, 1)` for a month, `partition()` for a whole dataset.

        Raises ValueError if the numbers do not identify a partition of this dataset.
        """
        if len(start) != len(self.scheme.fields):
            raise ValueError(f"{self}: a partition is named by {', '.join(self.scheme.fields) or 'no date'}")
        year, month, day, hour = (*start, *(1, 1, 1, 0)[len(start) :])
        return self.partition_at(dt.datetime(year, month, day, hour))

    def partition_of(self, key: str) -> Partition:
        """The partition of a key such as `2021-01`. Raises ValueError for an invalid key."""
        partition = Partition(self, key)
        if partition.start.strftime(self.scheme.key) != key:
            raise ValueError(f"{self}: {key!r} is not the key of a partition")
        return partition

    def partition_at(self, start: dt.date) -> Partition:
        """The partition that holds this day or time."""
        return Partition(self, start.strftime(self.scheme.key))

    def partition_in(self, text: str) -> Partition | None:
        """The partition whose file name is in the text, if there is one."""
        pieces = Formatter().parse(self.file_name)
        pattern = "".join(re.escape(literal) + _PATTERNS.get(name or "", "") for literal, name, _, _ in pieces)
        found = re.search(pattern.replace("<service>", re.escape(self.name)) + r"(?!\d)", text)
        try:
            return found and self.partition(*(int(found[name]) for name in self.scheme.fields))
        except ValueError:  # a month 13
            return None

    def partitions_until(self, last: dt.date) -> Iterator[Partition]:
        """Every partition from the first published one to the one that holds the day `last`, in order."""
        if self.partitioning is Partitioning.WHOLE:
            yield self.partition()
            return
        partition = self.partition_of(self.first)
        while partition.first_day <= last:
            yield partition
            partition = partition.next


@dataclass(frozen=True, order=True)
class Partition:
    """One partition of a dataset. Partitions of one dataset are ordered by time.

    The key, `2021-01`, `2021-01-31`, `2021-01-31T23` or `whole`, is the time in the file's name, not that of its rows.
    """

    dataset: Dataset
    key: str

    def __str__(self) -> str:
        return f"{self.dataset} {self.key}" if self.dataset.partition_column else self.dataset.name

    @cached_property
    def start(self) -> dt.datetime:
        """When the partition begins (wall clock, no time zone); meaningless for a whole dataset."""
        return dt.datetime.strptime(self.key, self.dataset.scheme.key)

    @property
    def first_day(self) -> dt.date:
        """The day on which the partition begins."""
        return self.start.date()

    @property
    def next(self) -> Partition:
        """The partition after this one."""
        after = self.start + self.dataset.scheme.step
        return self.dataset.partition(*(getattr(after, name) for name in self.dataset.scheme.fields))

    @property
    def column_value(self) -> dt.date:
        """The value of the partition column in every row: the first day, or the hour."""
        return self.start if self.dataset.partitioning is Partitioning.HOUR else self.first_day

    @property
    def fields(self) -> Mapping[str, str | int]:
        """The fields of a template and their values."""
        return {"service": self.dataset.name} | {name: getattr(self.start, name) for name in self.dataset.scheme.fields}

    @property
    def stem(self) -> str:
        """The name of its file without the extension: `green_tripdata_2021-01`."""
        return self.dataset.file_name.format(**self.fields)

    @property
    def published_rows(self) -> int | None:
        """The publisher's row count; None if unknown."""
        return self.dataset.published_rows(self.key)

    def url(self, template: str) -> str:
        """The partition's URL from a template. Raises ValueError for an invalid template."""
        return source_url(template, self.fields, required=self.dataset.scheme.fields)
