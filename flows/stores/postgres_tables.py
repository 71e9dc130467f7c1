"""The tables of the Postgres store: created from the contract, and checked against it before every load."""

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
    """A cursor of psycopg or ADBC: without parameters both take the same SQL."""

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

# One load at a time prepares tables, of any dataset: otherwise two first loads race to create the same table.
PREPARE_LOCK = "SELECT pg_advisory_xact_lock(hashtextextended('taxiway tables', 0))"

# In a load, only DDL from outside this project can hold the locks that it needs.
LOCK_WAIT = "SET LOCAL lock_timeout = '60s'"

# Adding a column needs an exclusive lock on the table, and new readers queue behind a waiting ALTER TABLE. So wait a
# second at a time, with pauses in which readers continue: about a minute in all.
ALTER_TRIES, ALTER_WAIT = 20, "1s"


def partition_table(partition: Partition) -> str:
    """The table with the rows of one partition, `green_trips_2021_01`, or the dataset's table if it has only one."""
    if not partition.dataset.partition_column:
        return partition.dataset.table
    return f"{partition.dataset.table}_{re.sub(r'[^0-9]', '_', partition.key)}"


def columns(schema: pa.Schema) -> dict[str, str]:
    """The contract's columns and their PostgreSQL types, in order. `NOT NULL` is part of the type's text."""
    return {f.name: TYPES[f.type] + ("" if f.nullable else " NOT NULL") for f in schema}


def rejected_columns() -> dict[str, str]:
    """The columns of rejected rows. All are nullable, as in existing tables."""
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
    """Create the tables that are missing (dataset, empty partition, ledger, rejected rows) and add missing columns.

    Done in a short transaction before the load, so that the load needs no lock that blocks readers or other loads. A
    failed load may leave an empty partition, which the next load fills.

    Raises:
        StoreFailed: a table does not match in another way; nothing is changed.
        StoreUnavailable: another session holds a lock on a table for a minute.
        psycopg.Error: any other error of the server.
    """
    _with_lock_retries(uri, partition.dataset.table, lambda cursor: _prepare(cursor, partition, columns(schema)))


def prepare_ledger(uri: str) -> None:
    """Create the ledger, or add missing columns. Raises as `prepare` does."""
    _with_lock_retries(uri, LEDGER, _prepare_ledger)


def _with_lock_retries(uri: str, table: str, change: Callable[[Cursor], None]) -> None:
    """Make the change in a transaction; retry while another session holds a lock on the table."""
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
    """Rename the tables of versions with monthly partitions only. Raises as `prepare` does."""
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
    """Create the table, or add missing columns. Returns whether it was created. Raises as `columns_to_add` does."""
    existing = existing_columns(cursor, table)
    if not existing:
        cursor.execute(f"CREATE TABLE {table} ({columns_text(desired, *constraints)}) {suffix}")
        return True
    for name in columns_to_add(table, existing, desired, what):
        cursor.execute(f"ALTER TABLE {table} ADD COLUMN {name} {desired[name]}")
    return False


def clear(cursor: Cursor, table: str) -> None:
    """Drop the table, if it exists; if it is being read, or a view depends on it, delete its rows instead."""
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
    """The names of the desired columns that the table lacks; `what` names the desired columns in error messages.

    Raises:
        StoreFailed: adding columns is not enough: a column has another type, is not desired, or is new and NOT NULL.
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
