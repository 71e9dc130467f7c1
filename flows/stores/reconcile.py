"""Reconciliation: every partition in every store is counted again, and compared with the ledger and the source."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from flows.datasets.dataset import Dataset, Partition
from flows.errors import TaxiwayError, TerminalError, TransientError
from flows.stores.ledger import LedgerEntry
from flows.stores.store import Store


@dataclass(frozen=True)
class Difference:
    """One figure of one partition in one store that is not what it should be, or cannot be read.

    Attributes:
        store: the store's name.
        partition: the partition; None for the whole store.
        what: which figure, and what it was compared with; or why it cannot be read.
        expected: what it should be; None where it cannot be read.
        actual: what it is; None where it cannot be read.
    """

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
    """The result: in how many partitions of how many stores rows were counted, and every difference."""

    partitions: int
    differences: list[Difference]


@dataclass
class _Counted:
    """What was read of one store. What cannot be read does not hide the rest."""

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
        except TransientError as failure:  # the store is down: with a ledger alone every partition would look lost
            return cls(failures=[failure])
        return counted

    def rows_of(self, partition: Partition) -> int | TaxiwayError | None:
        """The partition's rows in the store; None where that is not known."""
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
            one_by_one = {partition: _try(store.count, partition) for partition in in_ledger}
            self.rows |= one_by_one
            if not any(isinstance(rows, TaxiwayError) for rows in one_by_one.values()):
                self.failures.append(failure)


def verify(stores: Mapping[str, Store], datasets: Collection[Dataset]) -> Verified:
    """Count every partition in every store again and name each difference.

    A partition's stored rows and its rejected rows are compared with its ledger entry; the rows read with the published
    count (which is that of the published parquet file: older CSV files hold other numbers of rows, so theirs are not
    compared), or, for a partition that came from the bucket, with the rows in the bucket. A partition, a table or a
    store that cannot be read is a difference as well; everything else is counted all the same.

    Args:
        stores: name -> store; gs:// sources are compared with the one called `bucket`.
        datasets: which datasets to count.
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
            rejected = _try(store.count_rejected, partition)
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


def _try(count: Callable[[Partition], int], partition: Partition) -> int | TaxiwayError:
    try:
        return count(partition)
    except TaxiwayError as error:
        return error
