"""The warehouse store: BigQuery tables partitioned by month, a partition replaced by a load job, and a ledger of them.

BigQuery replaces one partition of one table atomically; a month is a partition of three tables (trips, rejected rows,
ledger). The order makes that safe: the month's ledger entry is taken away first and written last, so that whatever is
found in the ledger is true. A load that is cut off leaves a month without an entry, which the next run loads again.
Each service has tables of its own, so that a partition of each of them is one month and nothing else.
"""

from __future__ import annotations

import tempfile
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import ClientError

from flows.errors import StoreFailed
from flows.stores.batches import checked, flat, flat_schema, rejected_batches, write_parquet
from flows.stores.google import one_line
from flows.stores.ledger import LedgerEntry, LoadSource, Status, may_record
from flows.stores.ledger_rows import LEDGER_SCHEMA, entry_of, ledger_row
from flows.stores.warehouse_jobs import LoadJobs
from flows.trips.month import Month, Service
from flows.trips.rejected import REJECTED_SCHEMA

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

    from flows.trips.clean import Cleaning


class WarehouseStore:
    """Months in a BigQuery dataset: `{service}_trips`, with `{service}_trips_rejected`, `{service}_trips_ledger` and,
    kept out by a quality check, `{service}_trips_blocked`. All are partitioned by MONTH of `source_month`.

    Every method raises StoreFailed, one line, for what BigQuery refuses after the client's own retries.
    """

    def __init__(self, client: Client, dataset: str) -> None:
        self._jobs = LoadJobs(client, dataset)

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path | None = None) -> LedgerEntry:
        """Run the pass into a parquet file and load it in place of the month's partition, then its ledger entry.

        A failure before the load, or a load that BigQuery refuses, leaves the old rows and their entry. A month that a
        quality check blocks goes to `{service}_trips_blocked` and changes nothing else.

        Args:
            cleaning: a pass that has not begun.
            source: where it comes from, for the ledger.
            work_dir: where the parquet file is made (and removed); the system's temporary folder by default.

        Returns:
            the ledger entry, `loaded` or `blocked`.

        Raises:
            StoreFailed: what BigQuery refuses, a batch that does not fit the contract, a lost row.
            Exception: whatever the pass raises (Refused, for one), as it is.
        """
        month, schema = cleaning.month, flat_schema(cleaning.schema)
        with tempfile.TemporaryDirectory(dir=work_dir) as directory:
            trips, rejected = Path(directory) / "trips.parquet", Path(directory) / "rejected.parquet"
            rows = write_parquet((flat(batch) for batch in checked(cleaning)), schema, trips)
            entry = LedgerEntry.of(cleaning, source)
            if rows != entry.rows_loaded:
                raise StoreFailed(str(month), f"{rows} rows written of {entry.rows_loaded}")
            write_parquet(rejected_batches(cleaning), REJECTED_SCHEMA, rejected)
            with one_line(self._jobs.table(trips_table(month.service))):
                if entry.status == "blocked":
                    self._keep_aside(entry, trips, rejected)
                else:
                    self._replace(entry, trips, rejected)
        return entry

    def record(self, entry: LedgerEntry) -> None:
        """Write the entry of its month and status, and touch no row of data.

        A `loaded` or `blocked` entry is written only while the one in the ledger is of the same load.
        """
        month = entry.of_month
        with one_line(self._jobs.table(ledger_table(month.service))):
            before = self._entries_of(month)
            if not may_record(entry, next((e for e in before if e.status == entry.status), None)):
                return
            with tempfile.TemporaryDirectory() as directory:
                others = [e for e in before if e.status != entry.status]
                self._write_ledger(month, [*others, entry], Path(directory), f"{uuid.uuid4()}")

    def entry(self, month: Month, status: Status = "loaded") -> LedgerEntry | None:
        """The month's ledger entry of that status; None if there is none."""
        return next((e for e in self._ledger(month.service) if (e.of_month, e.status) == (month, status)), None)

    def entries(self) -> list[LedgerEntry]:
        """The whole ledger, entries of every status, by service and month."""
        found = [entry for service in Service for entry in self._ledger(service)]
        return sorted(found, key=lambda e: (e.service, e.month, e.status))

    def count(self, month: Month) -> int:
        """Rows of the month that are in its table now, counted there."""
        return self._count(trips_table(month.service), month)

    def count_rejected(self, month: Month) -> int:
        """Rows of the month that are in the service's table of rejected rows now, counted there."""
        return self._count(rejected_table(month.service), month)

    def counts(self) -> dict[Month, int]:
        """Rows of every month of every service that has any, counted in the tables, whatever the ledger says."""
        text = "SELECT source_month, COUNT(*) AS n FROM {} GROUP BY source_month ORDER BY source_month"
        with one_line(self._jobs.table("*")):
            return {
                Month(service, row["source_month"].year, row["source_month"].month): row["n"]
                for service in Service
                for row in self._jobs.query(trips_table(service), text)
            }

    def _replace(self, entry: LedgerEntry, trips: Path, rejected: Path) -> None:
        month, before = entry.of_month, self._entries_of(entry.of_month)
        if before:
            self._write_ledger(month, [], trips.parent, f"before {entry.to_json()}")
        try:
            self._jobs.replace(trips_table(month.service), month, trips, content(entry))
        except ClientError:  # BigQuery said no. After any other failure, the load may yet happen.
            self._write_ledger(month, before, trips.parent, f"after {entry.to_json()}")
            raise
        self._replace_rows(rejected_table(month.service), month, rejected, content(entry))
        if any(e.status == "blocked" for e in before):
            for table, like in ((blocked_table, trips), (blocked_rejected_table, rejected)):
                self._replace_rows(table(month.service), month, _no_rows(like), f"loaded {entry.to_json()}")
        self._write_ledger(month, [entry], trips.parent, entry.to_json())

    def _keep_aside(self, entry: LedgerEntry, trips: Path, rejected: Path) -> None:
        month = entry.of_month
        self._jobs.replace(blocked_table(month.service), month, trips, content(entry))
        self._replace_rows(blocked_rejected_table(month.service), month, rejected, content(entry))
        loaded = [e for e in self._entries_of(month) if e.status == "loaded"]
        self._write_ledger(month, [*loaded, entry], trips.parent, entry.to_json())

    def _replace_rows(self, table: str, month: Month, file: Path, identity: str) -> None:
        """Replace a partition that has rows in few months; no rows are not worth a new table."""
        if pq.read_metadata(file).num_rows or self._jobs.exists(table):
            self._jobs.replace(table, month, file, identity)

    def _write_ledger(self, month: Month, entries: Sequence[LedgerEntry], directory: Path, identity: str) -> None:
        file = directory / "ledger.parquet"
        rows = [ledger_row(entry) for entry in entries]
        pq.write_table(pa.Table.from_pylist(rows, LEDGER_SCHEMA), file)
        self._jobs.replace(ledger_table(month.service), month, file, identity)

    def _entries_of(self, month: Month) -> list[LedgerEntry]:
        return [entry for entry in self._ledger(month.service) if entry.of_month == month]

    def _ledger(self, service: Service) -> list[LedgerEntry]:
        name = ledger_table(service)
        with one_line(self._jobs.table(name)):
            return [entry_of(dict(row)) for row in self._jobs.rows(name)]

    def _count(self, table: str, month: Month) -> int:
        with one_line(self._jobs.table(table)):
            found = self._jobs.query(table, "SELECT COUNT(*) FROM {} WHERE source_month = @month", month=month.first)
            return sum(n for (n,) in found)


def trips_table(service: Service) -> str:
    """The table of a service's trips."""
    return f"{service}_trips"


def rejected_table(service: Service) -> str:
    """The table of a service's rejected rows; there is none before there are such rows."""
    return f"{service}_trips_rejected"


def ledger_table(service: Service) -> str:
    """The table of a service's ledger: a row for each month, and one for a blocked load of it."""
    return f"{service}_trips_ledger"


def blocked_table(service: Service) -> str:
    """The table of the months of a service that a quality check has kept out."""
    return f"{service}_trips_blocked"


def blocked_rejected_table(service: Service) -> str:
    """The table of the rejected rows of such months."""
    return f"{service}_trips_blocked_rejected"


def content(entry: LedgerEntry) -> str:
    """Equal for loads of the same rows: the same source, read under the same contract."""
    return f"{entry.checksum} contract {entry.contract_version}"


def _no_rows(like: Path) -> Path:
    """A parquet file of the same schema, beside it, without a row."""
    file = like.with_name("none.parquet")
    pq.write_table(pq.read_schema(like).empty_table(), file)
    return file
