"""The Postgres store: a table per dataset; a load replaces a partition by DELETE and binary COPY in one transaction.

Every reader, even one in a long REPEATABLE READ transaction such as pg_dump's, sees the old rows or the new ones, and
does not wait. Dropping the partition and attaching another one would take an exclusive lock on the whole table, and
older snapshots would see an empty partition. The price is the DELETE (half a second per million rows, on a reload only)
and dead rows, which autovacuum reclaims.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing
from functools import cached_property
from pathlib import Path
from typing import Any

import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from adbc_driver_postgresql import dbapi
from psycopg import sql
from psycopg.conninfo import make_conninfo

from flows.datasets.cleaning import Cleaning
from flows.datasets.dataset import EXTRA_COLUMNS, Dataset, Partition
from flows.datasets.outcome import Outcome
from flows.stores import postgres_tables as tables
from flows.stores.batches import flat, flat_schema, verified, write_parquet
from flows.stores.ledger import LedgerEntry, LoadSource, Status, new_load_id
from flows.stores.postgres_copy import copy_batches, copy_rejected
from flows.stores.postgres_errors import one_line
from flows.stores.postgres_ledger import entry_of_row, record, replace_entry

# Set for one transaction only: behind a connection pooler, session settings would apply to the next client.
SETTINGS = (
    # Without keepalives, a client host that loses its network would keep its lock until TCP times out, in two hours.
    "SET LOCAL tcp_keepalives_idle = 30",
    "SET LOCAL tcp_keepalives_interval = 10",
    "SET LOCAL tcp_keepalives_count = 3",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL client_min_messages = warning",
)


class PostgresStore:
    """A `Store` in a PostgreSQL database's default schema: a table per dataset, `rejected_rows` and `load_ledger`.

    `uri` is a connection string of libpq, `postgresql://user:password@host:port/database` or `host=... dbname=...`. Its
    password is in no exception. One connection is open at a time.
    """

    name = "postgres"

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path | None = None) -> Outcome:
        """Replace the partition, its rejected rows and its ledger entry in one transaction, see `Store.replace`.

        A second load of the same partition waits for the first. A blocked partition goes to `{partition}_blocked`, its
        rejected rows to `{partition}_blocked_rejected`.
        """
        partition = cleaning.partition
        with one_line(str(partition), self._uri):
            tables.prepare(self._conninfo, partition, cleaning.schema)
            # What is not committed is rolled back when the connection is closed.
            with closing(dbapi.connect(self._conninfo)) as connection, closing(connection.cursor()) as cursor:
                _begin(cursor, partition)
                outcome = _fill_partition(cursor, cleaning)
                entry = LedgerEntry.of(partition, outcome, source, new_load_id())
                if entry.status == "blocked":
                    _store_blocked(connection, cursor, cleaning, outcome, work_dir)
                else:
                    _replace_rejected(cursor, cleaning, outcome)
                    for table in tables.blocked(partition):
                        tables.clear(cursor, table)
                replace_entry(cursor, entry)
                connection.commit()
        return outcome

    def record(self, entry: LedgerEntry) -> None:
        """Write the entry of its partition and status, see `Store.record`."""
        with one_line(tables.LEDGER, self._uri):
            tables.prepare_ledger(self._conninfo)
            with psycopg.connect(self._conninfo) as connection:
                record(connection, entry)

    def entry(self, partition: Partition, status: Status = "loaded") -> LedgerEntry | None:
        """The partition's ledger entry of that status; None if there is none."""
        entries = self.entries(partition.dataset)
        return next((entry for entry in entries if (entry.partition, entry.status) == (partition, status)), None)

    def entries(self, dataset: Dataset) -> list[LedgerEntry]:
        """The dataset's ledger: entries of every status, by partition and status."""
        query = "SELECT row_to_json(t) FROM {} t WHERE dataset = %s ORDER BY partition_key, status"
        return [entry_of_row(dataset, values) for (values,) in self._rows(tables.LEDGER, query, dataset.name)]

    def count(self, partition: Partition) -> int:
        """The partition's rows, counted in its table."""
        query, column = "SELECT count(*) FROM {}", partition.dataset.partition_column
        of_partition = (f"{query} WHERE {column} = %s", partition.column_value) if column else (query,)
        return sum(n for (n,) in self._rows(partition.dataset.table, *of_partition))

    def count_rejected(self, partition: Partition) -> int:
        """The partition's rejected rows, counted in `rejected_rows`."""
        query = "SELECT count(*) FROM {} WHERE dataset = %s AND partition_key = %s"
        return sum(n for (n,) in self._rows(tables.REJECTED, query, partition.dataset.name, partition.key))

    def counts(self, dataset: Dataset) -> dict[Partition, int]:
        """The rows of every partition that has any, counted in the table, whatever the ledger says."""
        column = dataset.partition_column
        if column is None:
            rows = self.count(dataset.partition())
            return {dataset.partition(): rows} if rows else {}
        query = f"SELECT {column}, count(*) FROM {{}} GROUP BY 1 ORDER BY 1"
        return {dataset.partition_at(start): n for start, n in self._rows(dataset.table, query)}

    def _rows(self, table: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The query's rows; `{}` in it is the table. No rows if the table does not exist yet."""
        with one_line(table, self._uri), psycopg.connect(self._conninfo, autocommit=True) as connection:
            if not tables.existing_columns(connection.cursor(), table):
                tables.upgrade(self._conninfo)
            if not tables.existing_columns(connection.cursor(), table):
                return []
            return connection.execute(sql.SQL(query).format(sql.Identifier(table)), parameters).fetchall()

    @cached_property
    def _conninfo(self) -> str:
        """The connection string, with UTF-8 as the client's encoding, which binary COPY sends."""
        return make_conninfo(self._uri, client_encoding="UTF8")


def _begin(cursor: dbapi.Cursor, partition: Partition) -> None:
    """Lock the partition until the transaction ends; wait for another load of it without a time limit."""
    for setting in SETTINGS:
        cursor.execute(setting)
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (f"taxiway {partition}",))
    cursor.execute(tables.LOCK_WAIT)


def _fill_partition(cursor: dbapi.Cursor, cleaning: Cleaning) -> Outcome:
    """Replace the rows of the partition by those of the pass."""
    table, schema = tables.partition_table(cleaning.partition), flat_schema(cleaning.schema)
    cursor.execute(f"DELETE FROM {table}")
    return cleaning.into(lambda batches: copy_batches(cursor, table, schema, map(flat, verified(batches, cleaning))))


def _replace_rejected(cursor: dbapi.Cursor, cleaning: Cleaning, outcome: Outcome) -> None:
    partition = cleaning.partition
    where = f"WHERE dataset = '{partition.dataset.name}' AND partition_key = '{partition.key}'"
    cursor.execute(f"DELETE FROM {tables.REJECTED} {where}")
    copy_rejected(cursor, tables.REJECTED, cleaning, outcome, where)


def _store_blocked(
    connection: dbapi.Connection, cursor: dbapi.Cursor, cleaning: Cleaning, outcome: Outcome, work_dir: Path | None
) -> None:
    """Roll back the load of a blocked partition; in a new transaction, store it in tables of its own."""
    rows, rejected = tables.blocked(cleaning.partition)
    schema = flat_schema(cleaning.schema)
    with tempfile.TemporaryDirectory(dir=work_dir, prefix="taxiway-") as directory:
        file = Path(directory) / "blocked.parquet"
        write_parquet(_partition_batches(cursor, cleaning), schema, file)
        connection.rollback()
        _begin(cursor, cleaning.partition)
        for table, columns in ((rows, tables.columns(cleaning.schema)), (rejected, tables.rejected_columns())):
            tables.clear(cursor, table)
            tables.fit(cursor, table, columns, "the contract")
        with pq.ParquetFile(file) as stored:
            copy_batches(cursor, rows, schema, stored.iter_batches(), expected=outcome.rows_loaded)
    copy_rejected(cursor, rejected, cleaning, outcome)


def _partition_batches(cursor: dbapi.Cursor, cleaning: Cleaning) -> Iterator[pa.RecordBatch]:
    """The partition's rows as this transaction sees them, in `flat_schema`."""
    schema = flat_schema(cleaning.schema)
    # The driver would read json as an Arrow extension type.
    names = ", ".join(f"{name}::text" if name == EXTRA_COLUMNS else name for name in schema.names)
    cursor.execute(f"SELECT {names} FROM {tables.partition_table(cleaning.partition)}")
    for batch in cursor.fetch_record_batch():
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)
