"""The Postgres store: a table per dataset, whose partitions are emptied and filled by binary COPY in one transaction.

A partition is replaced by DELETE and COPY, not by a new table in place of the old one: so every reader, also one in a
long REPEATABLE READ transaction such as pg_dump's, sees the old rows or the new ones, and no one waits. Dropping a
partition and attaching another takes an exclusive lock on the whole table, and an older snapshot then sees an empty
partition. The price is the DELETE (half a second per million rows, on a reload only) and dead rows, which autovacuum
reclaims.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
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
from flows.stores.postgres_errors import DRIVER_ERRORS, store_error
from flows.stores.postgres_ledger import entry_of_row, record, replace_entry

# For one transaction each: in the session of a connection pooler they would apply to its next client.
SETTINGS = (
    # Without them a client host that loses its connection would hold its lock until TCP times out, two hours later.
    "SET LOCAL tcp_keepalives_idle = 30",
    "SET LOCAL tcp_keepalives_interval = 10",
    "SET LOCAL tcp_keepalives_count = 3",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL client_min_messages = warning",
)


class PostgresStore:
    """Partitions in a PostgreSQL database, in its default schema: a table per dataset, `rejected_rows`, `load_ledger`.

    Args:
        uri: what libpq takes, `postgresql://user:password@host:port/database` or `host=... dbname=...`. Its password
            is in no exception.

    One connection is open at a time. The methods are those of `flows.stores.store.Store`.
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
        with self._one_line(str(partition)):
            tables.prepare(self._conninfo, partition, cleaning.schema)
            with self._connection() as (connection, cursor):
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
        with self._one_line(tables.LEDGER):
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
        """The query's rows, `{}` in it being the table; none if the table does not exist yet."""
        with self._one_line(table), psycopg.connect(self._conninfo, autocommit=True) as connection:
            if not tables.existing_columns(connection.cursor(), table):
                tables.upgrade(self._conninfo)
            if not tables.existing_columns(connection.cursor(), table):
                return []
            return connection.execute(sql.SQL(query).format(sql.Identifier(table)), parameters).fetchall()

    @cached_property
    def _conninfo(self) -> str:
        """What to connect with. Binary COPY sends UTF-8, whatever the encoding of the database or of the role."""
        return make_conninfo(self._uri, client_encoding="UTF8")

    @contextmanager
    def _connection(self) -> Iterator[tuple[dbapi.Connection, dbapi.Cursor]]:
        """A connection of the ADBC driver, in a transaction. What is not committed at the end is rolled back."""
        with closing(dbapi.connect(self._conninfo)) as connection, closing(connection.cursor()) as cursor:
            yield connection, cursor

    @contextmanager
    def _one_line(self, subject: str) -> Iterator[None]:
        """Turn a driver's exception into one of ours."""
        try:
            yield
        except DRIVER_ERRORS as error:
            raise store_error(subject, error, self._uri) from None


def _begin(cursor: dbapi.Cursor, partition: Partition) -> None:
    """Take the lock on the partition, until the transaction ends."""
    for setting in SETTINGS:
        cursor.execute(setting)
    # Another load of the same partition is waited for without a limit.
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
    connection: dbapi.Connection,
    cursor: dbapi.Cursor,
    cleaning: Cleaning,
    outcome: Outcome,
    work_dir: Path | None,
) -> None:
    """Roll back the transaction that loaded a blocked partition; in a new one, store it in tables of its own."""
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
