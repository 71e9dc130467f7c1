"""The DuckDB file: connections with bounded memory, transactions, stored resources, and errors."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import duckdb

from infra.emulators.rest import GoogleError, unsupported

# An emulator shares the machine with what is tested on it. Larger sorts and joins spill to disk.
_LIMITS: dict[str, str | bool | int | float | list[str]] = {
    "memory_limit": "768MB",
    "threads": 2,
    "preserve_insertion_order": True,
}
Cursor = duckdb.DuckDBPyConnection


class Database:
    """One DuckDB file. Only this process may open it."""

    def __init__(self, state: Path) -> None:
        spill = str(state / "spill")
        self._root = duckdb.connect(str(state / "warehouse.duckdb"), config=_LIMITS | {"temp_directory": spill})
        self._root.execute("CREATE SCHEMA IF NOT EXISTS taxiway")
        self._root.execute("CREATE TABLE IF NOT EXISTS taxiway.resources (kind VARCHAR, key VARCHAR, body VARCHAR)")
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """Open a connection for reading. Each statement sees the state at its start."""
        cursor = self._root.cursor()
        try:
            # BigQuery's default time zone. A new connection has that of the machine.
            cursor.execute("SET TimeZone = 'UTC'")
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def transaction(self, table: str | None = None) -> Iterator[Cursor]:
        """Open a transaction that is the only writer of the named table. It is rolled back on an exception."""
        with self._locks[table] if table else nullcontext(), self.cursor() as cursor:
            cursor.execute("BEGIN")
            try:
                yield cursor
                cursor.execute("COMMIT")
            except BaseException:
                # An error inside DuckDB may have ended the transaction already.
                with suppress(duckdb.Error):
                    cursor.execute("ROLLBACK")
                raise

    def close(self) -> None:
        """Close the file."""
        self._root.close()


def put(cursor: Cursor, kind: str, key: str, body: dict[str, Any]) -> None:
    """Write a resource."""
    drop(cursor, kind, key)
    cursor.execute("INSERT INTO taxiway.resources VALUES (?, ?, ?)", [kind, key, json.dumps(body)])


def get(cursor: Cursor, kind: str, key: str) -> dict[str, Any] | None:
    """Return a resource, or None."""
    cursor.execute("SELECT body FROM taxiway.resources WHERE kind = ? AND key = ?", [kind, key])
    rows = cursor.fetchall()
    return json.loads(rows[0][0]) if rows else None


def drop(cursor: Cursor, kind: str, key: str) -> None:
    """Delete a resource."""
    cursor.execute("DELETE FROM taxiway.resources WHERE kind = ? AND key = ?", [kind, key])


def under(cursor: Cursor, kind: str, prefix: str) -> list[dict[str, Any]]:
    """Return the resources whose keys start with `prefix`, by key."""
    cursor.execute(
        "SELECT body FROM taxiway.resources WHERE kind = ? AND starts_with(key, ?) ORDER BY key", [kind, prefix]
    )
    return [json.loads(row[0]) for row in cursor.fetchall()]


@contextmanager
def as_google_error(reason: str, prefix: str = "") -> Iterator[None]:
    """Raise DuckDB's errors as `GoogleError`: 501 for what DuckDB does not support, otherwise 400 with `reason`."""
    try:
        yield
    except duckdb.Error as error:
        line = str(error).splitlines()[0]
        missing_function = isinstance(error, duckdb.CatalogException) and "Function" in line
        if missing_function or isinstance(error, duckdb.NotImplementedException):
            raise unsupported(line) from None
        raise GoogleError(400, reason, prefix + line) from None
