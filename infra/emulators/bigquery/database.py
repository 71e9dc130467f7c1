"""The DuckDB file: connections of bounded size, transactions, and a place for resources."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import duckdb

# An emulator shares a laptop with what is tested on it. Sorts and joins beyond this spill to disk.
_LIMITS = {"memory_limit": "768MB", "threads": 2, "preserve_insertion_order": True}
Cursor = duckdb.DuckDBPyConnection


class Database:
    """One DuckDB file, opened by this process alone."""

    def __init__(self, state: Path) -> None:
        spill = str(state / "spill")
        self._root = duckdb.connect(str(state / "warehouse.duckdb"), config=_LIMITS | {"temp_directory": spill})
        self._root.execute("CREATE SCHEMA IF NOT EXISTS taxiway")
        self._root.execute("CREATE TABLE IF NOT EXISTS taxiway.resources (kind VARCHAR, key VARCHAR, body VARCHAR)")
        self._locks: defaultdict[str, threading.RLock] = defaultdict(threading.RLock)

    @contextmanager
    def cursor(self) -> Iterator[Cursor]:
        """A connection of its own, to read with: each statement sees the state as it was when it began."""
        cursor = self._root.cursor()
        try:
            # BigQuery's default zone. It is a connection's setting, and a new connection takes the machine's.
            cursor.execute("SET TimeZone = 'UTC'")
            yield cursor
        finally:
            cursor.close()

    @contextmanager
    def transaction(self, *tables: str) -> Iterator[Cursor]:
        """A transaction that alone writes to the named tables: it commits at the end, or nothing has happened."""
        held = [self._locks[name] for name in sorted(set(tables))]
        for lock in held:
            lock.acquire()
        try:
            with self.cursor() as cursor:
                cursor.execute("BEGIN")
                try:
                    yield cursor
                    cursor.execute("COMMIT")
                except BaseException:
                    _rollback(cursor)
                    raise
        finally:
            for lock in reversed(held):
                lock.release()

    def close(self) -> None:
        """Close the file, its log merged in."""
        self._root.close()


def put(cursor: Cursor, kind: str, key: str, body: dict[str, Any]) -> None:
    """Write a resource, new or again."""
    drop(cursor, kind, key)
    cursor.execute("INSERT INTO taxiway.resources VALUES (?, ?, ?)", [kind, key, json.dumps(body)])


def get(cursor: Cursor, kind: str, key: str) -> dict[str, Any] | None:
    """Read a resource."""
    cursor.execute("SELECT body FROM taxiway.resources WHERE kind = ? AND key = ?", [kind, key])
    rows = cursor.fetchall()
    return json.loads(rows[0][0]) if rows else None


def drop(cursor: Cursor, kind: str, key: str) -> None:
    """Delete a resource."""
    cursor.execute("DELETE FROM taxiway.resources WHERE kind = ? AND key = ?", [kind, key])


def under(cursor: Cursor, kind: str, prefix: str) -> list[dict[str, Any]]:
    """The resources whose keys begin with `prefix`, by key."""
    cursor.execute(
        "SELECT body FROM taxiway.resources WHERE kind = ? AND starts_with(key, ?) ORDER BY key", [kind, prefix]
    )
    return [json.loads(row[0]) for row in cursor.fetchall()]


def _rollback(cursor: Cursor) -> None:
    # An error inside DuckDB may have ended the transaction already.
    with suppress(duckdb.Error):
        cursor.execute("ROLLBACK")
