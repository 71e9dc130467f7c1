"""The tables of the Postgres store: made from the contract, and held against it before every load."""

from __future__ import annotations

import time
from contextlib import suppress

import psycopg
import pyarrow as pa

from flows.errors import StoreFailed
from flows.trips.month import Month

TYPES = {
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.string(): "text",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp without time zone",
    pa.map_(pa.string(), pa.string()): "json",
}

LEDGER = """
    CREATE TABLE IF NOT EXISTS trips_ledger (
        service text NOT NULL, month text NOT NULL, status text NOT NULL, source text NOT NULL, checksum text NOT NULL,
        bytes bigint NOT NULL, rows_read bigint NOT NULL, rows_loaded bigint NOT NULL, rows_rejected bigint NOT NULL,
        reasons json NOT NULL, contract_version text NOT NULL, checks json NOT NULL,
        started timestamptz NOT NULL, finished timestamptz NOT NULL, flow_run_id text,
        PRIMARY KEY (service, month, status), CHECK (rows_read = rows_loaded + rows_rejected))"""

REJECTED_COLUMNS = "service text, source_month date, row_number bigint, reason text, row text"

REJECTED = f"""
    CREATE TABLE rejected_trips ({REJECTED_COLUMNS});
    CREATE INDEX rejected_trips_month ON rejected_trips (service, source_month)"""

# One load at a time prepares tables, of whatever service: without it two first loads race to create the same table.
PREPARE_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('taxiway tables', 0))"

# A column is added under an exclusive lock on the table; while that is waited for, new readers queue behind it. So wait
# a second at a time, with pauses in which the readers go on: about a minute in all.
ALTER_TRIES, ALTER_WAIT = 20, "1s"


def parent(month: Month) -> str:
    """The table of all months of the service: `green_trips`."""
    return f"{month.service}_trips"


def partition(month: Month) -> str:
    """The table of one month, a partition of `parent`: `green_trips_2021_01`."""
    return f"{parent(month)}_{month.year}_{month.month:02}"


def columns(schema: pa.Schema) -> dict[str, str]:
    """The contract's columns as PostgreSQL's types, in order. `NOT NULL` is part of the type's text."""
    return {f.name: TYPES[f.type] + ("" if f.nullable else " NOT NULL") for f in schema}


def columns_text(schema: pa.Schema) -> str:
    """The columns as CREATE TABLE takes them; the contract's names are plain, lower-case words."""
    return ", ".join(f"{name} {kind}" for name, kind in columns(schema).items())


def blocked(month: Month) -> tuple[str, str]:
    """The two tables where a blocked month and its rejected rows are kept aside."""
    return f"{partition(month)}_blocked", f"{partition(month)}_blocked_rejected"


def prepare(uri: str, month: Month, schema: pa.Schema) -> None:
    """Make what is absent: the service's table, the month's partition (empty), the ledger, the rejected rows.

    Done in a short transaction of its own, before the load, so that the load itself needs no lock that a reader or
    another load could wait for. An empty partition that a failed load leaves is no harm: it is what the next one fills.

    Raises:
        StoreFailed: if the service's table is there and does not fit the contract (other than columns that the contract
            has gained, which are added), or stays locked by someone else for a minute. Nothing is changed.
        psycopg.Error: whatever the server refuses.
    """
    for attempt in range(ALTER_TRIES):
        try:
            with psycopg.connect(uri) as connection:
                _prepare(connection, month, schema)
            return
        except psycopg.errors.LockNotAvailable:
            time.sleep(min(0.1 * 2**attempt, 2))
    raise StoreFailed(
        parent(month), "is in use, for too long to add a column or a partition; who uses it is in pg_locks"
    )


def _prepare(connection: psycopg.Connection, month: Month, schema: pa.Schema) -> None:
    connection.execute("SET LOCAL client_min_messages = warning")
    connection.execute(PREPARE_LOCK)
    connection.execute(f"SET LOCAL lock_timeout = '{ALTER_WAIT}'")
    connection.execute(LEDGER)
    # Not IF NOT EXISTS: for the index that waits for every load that is writing rejected rows, only to do nothing.
    if not existing_columns(connection, "rejected_trips"):
        connection.execute(REJECTED)
    whole, part, wanted = parent(month), partition(month), columns(schema)
    there = existing_columns(connection, whole)
    if there:
        for name in gained(whole, there, wanted):
            connection.execute(f"ALTER TABLE {whole} ADD COLUMN {name} {wanted[name]}")
    else:
        connection.execute(f"CREATE TABLE {whole} ({columns_text(schema)}) PARTITION BY LIST (source_month)")
    if not _attached(connection, month):
        # ATTACH lets readers and other loads of the service go on; CREATE TABLE ... PARTITION OF would not.
        connection.execute(f"CREATE TABLE {part} ({columns_text(schema)})")
        connection.execute(f"ALTER TABLE {whole} ATTACH PARTITION {part} FOR VALUES IN ('{month.first}')")


def drop_blocked(uri: str, month: Month) -> None:
    """Drop what is kept aside of a month, after the month has loaded.

    Whoever is looking at it just now is not waited for: the tables then stay until the month loads again.
    """
    with suppress(psycopg.errors.LockNotAvailable), psycopg.connect(uri) as connection:
        connection.execute(f"SET LOCAL lock_timeout = '{ALTER_WAIT}'")
        connection.execute("SET LOCAL client_min_messages = warning")
        connection.execute(f"DROP TABLE IF EXISTS {', '.join(blocked(month))}")


def existing_columns(connection: psycopg.Connection, table: str) -> dict[str, str]:
    """The table's columns and types, in the form of `columns`; empty if there is no such table. Takes no lock on it."""
    rows = connection.execute(
        """SELECT attname, format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
           FROM pg_attribute
           WHERE attrelid = to_regclass(%s) AND attnum > 0 AND NOT attisdropped ORDER BY attnum""",
        (table,),
    )
    return dict(rows.fetchall())


def gained(table: str, there: dict[str, str], wanted: dict[str, str]) -> list[str]:
    """The contract's columns that the table has not, if adding them is all it takes.

    Raises:
        StoreFailed: if a column has another type, the contract has lost one, or a new one may not be null.
    """
    new = [name for name in wanted if name not in there]
    wrong = [f"{n} is {kind}, not {wanted[n]}" for n, kind in there.items() if wanted.get(n, kind) != kind]
    wrong += [f"{name} is not in the contract" for name in there if name not in wanted]
    wrong += [f"{name} is missing and may not be null" for name in new if wanted[name].endswith("NOT NULL")]
    if wrong:
        raise StoreFailed(table, f"does not fit the contract: {'; '.join(wrong)}")
    return new


def _attached(connection: psycopg.Connection, month: Month) -> bool:
    row = connection.execute(
        "SELECT (SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid) = to_regclass(%s) FROM pg_class c "
        "WHERE c.oid = to_regclass(%s)",
        (parent(month), partition(month)),
    ).fetchone()
    if row and not row[0]:
        raise StoreFailed(partition(month), f"is there, but is no partition of {parent(month)}")
    return bool(row)
