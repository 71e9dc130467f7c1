"""The Postgres store: a table per service, a partition per month, emptied and filled by binary COPY in one transaction.

A month is replaced by DELETE and COPY in its partition, not by swapping in a new table, because of who else is there:
the row versions decide what a reader sees, so every reader, also one in a long REPEATABLE READ transaction such as
pg_dump's, sees the old month or the new one whole, is never waited for and never waits. Dropping a partition and
attaching another takes an exclusive lock on the whole service's table, and an older snapshot then sees an empty month.
The price is the DELETE (half a second per million rows, on a reload only) and dead rows, which autovacuum reclaims.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import adbc_driver_manager
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
from adbc_driver_postgresql import dbapi
from psycopg import sql
from psycopg.conninfo import make_conninfo

from flows.datasets.partition import Month, Service
from flows.datasets.rejected import REJECTED_SCHEMA
from flows.errors import StoreFailed
from flows.stores import postgres_tables as tables
from flows.stores.batches import EXTRA, Stream, checked, flat, flat_schema, rejected_batches, write_parquet
from flows.stores.ledger import LedgerEntry, LoadSource, Status, new_load_id
from flows.stores.postgres_errors import DRIVER_ERRORS, store_error

if TYPE_CHECKING:
    from flows.datasets.cleaning import Cleaning

# For one transaction each: in a session that a pooler lends out they would stay for its next client.
SETTINGS = (
    # A client host that vanishes would else hold its month until the server's system gives up on it, two hours later.
    "SET LOCAL tcp_keepalives_idle = 30",
    "SET LOCAL tcp_keepalives_interval = 10",
    "SET LOCAL tcp_keepalives_count = 3",
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL client_min_messages = warning",
)

RULE_OR_TRIGGER = "a rule or a trigger on it changes what is deleted and inserted"

# The entries of a month that a new one of status $3 takes the place of.
REPLACED = "service = $1 AND month = $2 AND (status IN ($3, 'refused') OR $3 = 'loaded')"


class PostgresStore:
    """Months in a PostgreSQL database: `{service}_trips`, `rejected_trips` and `trips_ledger` in its default schema.

    Args:
        uri: what libpq takes, `postgresql://user:password@host:port/database` or `host=... dbname=...`. Its password
            is in no exception.

    One connection is open at a time. Every method raises, in one line, StoreFailed for what the server refuses and
    StoreUnavailable for a server that cannot be reached now, a lost connection, a full disk.
    """

    def __init__(self, uri: str) -> None:
        self._uri = uri

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path | None = None) -> LedgerEntry:
        """Run the pass and put its month in place of the one that is there, with its rejected rows and its ledger row.

        All of it in one transaction: until it commits, and if anything at all goes wrong, the old month stays. A second
        load of the same month waits for the first. A month that a quality check blocks goes to
        `{partition}_blocked` (its rejected rows to `{partition}_blocked_rejected`) and changes nothing else.

        Args:
            cleaning: a pass that has not begun.
            source: where it comes from, for the ledger.
            work_dir: where a blocked month is kept for a moment; None: the system's.

        Returns:
            the ledger entry, `loaded` or `blocked`.

        Raises:
            StoreFailed: what the server refuses, a batch or a table that does not fit the contract (a table: before the
                pass begins), rows that are not there after they were stored.
            StoreUnavailable: the server cannot be reached or the connection is lost, a lock is not released.
            Exception: whatever the pass raises (Refused, for one), as it is.
        """
        month = cleaning.month
        with self._one_line(str(month)):
            tables.prepare(self._conninfo, month, cleaning.schema)
            with self._connection() as (connection, cursor):
                _begin(cursor, month)
                _fill_partition(cursor, cleaning)
                entry = LedgerEntry.of(cleaning, source, new_load_id())
                if entry.status == "blocked":
                    _keep_aside(connection, cursor, cleaning, entry, work_dir)
                else:
                    _replace_rejected(cursor, cleaning)
                    for table in tables.blocked(month):
                        tables.clear(cursor, table)
                _replace_entry(cursor, entry)
                connection.commit()
        return entry

    def record(self, entry: LedgerEntry) -> None:
        """Write the entry of (month, status) without touching any row of data.

        A `refused` one is written over the last one. A `loaded` or `blocked` one is only written while the stored entry
        of that status has the same `load_id`: another load's entry stays.

        Raises:
            StoreFailed: what the server refuses, a ledger that does not fit LedgerEntry.
            StoreUnavailable: the server cannot be reached, or a lock is not released.
        """
        with self._one_line(tables.LEDGER):
            tables.prepare_ledger(self._conninfo)
            with psycopg.connect(self._conninfo) as connection:
                _record(connection, entry)

    def entry(self, month: Month, status: Status = "loaded") -> LedgerEntry | None:
        """The month's ledger entry of that status; None if there is none."""
        return next((e for e in self.entries() if (e.of_month, e.status) == (month, status)), None)

    def entries(self, service: Service | None = None) -> list[LedgerEntry]:
        """The whole ledger or that of a service, of every status, by service and month."""
        query = "SELECT row_to_json(t) FROM {} t WHERE service = coalesce(%s, service) ORDER BY service, month, status"
        rows = self._rows(tables.LEDGER, query, service and str(service))
        return [_entry(values) for (values,) in rows]

    def count(self, month: Month) -> int:
        """Rows of the month that are in its table now, counted there."""
        query = "SELECT count(*) FROM {} WHERE source_month = %s"
        return sum(n for (n,) in self._rows(tables.parent(month), query, month.first))

    def count_rejected(self, month: Month) -> int:
        """Rows of the month that are in `rejected_trips` now, counted there."""
        query = "SELECT count(*) FROM {} WHERE service = %s AND source_month = %s"
        return sum(n for (n,) in self._rows("rejected_trips", query, str(month.service), month.first))

    def counts(self) -> dict[Month, int]:
        """Rows of every month of every service that has any, counted in the tables, whatever the ledger says."""
        query = "SELECT source_month, count(*) FROM {} GROUP BY 1 ORDER BY 1"
        return {
            Month(service, first.year, first.month): n
            for service in Service
            for first, n in self._rows(f"{service}_trips", query)
        }

    def _rows(self, table: str, query: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """The query's rows, `{}` in it being the table; none if there is no such table yet."""
        with self._one_line(table), psycopg.connect(self._conninfo, autocommit=True) as connection:
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


def _begin(cursor: dbapi.Cursor, month: Month) -> None:
    """Be alone with the month until the transaction ends."""
    for setting in SETTINGS:
        cursor.execute(setting)
    # The wait for another load of the same month has no end.
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (f"taxiway {month}",))
    cursor.execute(tables.LOCK_WAIT)


def _fill_partition(cursor: dbapi.Cursor, cleaning: Cleaning) -> None:
    """Replace the rows of the month's partition by those of the pass."""
    partition = tables.partition(cleaning.month)
    cursor.execute(f"DELETE FROM {partition}")
    batches = (flat(batch) for batch in checked(cleaning))
    _copy(cursor, partition, flat_schema(cleaning.schema), batches, lambda: cleaning.counts.rows_clean)


def _replace_rejected(cursor: dbapi.Cursor, cleaning: Cleaning) -> None:
    of_month = f"WHERE service = '{cleaning.month.service}' AND source_month = '{cleaning.month.first}'"
    cursor.execute(f"DELETE FROM {tables.REJECTED} {of_month}")
    _copy_rejected(cursor, tables.REJECTED, cleaning, of_month)


def _keep_aside(
    connection: dbapi.Connection,
    cursor: dbapi.Cursor,
    cleaning: Cleaning,
    entry: LedgerEntry,
    work_dir: Path | None,
) -> None:
    """Undo the transaction that a blocked month was loaded in; in a new one, put the month into tables of its own."""
    trips, rejected = tables.blocked(cleaning.month)
    schema = flat_schema(cleaning.schema)
    with tempfile.TemporaryDirectory(dir=work_dir, prefix="taxiway-") as directory:
        file = Path(directory) / "blocked.parquet"
        write_parquet(_partition_batches(cursor, cleaning), schema, file)
        connection.rollback()
        _begin(cursor, cleaning.month)
        for table, wanted in ((trips, tables.columns(cleaning.schema)), (rejected, tables.rejected_columns())):
            tables.clear(cursor, table)
            tables.fit(cursor, table, wanted, "the contract")
        with pq.ParquetFile(file) as kept:
            _copy(cursor, trips, schema, kept.iter_batches(), lambda: entry.rows_loaded)
    _copy_rejected(cursor, rejected, cleaning)


def _partition_batches(cursor: dbapi.Cursor, cleaning: Cleaning) -> Iterator[pa.RecordBatch]:
    """The month's rows as this transaction sees them, in `flat_schema`."""
    schema = flat_schema(cleaning.schema)
    # The driver would read json as an Arrow extension type.
    names = ", ".join(f"{name}::text" if name == EXTRA else name for name in schema.names)
    cursor.execute(f"SELECT {names} FROM {tables.partition(cleaning.month)}")
    for batch in cursor.fetch_record_batch():
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _record(connection: psycopg.Connection, entry: LedgerEntry) -> None:
    """Write the entry as `PostgresStore.record` says. Each is one statement, so that a load at the same time counts."""
    names = ", ".join(tables.ledger_columns())
    given = f"SELECT {names} FROM json_populate_record(NULL::trips_ledger, %(entry)s)"
    key = "(service, month, status)"
    if entry.status == "refused":
        excluded = ", ".join(f"excluded.{name}" for name in tables.ledger_columns())
        written = f"INSERT INTO trips_ledger ({names}) {given} ON CONFLICT {key} DO UPDATE SET ({names}) = ({excluded})"
    else:
        same = f"{key} = (%(service)s, %(month)s, %(status)s) AND coalesce(load_id, '') = %(load_id)s"
        written = f"UPDATE trips_ledger SET ({names}) = ({given}) WHERE {same}"
    connection.execute(written, entry.to_dict() | {"entry": _json(entry)})


def _replace_entry(cursor: dbapi.Cursor, entry: LedgerEntry) -> None:
    """Write the ledger row: it takes the place of the month's `refused` one and, if loaded, of its `blocked` one."""
    key = (entry.service, entry.month, entry.status)
    cursor.execute(f"DELETE FROM {tables.LEDGER} WHERE {REPLACED}", key)
    row = f"json_populate_record(NULL::{tables.LEDGER}, $1::json)"
    cursor.execute(f"INSERT INTO {tables.LEDGER} SELECT * FROM {row}", (_json(entry),))
    cursor.execute(f"SELECT load_id FROM {tables.LEDGER} WHERE {REPLACED}", key)
    if cursor.fetchall() != [(entry.load_id,)]:
        raise StoreFailed(tables.LEDGER, f"has other entries of {entry.of_month} than were written; {RULE_OR_TRIGGER}")


def _json(entry: LedgerEntry) -> str:
    """The entry for json_populate_record. Not in ASCII: an SQL_ASCII database refuses escapes of other characters."""
    return json.dumps(entry.to_dict(), ensure_ascii=False)


def _entry(values: dict[str, Any]) -> LedgerEntry:
    """A row of the ledger. Columns of a later version are left out here; a load refuses them by name.

    Raises:
        StoreFailed: the row is no entry: someone has edited it, or a later version has written it.
    """
    known = tables.ledger_columns()
    try:
        return LedgerEntry.from_dict({name: v for name, v in values.items() if name in known and v is not None})
    except (ValueError, KeyError, TypeError) as wrong:
        raise StoreFailed(tables.LEDGER, f"has a row that is no entry of this version: {wrong}") from None


def _copy_rejected(cursor: dbapi.Cursor, table: str, cleaning: Cleaning, where: str = "") -> None:
    rejected = cleaning.counts.rows_rejected
    _copy(cursor, table, REJECTED_SCHEMA, rejected_batches(cleaning), lambda: rejected, where)


def _copy(
    cursor: dbapi.Cursor,
    table: str,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    expected: Callable[[], int],
    where: str = "",
) -> None:
    """Append the batches to the table by binary COPY, and compare with what was `expected` (asked at the end: a pass
    knows its count only then) both what the driver sent and what then is in the table: all of it, or `where`.

    Raises:
        StoreFailed: if a row was lost or doubled on the way, or one that was deleted is still there.
        Exception: what the batches raise, as it is; the driver would keep its text only.
    """
    stream = Stream(batches)
    try:
        sent = cursor.adbc_ingest(table, stream.reader(schema), mode="append")
    except adbc_driver_manager.Error:
        if stream.error is not None:
            raise stream.error from None
        raise
    if sent != expected():
        raise StoreFailed(table, f"took {sent} rows of {expected()}")
    cursor.execute(f"SELECT count(*) FROM {table} {where}")
    ((stored,),) = cursor.fetchall()
    if stored != sent:
        raise StoreFailed(table, f"holds {stored} rows where {sent} were stored; {RULE_OR_TRIGGER}")
