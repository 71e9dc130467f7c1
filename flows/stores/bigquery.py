"""The BigQuery store: tables partitioned by month, a partition replaced by a load job, and a ledger of the loads.

BigQuery replaces one partition of one table atomically, but a month is a partition of three tables: trips, rejected
rows and ledger. So every row carries the id of its load (`load_id`), and the load id that is in the month's trips says
which rejected rows and which row of the ledger count. A load

1. appends its entry to the ledger, and then its rejected rows: neither counts yet;
2. replaces the month's trips, which commits it: from then on its own entry and rejected rows count;
3. deletes the ledger's row, the rejected rows and the blocked month that it has replaced.

Wherever this is cut off, and whichever of several loads of one month commits last, trips, rejected rows and ledger are
of the same load at every moment; what a load that was cut off has left counts nowhere, and a later load deletes it. No
lock or lease is needed, so none is left behind, and none has to outlast a load of unknown length. Only rows of loads
that can never count again are deleted, by their id: a load id is used for one attempt, and once it is replaced it does
not come back.

Which load a month is of is read from the first row of its partition (`tabledata.list`): one request that costs nothing,
where a query would be charged for the whole column. Labels of the table would hold 64 months; labels of jobs are kept
for six months, and the last job that was started is not always the last one to commit. A month of no rows has no load
id to be read: there the state of the load's own job, whose id is made from the load's, tells whether it committed.

Rows of versions that knew no load ids have NULL there; the ledger's row without a load id counts for them, so they are
not loaded again. The column is added to a table by the first load into it. Each service has tables of its own, so that
a partition of each of them is one month and nothing else.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import ClientError

from flows.datasets.partition import Month, Service
from flows.datasets.rejected import REJECTED_SCHEMA
from flows.errors import StoreFailed
from flows.stores.batches import checked, flat, flat_schema, rejected_batches, write_parquet
from flows.stores.bigquery_jobs import APPEND, LOAD_ID, REPLACE, LoadJobs
from flows.stores.google_errors import LEFT_OVER, left_to_the_next_load, one_line
from flows.stores.ledger import LedgerEntry, LoadSource, Status, may_record, new_load_id, now
from flows.stores.ledger_rows import LEDGER_SCHEMA, ledger_row, recorded_entry
from flows.stores.loads import Found, Recorded, counting, resolved

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

    from flows.datasets.cleaning import Cleaning

# BigQuery forgets jobs after six months. A load from before then counts as committed.
JOBS_KEPT = dt.timedelta(days=150)

# How often the ledger is read again because a load has committed in between.
RACES = 5


class WarehouseStore:
    """Months in a BigQuery dataset: `{service}_trips`, with `{service}_trips_rejected`, `{service}_trips_ledger` and,
    kept out by a quality check, `{service}_trips_blocked`. All are partitioned by MONTH of `source_month`.

    Every method raises StoreFailed or StoreUnavailable, one line, for what BigQuery refuses after the client's own
    retries.
    """

    def __init__(self, client: Client, dataset: str) -> None:
        self._jobs = LoadJobs(client, dataset)

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path | None = None) -> LedgerEntry:
        """Run the pass into a parquet file and load it in place of the month's partition, with its ledger entry.

        A failure before the load, or a load that BigQuery refuses, leaves the old month whole. A month that a quality
        check blocks goes to `{service}_trips_blocked` and changes nothing else.

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
        month, load_id = cleaning.month, new_load_id()
        with tempfile.TemporaryDirectory(dir=work_dir) as directory:
            trips, rejected = Path(directory) / "trips.parquet", Path(directory) / "rejected.parquet"
            batches = (flat(batch) for batch in checked(cleaning))
            rows = _write(batches, flat_schema(cleaning.schema), load_id, trips)
            entry = LedgerEntry.of(cleaning, source, load_id)
            if rows != entry.rows_loaded:
                raise StoreFailed(str(month), f"{rows} rows written of {entry.rows_loaded}")
            _write(rejected_batches(cleaning), REJECTED_SCHEMA, load_id, rejected)
            with one_line(self._jobs.table(trips_table(month.service))):
                self._load(entry, trips, rejected)
        return entry

    def record(self, entry: LedgerEntry) -> None:
        """Write the entry of its month and status, and touch no row of data.

        A `loaded` or `blocked` entry is written only while the one in the ledger is of the same load. It is appended,
        so it does not count once another load has committed.
        """
        if may_record(entry, self.entry(entry.of_month, entry.status)):
            with one_line(self._jobs.table(ledger_table(entry.of_month.service))):
                self._append_to_ledger(entry)

    def entry(self, month: Month, status: Status = "loaded") -> LedgerEntry | None:
        """The month's ledger entry of that status; None if there is none."""
        return next((e for e in self._entries(month.service, month) if e.status == status), None)

    def entries(self, service: Service | None = None) -> list[LedgerEntry]:
        """The whole ledger or that of a service, entries of every status, by service and month."""
        found = [entry for each in ([service] if service else Service) for entry in self._entries(each)]
        return sorted(found, key=lambda e: (e.service, e.month, e.status))

    def count(self, month: Month) -> int:
        """Rows of the month that are in its table now, counted there."""
        return self._count(
            trips_table(month.service), "SELECT COUNT(*) FROM {table} WHERE source_month = @month", month
        )

    def count_rejected(self, month: Month) -> int:
        """Rejected rows of the load that the month's entry is of, counted in the service's table of them."""
        entry = self.entry(month)
        text = "SELECT COUNT(*) FROM {table} WHERE source_month = @month AND {load_id} = @counting"
        return self._count(rejected_table(month.service), text, month, counting=entry.load_id) if entry else 0

    def counts(self) -> dict[Month, int]:
        """Rows of every month of every service that has any, counted in the tables, whatever the ledger says."""
        text = "SELECT source_month, COUNT(*) AS n FROM {table} GROUP BY source_month ORDER BY source_month"
        counted = {}
        for service in Service:
            table = self._jobs.table(trips_table(service))
            with one_line(table):
                for first, rows in self._jobs.query(trips_table(service), text):
                    if first is None or first.day != 1:
                        raise StoreFailed(table, f"has {rows:,} rows of source_month {first}, which no load wrote")
                    counted[Month(service, first.year, first.month)] = rows
        return counted

    def _load(self, entry: LedgerEntry, trips: Path, rejected: Path) -> None:
        """Load the files as one load: nothing of it counts before its trips are in place."""
        month, table, rejected_rows = entry.of_month, *_tables_of(entry)
        before = self._jobs.load_ids(table, [month]).get(month)
        self._append_to_ledger(entry)
        if entry.rows_rejected:
            self._jobs.load(rejected_rows, month, rejected, APPEND, _job_id(rejected_rows, entry))
        try:
            self._jobs.load(table, month, trips, REPLACE, _job_id(table, entry))
        except (ClientError, StoreFailed):
            with left_to_the_next_load(self._jobs.table(table)):
                # It may be a question about the job that was refused: then the job may yet commit.
                if (job := self._jobs.job(_job_id(table, entry))) is None or job.error_result:
                    self._delete([entry])
            raise
        with left_to_the_next_load(self._jobs.table(table)):
            self._clean_up(entry, before)

    def _append_to_ledger(self, entry: LedgerEntry) -> None:
        month, table = entry.of_month, ledger_table(entry.of_month.service)
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "ledger.parquet"
            pq.write_table(pa.Table.from_pylist([ledger_row(entry, now())], LEDGER_SCHEMA), file)
            self._jobs.load(table, month, file, APPEND, f"taxiway-{table}-{month.label}-{uuid.uuid4().hex}")

    def _clean_up(self, entry: LedgerEntry, before: str | None) -> None:
        """Delete what can never count again, now that the load of this entry has committed."""
        month = entry.of_month
        ledger, found = self._read(month.service, month)[month]
        count = {found.loaded, *(e.load_id for e in counting(ledger, found, self._was_committed))}
        replaced = {before, entry.load_id, found.blocked} - count
        left_over = now() - LEFT_OVER
        self._delete(
            [
                row.entry
                for row in ledger
                if row.entry.status != "refused"
                and (
                    row.entry.load_id in replaced or (row.entry.finished < left_over and row.entry.load_id not in count)
                )
            ]
        )
        if any(row.entry.status == "refused" for row in ledger):
            text = "DELETE FROM {table} WHERE source_month = @month AND status = 'refused' AND finished <= @finished"
            self._jobs.query(ledger_table(month.service), text, month=month.first, finished=entry.finished)

    def _delete(self, entries: list[LedgerEntry]) -> None:
        """Delete what is kept of loads of one month that do not count, the ledger's rows last; never a trip."""
        tables: dict[str, set[str]] = {}
        for entry in entries:
            trips, rejected = _tables_of(entry)
            kept_in = [rejected] if entry.rows_rejected else []
            kept_in += [trips] if entry.status == "blocked" else []
            for table in (*kept_in, ledger_table(entry.of_month.service)):
                tables.setdefault(table, set()).add(entry.load_id)
        text = "DELETE FROM {table} WHERE source_month = @month AND {load_id} IN UNNEST(@load_ids)"
        for table in sorted(tables, key=lambda name: name.endswith("_ledger")):
            self._jobs.query(table, text, month=entries[0].of_month.first, load_ids=sorted(tables[table]))

    def _entries(self, service: Service, month: Month | None = None) -> list[LedgerEntry]:
        """The entries that count: of the service, or of the month alone."""
        with one_line(self._jobs.table(ledger_table(service))):
            read = self._read(service, month).values()
            return [entry for ledger, found in read for entry in counting(ledger, found, self._was_committed)]

    def _read(self, service: Service, month: Month | None = None) -> dict[Month, tuple[list[Recorded], Found]]:
        """The ledger's rows of each month, and which loads the month's rows are of.

        A load may commit, and delete what it has replaced, between the two. Then both are read again.
        """
        ledger, found = self._recorded(service, month)
        for _ in range(RACES):
            if all(resolved(rows, found[each]) for each, rows in ledger.items()):
                break
            before = found
            ledger, found = self._recorded(service, month)
            if found == before:  # rows of no load that is recorded: a person's own
                break
        return {each: (rows, found[each]) for each, rows in ledger.items()}

    def _recorded(
        self, service: Service, month: Month | None
    ) -> tuple[dict[Month, list[Recorded]], dict[Month, Found]]:
        ledger: dict[Month, list[Recorded]] = defaultdict(list)
        for row in self._jobs.rows(ledger_table(service), month):
            try:
                recorded = recorded_entry(dict(row))
            except (ValueError, KeyError, TypeError) as wrong:
                table = self._jobs.table(ledger_table(service))
                raise StoreFailed(table, f"has a row that is no entry of this version: {wrong}") from None
            ledger[recorded.entry.of_month].append(recorded)
        blocked_months = [m for m, rows in ledger.items() if any(row.entry.status == "blocked" for row in rows)]
        loaded = self._jobs.load_ids(trips_table(service), list(ledger))
        blocked = self._jobs.load_ids(blocked_table(service), blocked_months)
        return ledger, {each: Found(loaded.get(each), blocked.get(each)) for each in ledger}

    def _was_committed(self, entry: LedgerEntry) -> bool:
        """Whether the load has put its rows in place; asked where no row can tell."""
        if not entry.load_id or entry.finished < now() - JOBS_KEPT:
            return True
        job = self._jobs.job(_job_id(_tables_of(entry)[0], entry))
        return job is not None and job.state == "DONE" and not job.error_result

    def _count(self, table: str, text: str, month: Month, **parameters: str) -> int:
        with one_line(self._jobs.table(table)):
            return sum(n for (n,) in self._jobs.query(table, text, month=month.first, **parameters))


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


def _tables_of(entry: LedgerEntry) -> tuple[str, str]:
    """The tables of the load's trips and of its rejected rows."""
    service = entry.of_month.service
    if entry.status == "blocked":
        return blocked_table(service), blocked_rejected_table(service)
    return trips_table(service), rejected_table(service)


def _job_id(table: str, entry: LedgerEntry) -> str:
    """The id of the job that loads into the table for this load: there is one, whose state can be asked for."""
    return f"taxiway-{table}-{entry.month}-{entry.load_id}"


def _write(batches: Iterator[pa.RecordBatch], schema: pa.Schema, load_id: str, to: Path) -> int:
    """Write the batches to a parquet file, each row with the load's id. Gives the number of rows."""
    marked = (batch.append_column(LOAD_ID, pa.repeat(load_id, batch.num_rows)) for batch in batches)
    return write_parquet(marked, schema.append(pa.field(LOAD_ID, pa.string())), to)
