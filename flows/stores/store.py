"""The interface of a store: replace one partition in one atomic step, and keep a ledger of its partitions."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

from flows.datasets.cleaning import Cleaning
from flows.datasets.dataset import Dataset, Partition
from flows.datasets.outcome import Outcome
from flows.errors import TaxiwayError
from flows.stores.ledger import LedgerEntry, LoadSource, Status


class Store(Protocol):
    """A place that partitions are loaded into. Every method may raise StoreFailed and StoreUnavailable."""

    @property
    def name(self) -> str:
        """`postgres`, `bucket` or `bigquery`: the key of this store's rules in `Dataset.rules`."""

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path | None = None) -> Outcome:
        """Run the pass and replace the partition's rows, its rejected rows and its ledger entry: all or nothing.

        After any failure, and with concurrent loads of the same partition, the three are those of one load. A partition
        that a check blocks is stored separately; existing data is unchanged. Temporary files are in `work_dir`, by
        default the system's folder. Exceptions of the pass, such as Refused, are passed on.
        """

    def record(self, entry: LedgerEntry) -> None:
        """Replace the ledger entry of the same partition and status; no data row is changed.

        A `loaded` or `blocked` entry is written only if the stored entry is of the same load.
        """

    def entry(self, partition: Partition, status: Status = "loaded") -> LedgerEntry | None:
        """The partition's ledger entry of that status, if there is one."""

    def entries(self, dataset: Dataset) -> list[LedgerEntry]:
        """All ledger entries of the dataset, sorted by partition and status."""

    def count(self, partition: Partition) -> int:
        """How many rows of the partition are stored."""

    def count_rejected(self, partition: Partition) -> int:
        """How many rejected rows of the partition are stored."""

    def counts(self, dataset: Dataset) -> Mapping[Partition, int | TaxiwayError]:
        """How many rows of each partition are stored, without the ledger; or why they cannot be counted."""


def count_or_error(count: Callable[[Partition], int], partition: Partition) -> int | TaxiwayError:
    """What `count` returns, or the error that it raises: one partition's error does not hide the others."""
    try:
        return count(partition)
    except TaxiwayError as error:
        return error
