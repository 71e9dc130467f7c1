"""Reconciliation: count every partition in every store, and compare with the ledger and the source."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flows.datasets.dataset import Dataset, Partition
from flows.errors import TaxiwayError, TerminalError, TransientError
from flows.stores.ledger import LedgerEntry
from flows.stores.store import Store, count_or_error


@dataclass(frozen=True)
class Difference:
    """A wrong count in a store or, without numbers, why something cannot be read; without a partition, of the store."""

    store: str
    partition: Partition | None
    what: str
    expected: int | None = None
    actual: int | None = None

    def __str__(self) -> str:
        where = f"{self.store}, {self.partition}" if self.partition else self.store
        if self.expected is None or self.actual is None:
            return f"{where}: {self.what}"
        return f"{where}: {self.what}: expected {self.expected:,}, found {self.actual:,}"


@dataclass(frozen=True)
class Verified:
    """How many partitions were counted, and every difference."""

    partitions: int
    differences: list[Difference]


@dataclass
class _Counted:
    """What was read of one store. A failure does not hide the rest."""

    ledger: dict[Partition, LedgerEntry] = field(default_factory=dict)
    rows: dict[Partition, int | TaxiwayError] = field(default_factory=dict)
    without_ledger: set[Dataset] = field(default_factory=set)
    failures: list[TaxiwayError] = field(default_factory=list)

    @classmethod
    def of(cls, store: Store, datasets: Collection[Dataset]) -> _Counted:
        counted = cls()
        try:
            for dataset in datasets:
                counted._read_ledger(store, dataset)
                counted._count(store, dataset)
        except TransientError as failure:  # the store is down: with only a ledger, every partition would look lost
            return cls(failures=[failure])
        return counted

    def rows_of(self, partition: Partition) -> int | TaxiwayError | None:
        """The partition's rows in the store; None if that is not known."""
        return self.rows.get(partition, None if self.failures else 0)

    def _read_ledger(self, store: Store, dataset: Dataset) -> None:
        try:
            entries = store.entries(dataset)
        except TerminalError as failure:
            self.failures.append(failure)
            self.without_ledger.add(dataset)
        else:
            self.ledger |= {entry.partition: entry for entry in entries if entry.status == "loaded"}

    def _count(self, store: Store, dataset: Dataset) -> None:
        try:
            self.rows |= store.counts(dataset)
        except TerminalError as failure:
            in_ledger = [partition for partition in self.ledger if partition.dataset is dataset]
            one_by_one = {partition: count_or_error(store.count, partition) for partition in in_ledger}
            self.rows |= one_by_one
            if not any(isinstance(rows, TaxiwayError) for rows in one_by_one.values()):
                self.failures.append(failure)


def verify(stores: Mapping[str, Store], datasets: Collection[Dataset]) -> Verified:
    """Count every partition in every store and report each difference.

    A partition's rows and rejected rows are compared with its ledger entry. The rows read are compared with the
    published count, if the source is a parquet file (older CSV files have other numbers of rows), or, if the source is
    a bucket (gs://), with the rows in the store `bucket`. A partition, a table or a store that cannot be read is a
    difference as well; the rest is counted all the same.
    """
    counted = {name: _Counted.of(store, datasets) for name, store in stores.items()}

    def rows_at_source(entry: LedgerEntry) -> tuple[str, int | None]:
        address = urlsplit(entry.source)
        if address.scheme == "gs":
            bucket = counted.get("bucket")
            rows = bucket.rows_of(entry.partition) if bucket else None
            return "rows read, against the bucket", rows if isinstance(rows, int) else None
        known = entry.partition.published_rows if address.path.endswith(".parquet") else None
        return "rows read, against the published count", known

    def differences(name: str, store: Store) -> Iterator[Difference]:
        for failure in counted[name].failures:
            yield Difference(name, None, str(failure))
        ledger, rows = counted[name].ledger, counted[name].rows
        for partition in sorted({*ledger, *rows}):
            stored, entry = rows.get(partition, 0), ledger.get(partition)
            if isinstance(stored, TaxiwayError):
                yield Difference(name, partition, str(stored))
                continue
            if entry is None:
                if partition.dataset not in counted[name].without_ledger:
                    yield Difference(name, partition, "rows stored, without a ledger entry", 0, stored)
                continue
            rejected = count_or_error(store.count_rejected, partition)
            if isinstance(rejected, TaxiwayError):
                yield Difference(name, partition, str(rejected))
            source, published = rows_at_source(entry)
            for what, expected, actual in (
                ("rows stored, against the ledger", entry.rows_loaded, stored),
                ("rejected rows stored, against the ledger", entry.rows_rejected, rejected),
                (source, published, entry.rows_read),
            ):
                if expected is not None and isinstance(actual, int) and expected != actual:
                    yield Difference(name, partition, what, expected, actual)

    found = [difference for name, store in stores.items() for difference in differences(name, store)]
    return Verified(sum(isinstance(n, int) for each in counted.values() for n in each.rows.values()), found)
