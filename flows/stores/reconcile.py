"""Reconciliation: every month of every store counted again, against its ledger, TLC's figures and the other stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Protocol
from urllib.parse import urlsplit

from flows.datasets.partition import Month, Service
from flows.errors import TaxiwayError, TerminalError, TransientError
from flows.stores.ledger import LedgerEntry


class Countable(Protocol):
    """What a store offers to be counted again."""

    def entries(self, service: Service | None = None) -> list[LedgerEntry]:
        """The whole ledger, or that of a service."""

    def counts(self) -> Mapping[Month, int | TaxiwayError]:
        """Rows of every month that is there, counted where they are; the error of those that cannot be counted."""

    def count(self, month: Month) -> int:
        """Rows of the month, counted where they are."""

    def count_rejected(self, month: Month) -> int:
        """Rejected rows of the month, counted where they are."""


@dataclass(frozen=True)
class Difference:
    """One figure of one month in one store that is not what it should be, or cannot be read.

    Attributes:
        store: the store's name.
        month: the month; None for the whole store.
        what: which figure, and against what it was held; or why there is none.
        expected: what it should be; None where it cannot be read.
        found: what it is; None where it cannot be read.
    """

    store: str
    month: Month | None
    what: str
    expected: int | None = None
    found: int | None = None

    def __str__(self) -> str:
        where = f"{self.store}, {self.month}" if self.month else self.store
        if self.expected is None or self.found is None:
            return f"{where}: {self.what}"
        return f"{where}: {self.what}: expected {self.expected:,}, found {self.found:,}"


@dataclass(frozen=True)
class Verified:
    """What a reconciliation has counted: months whose rows were counted in a store, and every difference."""

    months: int
    differences: list[Difference]


@dataclass
class _Counted:
    """What was read of one store. What cannot be read does not hide the rest."""

    ledger: dict[Month, LedgerEntry] = field(default_factory=dict)
    rows: dict[Month, int | TaxiwayError] = field(default_factory=dict)
    without_ledger: set[Service] = field(default_factory=set)
    failures: list[TaxiwayError] = field(default_factory=list)

    @classmethod
    def of(cls, store: Countable) -> _Counted:
        counted = cls()
        try:
            for service in Service:
                counted._read_ledger(store, service)
            counted._count(store)
        except TransientError as failure:  # the store is down: a ledger alone would make every month of it look lost
            return cls(failures=[failure])
        return counted

    def rows_of(self, month: Month) -> int | TaxiwayError | None:
        """The month's rows in the store; None where that is not known."""
        return self.rows.get(month, None if self.failures else 0)

    def _read_ledger(self, store: Countable, service: Service) -> None:
        try:
            entries = store.entries(service)
        except TerminalError as failure:
            self.failures.append(failure)
            self.without_ledger.add(service)
        else:
            self.ledger |= {entry.of_month: entry for entry in entries if entry.status == "loaded"}

    def _count(self, store: Countable) -> None:
        try:
            self.rows = dict(store.counts())
        except TerminalError as failure:
            # One table may be the cause; the months of the others can be counted one by one.
            self.rows = {month: _tried(store.count, month) for month in self.ledger}
            if not any(isinstance(rows, TaxiwayError) for rows in self.rows.values()):
                self.failures.append(failure)


def verify(stores: Mapping[str, Countable], published_rows: Callable[[Month], int | None]) -> Verified:
    """Count every month in every store again and name each difference; none is the only passing result.

    A month's stored rows are held against its ledger, its rejected rows too; the rows read against the published count
    (which is that of TLC's parquet file: older CSV files of a month hold other numbers of rows, so of those nothing is
    known), or, for a month that came from the bucket, against the rows that the bucket holds. A month, a table or a
    store that cannot be read is a difference as well; everything else is counted all the same.

    Args:
        stores: name -> store; the one called `bucket` is what gs:// sources are held against.
        published_rows: the rows that TLC published for a month, None where that is not known.
    """
    counted = {name: _Counted.of(store) for name, store in stores.items()}

    def rows_at_source(entry: LedgerEntry) -> tuple[str, int | None]:
        address = urlsplit(entry.source)
        if address.scheme == "gs":
            bucket = counted.get("bucket")
            rows = bucket.rows_of(entry.of_month) if bucket else None
            return "rows read, against the bucket", rows if isinstance(rows, int) else None
        known = published_rows(entry.of_month) if address.path.endswith(".parquet") else None
        return "rows read, against TLC's count", known

    def differences(name: str, store: Countable) -> Iterator[Difference]:
        for failure in counted[name].failures:
            yield Difference(name, None, str(failure))
        ledger, rows = counted[name].ledger, counted[name].rows
        for month in sorted({*ledger, *rows}):
            stored, entry = rows.get(month, 0), ledger.get(month)
            if isinstance(stored, TaxiwayError):
                yield Difference(name, month, str(stored))
                continue
            if entry is None:
                if month.service not in counted[name].without_ledger:
                    yield Difference(name, month, "rows stored, without a ledger entry", 0, stored)
                continue
            rejected = _tried(store.count_rejected, month)
            if isinstance(rejected, TaxiwayError):
                yield Difference(name, month, str(rejected))
            source, rows_there = rows_at_source(entry)
            for what, expected, found in (
                ("rows stored, against the ledger", entry.rows_loaded, stored),
                ("rejected rows stored, against the ledger", entry.rows_rejected, rejected),
                (source, rows_there, entry.rows_read),
            ):
                if expected is not None and isinstance(found, int) and expected != found:
                    yield Difference(name, month, what, expected, found)

    found = [difference for name, store in stores.items() for difference in differences(name, store)]
    return Verified(sum(isinstance(n, int) for each in counted.values() for n in each.rows.values()), found)


def _tried(count: Callable[[Month], int], month: Month) -> int | TaxiwayError:
    try:
        return count(month)
    except TaxiwayError as error:
        return error
