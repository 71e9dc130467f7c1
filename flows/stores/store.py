"""What every store does: replace one partition in one atomic step, and keep a ledger of its partitions."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

from flows.datasets.cleaning import Cleaning
from flows.datasets.dataset import Dataset, Partition
from flows.datasets.outcome import Outcome
from flows.errors import TaxiwayError
from flows.stores.ledger import LedgerEntry, LoadSource, Status


class Store(Protocol):
    """A place that partitions are loaded into.

    Every method raises StoreFailed for what the store refuses, and StoreUnavailable for what may go away by itself: one
    line each.
    """

    @property
    def name(self) -> str:
        """`postgres`, `bucket` or `bigquery`: the key of the rules for this store, see `Dataset.rules`."""

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path | None = None) -> Outcome:
        """Run the pass and replace the partition's rows, with its rejected rows and its ledger entry.

        All of it or nothing: whatever goes wrong, and whoever loads the same partition at the same time, its rows,
        rejected rows and ledger entry are those of one load. A partition that a check blocks is stored apart, and
        changes nothing else.

        Args:
            cleaning: a pass that has not begun.
            source: where it comes from, for the ledger.
            work_dir: where temporary files are made (and removed); None: the system's folder.

        Raises:
            Exception: whatever the pass raises (Refused, for one), as it is.
        """

    def record(self, entry: LedgerEntry) -> None:
        """Write the entry of its partition and status, and change no row of data.

        A `loaded` or `blocked` entry is written only while the stored entry is of the same load.
        """

    def entry(self, partition: Partition, status: Status = "loaded") -> LedgerEntry | None:
        """The partition's ledger entry of that status; None if there is none."""

    def entries(self, dataset: Dataset) -> list[LedgerEntry]:
        """The dataset's ledger: entries of every status, by partition and status."""

    def count(self, partition: Partition) -> int:
        """The partition's rows, counted where they are; 0 if there are none."""

    def count_rejected(self, partition: Partition) -> int:
        """The partition's rejected rows, counted where they are."""

    def counts(self, dataset: Dataset) -> Mapping[Partition, int | TaxiwayError]:
        """The rows of every partition of the dataset that has any, whatever the ledger says.

        A partition that cannot be counted has its error instead.
        """
