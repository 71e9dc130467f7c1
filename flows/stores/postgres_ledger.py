"""Ledger entries in Postgres: one row each in `load_ledger`."""

from __future__ import annotations

import json
from typing import Any

import psycopg
from adbc_driver_postgresql import dbapi

from flows.datasets.dataset import Dataset
from flows.errors import StoreFailed
from flows.stores.ledger import LedgerEntry
from flows.stores.postgres_copy import RULE_OR_TRIGGER
from flows.stores.postgres_tables import LEDGER, ledger_columns

# The entries of a partition that a new one of status $3 replaces.
REPLACED = "dataset = $1 AND partition_key = $2 AND (status IN ($3, 'refused') OR $3 = 'loaded')"


def record(connection: psycopg.Connection, entry: LedgerEntry) -> None:
    """Write the entry, see `Store.record`; in one statement, which sees the entries of a concurrent load."""
    names = ", ".join(ledger_columns())
    given = f"SELECT {names} FROM json_populate_record(NULL::{LEDGER}, %(entry)s)"
    key = "(dataset, partition_key, status)"
    if entry.status == "refused":
        excluded = ", ".join(f"excluded.{name}" for name in ledger_columns())
        updated = f"ON CONFLICT {key} DO UPDATE SET ({names}) = ({excluded})"
        written = f"INSERT INTO {LEDGER} ({names}) {given} {updated}"
    else:
        same = f"{key} = (%(dataset)s, %(partition_key)s, %(status)s) AND coalesce(load_id, '') = %(load_id)s"
        written = f"UPDATE {LEDGER} SET ({names}) = ({given}) WHERE {same}"
    connection.execute(written, entry.to_dict() | {"entry": _json(entry)})


def replace_entry(cursor: dbapi.Cursor, entry: LedgerEntry) -> None:
    """Write the ledger entry: it replaces the partition's `refused` one and, if loaded, its `blocked` one."""
    key = (entry.partition.dataset.name, entry.partition.key, entry.status)
    cursor.execute(f"DELETE FROM {LEDGER} WHERE {REPLACED}", key)
    row = f"json_populate_record(NULL::{LEDGER}, $1::json)"
    cursor.execute(f"INSERT INTO {LEDGER} SELECT * FROM {row}", (_json(entry),))
    cursor.execute(f"SELECT load_id FROM {LEDGER} WHERE {REPLACED}", key)
    if cursor.fetchall() != [(entry.load_id,)]:
        raise StoreFailed(LEDGER, f"has other entries of {entry.partition} than were written; {RULE_OR_TRIGGER}")


def _json(entry: LedgerEntry) -> str:
    """The entry for json_populate_record. Not ASCII: an SQL_ASCII database rejects escapes of other characters."""
    return json.dumps(entry.to_dict(), ensure_ascii=False)


def entry_of_row(dataset: Dataset, values: dict[str, Any]) -> LedgerEntry:
    """A row of the ledger as an entry, without columns of later versions. Raises StoreFailed if it is not one."""
    known = ledger_columns()
    try:
        given = {name: value for name, value in values.items() if name in known and value is not None}
        return LedgerEntry.from_dict(dataset, given)
    except (ValueError, KeyError, TypeError) as wrong:
        raise StoreFailed(LEDGER, f"has a row that is not an entry of this version: {wrong}") from None
