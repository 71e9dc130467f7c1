"""The BigQuery store: a load job replaces one partition of a partitioned table; a second table is the ledger.

BigQuery replaces one partition of one table atomically, but a load writes three tables: rows, rejected rows and ledger.
So every row has the id of its load (`load_id`), and the load id in the partition's rows decides which rejected rows and
which ledger entry are valid. A load

1. appends its entry to the ledger, then its rejected rows: neither is valid yet;
2. replaces the partition's rows, which commits the load: now its entry and its rejected rows are valid;
3. deletes the ledger entry, the rejected rows and the blocked partition that it replaced.

So rows, rejected rows and ledger are of the same load at every moment, without a lock: after an interrupted load, and
after concurrent loads of one partition. A later load deletes what an interrupted one left. A load id is used for one
attempt, and only rows of loads that can never be valid again are deleted.

The load id of a partition is read from its first row (`tabledata.list`), which is free; a query would be charged for
the whole column. Table labels are limited to 64. Job labels are kept for six months only, and the job that started last
does not always commit last. A partition without rows has no load id: then the state of the load's job, whose id is made
from the load id, says whether it committed.
"""

from __future__ import annotations

import datetime as dt
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq
from google.api_core.exceptions import ClientError

from flows.datasets.cleaning import Cleaning
from flows.datasets.dataset import Dataset, Partition
from flows.datasets.outcome import Outcome
from flows.datasets.rejected import REJECTED_SCHEMA
from flows.errors import StoreFailed
from flows.stores.batches import flat, flat_schema, rejected_batches, verified, write_parquet
from flows.stores.bigquery_jobs import APPEND, REPLACE, LoadJobs
from flows.stores.bigquery_tables import LOAD_ID, blocked_table, ledger_table, tables_of
from flows.stores.google_errors import LEFT_OVER, failures_as_warnings, one_line
from flows.stores.ledger import LedgerEntry, LoadSource, Status, may_record, new_load_id, now
from flows.stores.ledger_rows import ledger_row, recorded_entry, recorded_schema, with_partition_column
from flows.stores.loads import Found, Recorded, resolved, valid_entries

if TYPE_CHECKING:
    from google.cloud.bigquery import Client

# BigQuery deletes jobs after six months. An older load is taken to be committed.
JOBS_KEPT = dt.timedelta(days=150)

# How often the ledger is read again because a load has committed meanwhile.
RACES = 5


class BigQueryStore:
    """A `Store` in a BigQuery dataset: a table per dataset, with `{table}_rejected_rows`, `{table}_ledger` and, for
    blocked partitions, `{table}_blocked` and `{table}_blocked_rejected_rows`.
    """

    name = "bigquery"

    def __init__(self, client: Client, dataset: str) -> None:
        self._jobs = LoadJobs(client, dataset)

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path | None = None) -> Outcome:
        """Run the pass into a parquet file and load it in place of the partition, see `Store.replace`."""
        partition, load_id = cleaning.partition, new_load_id()
        with tempfile.TemporaryDirectory(dir=work_dir) as directory:
            rows, rejected = Path(directory) / "rows.parquet", Path(directory) / "rejected.parquet"
            schema = flat_schema(cleaning.schema)
            outcome = cleaning.into(
                lambda batches: _write(map(flat, verified(batches, cleaning)), schema, load_id, rows)
            )
            _write_rejected(cleaning, load_id, rejected)
            entry = LedgerEntry.of(partition, outcome, source, load_id)
            with one_line(self._jobs.table(partition.dataset.table)):
                self._load(entry, rows, rejected)
        return outcome

    def record(self, entry: LedgerEntry) -> None:
        """Append the entry to the ledger, see `Store.record`. It is not valid once another load has committed."""
        if may_record(entry, self.entry(entry.partition, entry.status)):
            with one_line(self._jobs.table(ledger_table(entry.partition.dataset))):
                self._append_to_ledger(entry)

    def entry(self, partition: Partition, status: Status = "loaded") -> LedgerEntry | None:
        """The partition's ledger entry of that status, if there is one."""
        return next((e for e in self._entries(partition.dataset, partition) if e.status == status), None)

    def entries(self, dataset: Dataset) -> list[LedgerEntry]:
        """All ledger entries of the dataset, sorted by partition and status."""
        return sorted(self._entries(dataset), key=lambda entry: (entry.partition, entry.status))

    def count(self, partition: Partition) -> int:
        """How many rows the partition has in its table."""
        return self._count(partition.dataset.table, "SELECT COUNT(*) FROM {table} WHERE {of_partition}", partition)

    def count_rejected(self, partition: Partition) -> int:
        """How many rejected rows are stored of the load that the partition's entry is of."""
        entry = self.entry(partition)
        text = "SELECT COUNT(*) FROM {table} WHERE {of_partition} AND {load_id} = @valid"
        return self._count(tables_of(entry)[1], text, partition, valid=entry.load_id) if entry else 0

    def counts(self, dataset: Dataset) -> dict[Partition, int]:
        """How many rows of each partition the table has, without the ledger."""
        column = dataset.partition_column
        if column is None:
            rows = self.count(dataset.partition())
            return {dataset.partition(): rows} if rows else {}
        text = f"SELECT {column}, COUNT(*) AS n FROM {{table}} GROUP BY {column} ORDER BY {column}"
        table, counted = self._jobs.table(dataset.table), {}
        with one_line(table):
            for start, rows in map(tuple, self._jobs.query(dataset.table, text)):
                if start is None or (partition := dataset.partition_at(start)).column_value != start:
                    raise StoreFailed(table, f"has {rows:,} rows of {column} {start}, which no load wrote")
                counted[partition] = rows
        return counted

    def _load(self, entry: LedgerEntry, rows: Path, rejected: Path) -> None:
        """Load the files. Nothing of the load is valid before its rows are in place."""
        partition, table, rejected_rows = entry.partition, *tables_of(entry)
        before = self._jobs.load_ids(table, [partition]).get(partition)
        self._append_to_ledger(entry)
        if entry.rows_rejected:
            self._jobs.load(rejected_rows, partition, rejected, APPEND, _job_id(rejected_rows, entry))
        try:
            self._jobs.load(table, partition, rows, REPLACE, _job_id(table, entry))
        except (ClientError, StoreFailed):
            with failures_as_warnings(self._jobs.table(table)):
                # If the request for the job's state was rejected, the job may still commit.
                if (job := self._jobs.job(_job_id(table, entry))) is None or job.error_result:
                    self._delete([entry])
            raise
        with failures_as_warnings(self._jobs.table(table)):
            self._clean_up(entry, before)

    def _append_to_ledger(self, entry: LedgerEntry) -> None:
        partition = entry.partition
        table, schema = ledger_table(partition.dataset), recorded_schema(partition.dataset)
        with tempfile.TemporaryDirectory() as directory:
            file = Path(directory) / "ledger.parquet"
            pq.write_table(pa.Table.from_pylist([ledger_row(entry, now())], schema), file)
            self._jobs.load(table, partition, file, APPEND, f"taxiway-{table}-{partition.key}-{uuid.uuid4().hex}")

    def _clean_up(self, entry: LedgerEntry, before: str | None) -> None:
        """Delete what can never be valid again, now that the load of this entry has committed."""
        partition = entry.partition
        ledger, found = self._read(partition.dataset, partition)[partition]
        valid = {found.loaded, *(each.load_id for each in valid_entries(ledger, found, self._was_committed))}
        replaced, left_over = {before, entry.load_id, found.blocked}, now() - LEFT_OVER
        loads = [row.entry for row in ledger if row.entry.status != "refused" and row.entry.load_id not in valid]
        self._delete([each for each in loads if each.load_id in replaced or each.finished < left_over])
        if any(row.entry.status == "refused" for row in ledger):
            text = "DELETE FROM {table} WHERE {of_partition} AND status = 'refused' AND finished <= @finished"
            self._jobs.query(ledger_table(partition.dataset), text, partition, finished=entry.finished)

    def _delete(self, entries: list[LedgerEntry]) -> None:
        """Delete what is stored of loads of one partition, ledger entries last."""
        tables: dict[str, set[str]] = {}
        for entry in entries:
            rows, rejected = tables_of(entry)
            stored_in = [rejected] if entry.rows_rejected else []
            stored_in += [rows] if entry.status == "blocked" else []
            for table in (*stored_in, ledger_table(entry.partition.dataset)):
                tables.setdefault(table, set()).add(entry.load_id)
        text = "DELETE FROM {table} WHERE {of_partition} AND {load_id} IN UNNEST(@load_ids)"
        for table in sorted(tables, key=lambda name: name.endswith("_ledger")):
            self._jobs.query(table, text, entries[0].partition, load_ids=sorted(tables[table]))

    def _entries(self, dataset: Dataset, partition: Partition | None = None) -> list[LedgerEntry]:
        """The valid entries of the dataset, or of one partition."""
        with one_line(self._jobs.table(ledger_table(dataset))):
            read = self._read(dataset, partition).values()
            return [entry for ledger, found in read for entry in valid_entries(ledger, found, self._was_committed)]

    def _read(
        self, dataset: Dataset, partition: Partition | None = None
    ) -> dict[Partition, tuple[list[Recorded], Found]]:
        """The ledger's rows of each partition, and the load ids of the partition's rows.

        If a load commits, and deletes what it has replaced, between the two reads, both are read again.
        """
        ledger, found = self._recorded(dataset, partition)
        for _ in range(RACES):
            if all(resolved(rows, found[each]) for each, rows in ledger.items()):
                break
            before = found
            ledger, found = self._recorded(dataset, partition)
            if found == before:  # rows that no load of the ledger has written
                break
        return {each: (rows, found[each]) for each, rows in ledger.items()}

    def _recorded(
        self, dataset: Dataset, partition: Partition | None
    ) -> tuple[dict[Partition, list[Recorded]], dict[Partition, Found]]:
        ledger: dict[Partition, list[Recorded]] = defaultdict(list)
        for row in self._jobs.rows(ledger_table(dataset), partition):
            try:
                recorded = recorded_entry(dataset, dict(row))
            except (ValueError, KeyError, TypeError) as wrong:
                table = self._jobs.table(ledger_table(dataset))
                raise StoreFailed(table, f"has a row that is not an entry of this version: {wrong}") from None
            ledger[recorded.entry.partition].append(recorded)
        with_blocked = [each for each, rows in ledger.items() if any(row.entry.status == "blocked" for row in rows)]
        loaded = self._jobs.load_ids(dataset.table, list(ledger))
        blocked = self._jobs.load_ids(blocked_table(dataset), with_blocked)
        return ledger, {each: Found(loaded.get(each), blocked.get(each)) for each in ledger}

    def _was_committed(self, entry: LedgerEntry) -> bool:
        """Whether the load has put its rows in place, by its job."""
        if not entry.load_id or entry.finished < now() - JOBS_KEPT:
            return True
        job = self._jobs.job(_job_id(tables_of(entry)[0], entry))
        return job is not None and job.state == "DONE" and not job.error_result

    def _count(self, table: str, text: str, partition: Partition, **parameters: str) -> int:
        with one_line(self._jobs.table(table)):
            return sum(row[0] for row in self._jobs.query(table, text, partition, **parameters))


def _job_id(table: str, entry: LedgerEntry) -> str:
    """The id of the load's job for the table, by which its state can be read."""
    return f"taxiway-{table}-{entry.partition.key}-{entry.load_id}"


def _write(batches: Iterable[pa.RecordBatch], schema: pa.Schema, load_id: str, to: Path) -> int:
    """Write the batches to a parquet file, each row with the load's id. Returns the number of rows."""
    marked = (batch.append_column(LOAD_ID, pa.repeat(load_id, batch.num_rows)) for batch in batches)
    return write_parquet(marked, schema.append(pa.field(LOAD_ID, pa.string())), to)


def _write_rejected(cleaning: Cleaning, load_id: str, to: Path) -> None:
    """Write the rejected rows to a parquet file, each with the partition column and the load's id."""
    partition = cleaning.partition
    column, batches = partition.dataset.partition_column, rejected_batches(cleaning)
    schema = with_partition_column(REJECTED_SCHEMA, partition.dataset)
    if column:
        start = pa.scalar(partition.column_value, schema.field(column).type)
        batches = (batch.append_column(schema.field(column), pa.repeat(start, batch.num_rows)) for batch in batches)
    _write(batches, schema, load_id, to)
