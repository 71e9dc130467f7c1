"""Reconciliation: every month of every store counted again, against its ledger, TLC's figures and the other stores."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import urlsplit

from flows.stores.ledger import LedgerEntry
from flows.trips.month import Month


class Countable(Protocol):
    """What a store offers to be counted again."""

    def entries(self) -> list[LedgerEntry]:
        """The whole ledger."""

    def counts(self) -> dict[Month, int]:
        """Rows of every month that is there, counted where they are."""

    def count_rejected(self, month: Month) -> int:
        """Rejected rows of the month, counted where they are."""


@dataclass(frozen=True)
class Difference:
    """One figure of one month in one store that is not what it should be.

    Attributes:
        store: the store's name.
        month: the month.
        what: which figure, and against what it was held.
        expected: what it should be.
        found: what it is.
    """

    store: str
    month: Month
    what: str
    expected: int
    found: int

    def __str__(self) -> str:
        return f"{self.store}, {self.month}: {self.what}: expected {self.expected:,}, found {self.found:,}"


def verify(stores: Mapping[str, Countable], published_rows: Callable[[Month], int | None]) -> list[Difference]:
    """Count every month in every store again and name each difference; none is the only passing result.

    A month's stored rows are held against its ledger, its rejected rows too; the rows read against the published count
    (which is that of TLC's parquet file: older CSV files of a month hold other numbers of rows, so of those nothing is
    known), or, for a month that came from the bucket, against the rows that the bucket holds.

    Args:
        stores: name -> store; the one called `bucket` is what gs:// sources are held against.
        published_rows: the rows that TLC published for a month, None where that is not known.

    Raises:
        StoreFailed: a store cannot be read.
    """
    counts = {name: store.counts() for name, store in stores.items()}

    def rows_at_source(entry: LedgerEntry) -> tuple[str, int | None]:
        address = urlsplit(entry.source)
        if address.scheme == "gs":
            return "rows read, against the bucket", counts["bucket"].get(
                entry.of_month, 0
            ) if "bucket" in counts else None
        known = published_rows(entry.of_month) if address.path.endswith(".parquet") else None
        return "rows read, against TLC's count", known

    def differences(name: str, store: Countable) -> Iterator[Difference]:
        entries = {entry.of_month: entry for entry in store.entries() if entry.status == "loaded"}
        for month in sorted({*entries, *counts[name]}):
            stored, entry = counts[name].get(month, 0), entries.get(month)
            if entry is None:
                yield Difference(name, month, "rows stored, without a ledger entry", 0, stored)
                continue
            rejected = store.count_rejected(month)
            source, rows = rows_at_source(entry)
            for what, expected, found in (
                ("rows stored, against the ledger", entry.rows_loaded, stored),
                ("rejected rows stored, against the ledger", entry.rows_rejected, rejected),
                (source, rows, entry.rows_read),
            ):
                if expected is not None and expected != found:
                    yield Difference(name, month, what, expected, found)

    return [difference for name, store in stores.items() for difference in differences(name, store)]
