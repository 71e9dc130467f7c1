"""The Postgres store: a table per service, a partition per month, emptied and filled by binary COPY in one transaction.

A month is replaced by DELETE and COPY in its partition, not by swapping in a new table, because of who else is there:
the row versions decide what a reader sees, so every reader, also one in a long REPEATABLE READ transaction such as
pg_dump's, sees the old month or the new one whole, is never waited for and never waits. Dropping a partition and
attaching another takes an exclusive lock on the whole service's table, and an older snapshot then sees an empty month.
The price is the DELETE (half a second per million rows, on a reload only) and dead rows, which autovacuum reclaims.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import adbc_driver_manager
import psycopg
import pyarrow as pa
from adbc_driver_postgresql import dbapi
from psycopg import sql

from flows.errors import StoreFailed
from flows.stores import postgres_tables as tables
from flows.stores.batches import EXTRA, Stream, checked, flat, flat_schema, rejected_batches
from flows.stores.ledger import LedgerEntry, LoadSource, Status
from flows.trips.month import Month, Service
from flows.trips.rejected import REJECTED_SCHEMA

if TYPE_CHECKING:
    from flows.trips.clean import Cleaning

SESSION = (
    # A client host that vanishes would else hold its month until the server's system gives up on it, two hours later.
    "SET tcp_keepalives_idle = 30",
    "SET tcp_keepalives_interval = 10",
    "SET tcp_keepalives_count = 3",
    "SET statement_timeout = 0",
    "SET client_min_messages = warning",
)

# For locks that only a person's own DDL can hold. The wait for another load of the same month has no end.
LOCK_WAIT = "SET LOCAL lock_timeout = '60s'"


class PostgresStore:
    """Months in a PostgreSQL database: `{service}_trips`, `rejected_trips` and `trips_ledger` in its default schema.

    Args:
        uri: what libpq takes, `postgresql://user:password@host:port/database`. Its password is in no exception.

    Every method raises StoreFailed, one line, for what the server refuses.
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
            work_dir: not used; the other stores' `replace` takes it.

        Returns:
            the ledger entry, `loaded` or `blocked`.

        Raises:
            StoreFailed: what the server refuses, a batch or a table that does not fit the contract, a lost row.
            Exception: whatever the pass raises (Refused, for one), as it is.
        """
        month = cleaning.month
        with self._one_line(str(month)):
            tables.prepare(self._uri, month, cleaning.schema)
            with self._transaction() as (connection, cursor):
                _fill_partition(cursor, cleaning)
                entry = LedgerEntry.of(cleaning, source)
                if entry.status == "blocked":
                    self._keep_aside(cursor, cleaning, entry)
                    connection.rollback()
                else:
                    _replace_rejected(cursor, cleaning)
                    _replace_entry(cursor, entry)
                    connection.commit()
            if entry.status == "loaded":
                tables.drop_blocked(self._uri, month)
        return entry

    def record(self, entry: LedgerEntry) -> None:
        """Write the entry of (month, status) without touching any row of data.

        A `refused` one is written over the last one. A `loaded` or `blocked` one is only written while the stored entry
        of that status has the same `load_id`: another load's entry stays.

        Raises:
            StoreFailed: what the server refuses, a ledger that does not fit LedgerEntry.
        """
        with self._one_line(tables.LEDGER):
            tables.prepare_ledger(self._uri)
            with psycopg.connect(self._uri) as connection:
                _record(connection, entry)

    def entry(self, month: Month, status: Status = "loaded") -> LedgerEntry | None:
        """The month's ledger entry of that status; None if there is none."""
        return next((e for e in self.entries() if (e.of_month, e.status) == (month, status)), None)

    def entries(self) -> list[LedgerEntry]:
        """The whole ledger, of every status, by service and month."""
        rows = self._rows(tables.LEDGER, "SELECT row_to_json(t) FROM {} t ORDER BY service, month, status")
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
        with self._one_line(table), psycopg.connect(self._uri, autocommit=True) as connection:
            if not tables.existing_columns(connection, table):
                return []
            return connection.execute(sql.SQL(query).format(sql.Identifier(table)), parameters).fetchall()

    @contextmanager
    def _transaction(self) -> Iterator[tuple[dbapi.Connection, dbapi.Cursor]]:
        """A connection of the ADBC driver in a transaction, rolled back at the end unless it was committed."""
        with closing(dbapi.connect(self._uri)) as connection, closing(connection.cursor()) as cursor:
            for setting in SESSION:
                cursor.execute(setting)
            connection.commit()
            yield connection, cursor

    def _keep_aside(self, loaded: dbapi.Cursor, cleaning: Cleaning, entry: LedgerEntry) -> None:
        """Copy a blocked month out of the transaction that is about to be undone, into tables of its own."""
        trips, rejected = tables.blocked(cleaning.month)
        with self._transaction() as (connection, cursor):
            cursor.execute(LOCK_WAIT)
            for table in (trips, rejected):
                cursor.execute(f"DROP TABLE IF EXISTS {table}")
            cursor.execute(f"CREATE TABLE {trips} ({tables.columns_text(tables.columns(cleaning.schema))})")
            cursor.execute(f"CREATE TABLE {rejected} ({tables.columns_text(tables.rejected_columns())})")
            schema = flat_schema(cleaning.schema)
            _copy(cursor, trips, schema, _partition_batches(loaded, cleaning), lambda: entry.rows_loaded)
            _copy(cursor, rejected, REJECTED_SCHEMA, rejected_batches(cleaning), lambda: entry.rows_rejected)
            _replace_entry(cursor, entry)
            connection.commit()

    @contextmanager
    def _one_line(self, subject: str) -> Iterator[None]:
        """Turn a driver's exception into StoreFailed: one line, without the password."""
        try:
            yield
        except (psycopg.Error, adbc_driver_manager.Error) as error:
            raise StoreFailed(subject, without_password(str(error), self._uri)) from None


def _fill_partition(cursor: dbapi.Cursor, cleaning: Cleaning) -> None:
    """Alone with the month, replace the rows of its partition by those of the pass."""
    partition = tables.partition(cleaning.month)
    cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended($1, 0))", (f"taxiway {cleaning.month}",))
    cursor.execute(LOCK_WAIT)
    cursor.execute(f"DELETE FROM {partition}")
    batches = (flat(batch) for batch in checked(cleaning))
    _copy(cursor, partition, flat_schema(cleaning.schema), batches, lambda: cleaning.counts.rows_clean)


def _partition_batches(cursor: dbapi.Cursor, cleaning: Cleaning) -> Iterator[pa.RecordBatch]:
    """The month's rows as this transaction sees them, in `flat_schema`."""
    schema = flat_schema(cleaning.schema)
    # The driver would read json as an Arrow extension type.
    names = ", ".join(f"{name}::text" if name == EXTRA else name for name in schema.names)
    cursor.execute(f"SELECT {names} FROM {tables.partition(cleaning.month)}")
    for batch in cursor.fetch_record_batch():
        yield pa.RecordBatch.from_arrays(batch.columns, schema=schema)


def _replace_rejected(cursor: dbapi.Cursor, cleaning: Cleaning) -> None:
    month = cleaning.month
    cursor.execute(
        "DELETE FROM rejected_trips WHERE service = $1 AND source_month = $2", (str(month.service), month.first)
    )
    rejected = cleaning.counts.rows_rejected
    _copy(cursor, "rejected_trips", REJECTED_SCHEMA, rejected_batches(cleaning), lambda: rejected)


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
    connection.execute(written, entry.to_dict() | {"entry": entry.to_json()})


def _replace_entry(cursor: dbapi.Cursor, entry: LedgerEntry) -> None:
    """Write the ledger row: it takes the place of the month's `refused` one and, if loaded, of its `blocked` one."""
    cursor.execute(
        "DELETE FROM trips_ledger WHERE service = $1 AND month = $2 AND (status IN ($3, 'refused') OR $3 = 'loaded')",
        (entry.service, entry.month, entry.status),
    )
    row = "json_populate_record(NULL::trips_ledger, $1::json)"
    cursor.execute(f"INSERT INTO trips_ledger SELECT * FROM {row}", (entry.to_json(),))


def _entry(values: dict[str, Any]) -> LedgerEntry:
    """A row of the ledger. Columns of a later version are left out here; a load refuses them by name."""
    known = tables.ledger_columns()
    return LedgerEntry.from_dict({name: v for name, v in values.items() if name in known and v is not None})


def _copy(
    cursor: dbapi.Cursor,
    table: str,
    schema: pa.Schema,
    batches: Iterator[pa.RecordBatch],
    expected: Callable[[], int],
) -> None:
    """Append the batches to the table by binary COPY, and compare what the server took with what was `expected` to be
    sent (asked at the end: a pass knows its count only then).

    Raises:
        StoreFailed: if a row was lost or doubled on the way.
        Exception: what the batches raise, as it is; the driver would keep its text only.
    """
    stream = Stream(batches)
    try:
        taken = cursor.adbc_ingest(table, stream.reader(schema), mode="append")
    except adbc_driver_manager.Error:
        if stream.error is not None:
            raise stream.error from None
        raise
    if taken != expected():
        raise StoreFailed(table, f"took {taken} rows of {expected()}")


def without_password(text: str, uri: str) -> str:
    """The text with the URI's password, as written and as decoded, replaced by `***`."""
    for found in re.findall(r"://[^/@]*?:([^/]*)@|password=([^&]*)", uri):
        for secret in {*found, *map(unquote, found)} - {""}:
            text = text.replace(secret, "***")
    return text
