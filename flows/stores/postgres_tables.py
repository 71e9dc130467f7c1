"""The tables of the Postgres store: created from the contract, and compared with it before every load."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Protocol

import psycopg
import pyarrow as pa

from flows.datasets.dataset import Partition
from flows.datasets.rejected import REJECTED_SCHEMA
from flows.errors import StoreFailed, StoreUnavailable
from flows.stores.ledger_rows import JSON_FIELDS, LEDGER_SCHEMA, UTC_TIME


class Cursor(Protocol):
    """A cursor of either driver: without parameters they take the same SQL."""

    def execute(self, query: Any, /) -> Any:
        """Run a statement."""

    def fetchall(self) -> list[Any]:
        """All rows of the last statement."""


TYPES = {
    pa.int32(): "integer",
    pa.int64(): "bigint",
    pa.float64(): "double precision",
    pa.bool_(): "boolean",
    pa.string(): "text",
    pa.date32(): "date",
    pa.timestamp("us"): "timestamp without time zone",
    UTC_TIME: "timestamp with time zone",
    pa.map_(pa.string(), pa.string()): "json",
}

LEDGER, REJECTED = "load_ledger", "rejected_rows"

LEDGER_CONSTRAINTS = (
    "PRIMARY KEY (dataset, partition_key, status)",
    "CHECK (rows_read = rows_loaded + rows_rejected)",
)

# One load at a time prepares tables, of any dataset: without it two first loads race to create the same table.
PREPARE_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('taxiway tables', 0))"

# For locks in a load that only DDL from outside this program can hold.
LOCK_WAIT = "SET LOCAL lock_timeout = '60s'"

# A column is added under an exclusive lock on the table; while that is waited for, new readers queue behind it. So wait
# a second at a time, with pauses in which the readers go on: about a minute in all.
ALTER_TRIES, ALTER_WAIT = 20, "1s"


def partition_table(partition: Partition) -> str:
    """The table with the rows of one partition: `green_trips_2021_01`, or the dataset's table itself if it has one."""
    if not partition.dataset.partition_column:
        return partition.dataset.table
    return f"{partition.dataset.table}_{re.sub(r'[^0-9]', '_', partition.key)}"


def columns(schema: pa.Schema) -> dict[str, str]:
    """The contract's columns as PostgreSQL's types, in order. `NOT NULL` is part of the type's text."""
    return {f.name: TYPES[f.type] + ("" if f.nullable else " NOT NULL") for f in schema}


def rejected_columns() -> dict[str, str]:
    """The columns of rejected rows. Each may be null, as in the tables that exist."""
    return {f.name: TYPES[f.type] for f in REJECTED_SCHEMA}


def ledger_columns() -> dict[str, str]:
    """The columns of the ledger, in the form of `columns`; JSON text is json here."""
    return columns(LEDGER_SCHEMA) | dict.fromkeys(JSON_FIELDS, "json NOT NULL")


def columns_text(desired: Mapping[str, str], *constraints: str) -> str:
    """The columns as CREATE TABLE takes them; their names are plain, lower-case words."""
    return ", ".join((*(f"{name} {kind}" for name, kind in desired.items()), *constraints))


def blocked(partition: Partition) -> tuple[str, str]:
    """The two tables for a blocked partition and its rejected rows."""
    table = partition_table(partition)
    return f"{table}_blocked", f"{table}_blocked_rejected"


def prepare(uri: str, partition: Partition, schema: pa.Schema) -> None:
    """Create what is missing: the dataset's table, the partition (empty), the ledger, the rejected rows.

    Done in a short transaction of its own, before the load, so that the load itself needs no lock that a reader or
    another load could wait for. A failed load may leave an empty partition, which the next load fills.

    Raises:
        StoreFailed: if a table exists and does not fit (other than columns that it lacks, which are added). Nothing
            is changed.
        StoreUnavailable: if another session holds a lock on a table for a minute.
        psycopg.Error: whatever the server refuses.
    """
    _with_lock_retries(uri, partition.dataset.table, lambda cursor: _prepare(cursor, partition, columns(schema)))


def prepare_ledger(uri: str) -> None:
    """Create the ledger, or add the columns that it lacks. Raises as `prepare` does."""
    _with_lock_retries(uri, LEDGER, _prepare_ledger)


def _with_lock_retries(uri: str, table: str, change: Callable[[Cursor], None]) -> None:
    """Make the change in a transaction, again and again while another session holds a lock on the table."""
    for attempt in range(ALTER_TRIES):
        try:
            with psycopg.connect(uri) as connection, connection.cursor() as cursor:
                cursor.execute("SET LOCAL client_min_messages = warning")
                cursor.execute(PREPARE_LOCK)
                cursor.execute(f"SET LOCAL lock_timeout = '{ALTER_WAIT}'")
                change(cursor)
            return
        except psycopg.errors.LockNotAvailable:
            time.sleep(min(0.1 * 2**attempt, 2))
    raise StoreUnavailable(table, "is in use, for too long to add a column or a partition; who uses it is in pg_locks")


def upgrade(uri: str) -> None:
    """Rename the tables of versions that knew months only. Raises as `prepare` does."""
    _with_lock_retries(uri, LEDGER, _upgrade)


def _upgrade(cursor: Cursor) -> None:
    if existing_columns(cursor, "trips_ledger") and not existing_columns(cursor, LEDGER):
        cursor.execute(f"ALTER TABLE trips_ledger RENAME TO {LEDGER}")
        cursor.execute(f"ALTER TABLE {LEDGER} RENAME COLUMN service TO dataset")
        cursor.execute(f"ALTER TABLE {LEDGER} RENAME COLUMN month TO partition_key")
    if existing_columns(cursor, "rejected_trips") and not existing_columns(cursor, REJECTED):
        cursor.execute(f"ALTER TABLE rejected_trips RENAME TO {REJECTED}")
        cursor.execute(f"ALTER TABLE {REJECTED} RENAME COLUMN service TO dataset")
        cursor.execute(f"ALTER TABLE {REJECTED} RENAME COLUMN source_month TO partition_key")
        key = "to_char(partition_key, 'YYYY-MM')"
        cursor.execute(f"ALTER TABLE {REJECTED} ALTER COLUMN partition_key TYPE text USING {key}")


def _prepare_ledger(cursor: Cursor) -> None:
    _upgrade(cursor)
    fit(cursor, LEDGER, ledger_columns(), "the ledger of this version", constraints=LEDGER_CONSTRAINTS)


def _prepare(cursor: Cursor, partition: Partition, desired: Mapping[str, str]) -> None:
    _prepare_ledger(cursor)
    if fit(cursor, REJECTED, rejected_columns(), "the rejected rows of this version"):
        cursor.execute(f"CREATE INDEX {REJECTED}_partition ON {REJECTED} (dataset, partition_key)")
    dataset = partition.dataset
    if not dataset.partition_column:
        fit(cursor, dataset.table, desired, "the contract")
        return
    fit(cursor, dataset.table, desired, "the contract", suffix=f"PARTITION BY LIST ({dataset.partition_column})")
    table = partition_table(partition)
    if not _attached(cursor, dataset.table, table):
        # ATTACH lets readers and other loads of the dataset continue; CREATE TABLE ... PARTITION OF would not.
        cursor.execute(f"CREATE TABLE {table} ({columns_text(desired)})")
        value = partition.column_value
        cursor.execute(f"ALTER TABLE {dataset.table} ATTACH PARTITION {table} FOR VALUES IN ('{value}')")


def fit(
    cursor: Cursor,
    table: str,
    desired: Mapping[str, str],
    what: str,
    *,
    constraints: Iterable[str] = (),
    suffix: str = "",
) -> bool:
    """Create the table, or add the columns that it lacks. Returns whether it was created.

    Raises:
        StoreFailed: if it exists and does not fit in any other way; `what` is the desired columns in the message.
    """
    existing = existing_columns(cursor, table)
    if not existing:
        cursor.execute(f"CREATE TABLE {table} ({columns_text(desired, *constraints)}) {suffix}")
        return True
    for name in columns_to_add(table, existing, desired, what):
        cursor.execute(f"ALTER TABLE {table} ADD COLUMN {name} {desired[name]}")
    return False


def clear(cursor: Cursor, table: str) -> None:
    """Drop the table, if it exists; while it is being read, or has a view, delete its rows instead."""
    cursor.execute(f"SET LOCAL lock_timeout = '{ALTER_WAIT}'")
    # A DO block: after an error the ADBC driver accepts nothing but the end of the transaction.
    cursor.execute(
        f"""DO $$ BEGIN DROP TABLE IF EXISTS {table};
            EXCEPTION WHEN lock_not_available OR dependent_objects_still_exist THEN DELETE FROM {table}; END $$"""
    )
    cursor.execute(LOCK_WAIT)


def existing_columns(cursor: Cursor, table: str) -> dict[str, str]:
    """The table's columns and types, in the form of `columns`; empty if there is no such table. Takes no lock on it."""
    cursor.execute(
        f"""SELECT attname::text, format_type(atttypid, atttypmod) || CASE WHEN attnotnull THEN ' NOT NULL' ELSE '' END
            FROM pg_attribute
            WHERE attrelid = to_regclass('{table}') AND attnum > 0 AND NOT attisdropped ORDER BY attnum"""
    )
    return dict(cursor.fetchall())


def columns_to_add(table: str, existing: Mapping[str, str], desired: Mapping[str, str], what: str) -> list[str]:
    """The desired columns that the table lacks, if adding them is all it takes.

    Raises:
        StoreFailed: if a column has another type or is not desired, or a new one may not be null.
    """
    new = [name for name in desired if name not in existing]
    wrong = [f"{n} is {kind}, not {desired[n]}" for n, kind in existing.items() if desired.get(n, kind) != kind]
    wrong += [f"{name} is not in it" for name in existing if name not in desired]
    wrong += [f"{name} is missing and may not be null" for name in new if desired[name].endswith("NOT NULL")]
    if wrong:
        raise StoreFailed(table, f"does not fit {what}: {'; '.join(wrong)}")
    return new


def _attached(cursor: Cursor, parent: str, table: str) -> bool:
    cursor.execute(
        f"""SELECT (SELECT inhparent FROM pg_inherits WHERE inhrelid = c.oid) = to_regclass('{parent}')
            FROM pg_class c WHERE c.oid = to_regclass('{table}')"""
    )
    found = cursor.fetchall()
    if found and not found[0][0]:
        raise StoreFailed(table, f"exists, but is not a partition of {parent}")
    return bool(found)
