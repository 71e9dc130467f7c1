"""Batches into a table of the Postgres store, by binary COPY."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import adbc_driver_manager
import pyarrow as pa
from adbc_driver_postgresql import dbapi

from flows.datasets.cleaning import Cleaning
from flows.datasets.outcome import Outcome
from flows.datasets.rejected import REJECTED_SCHEMA
from flows.errors import StoreFailed
from flows.stores.batches import rejected_batches

RULE_OR_TRIGGER = "a rule or a trigger on it changes what is deleted and inserted"


def copy_rejected(cursor: dbapi.Cursor, table: str, cleaning: Cleaning, outcome: Outcome, where: str = "") -> None:
    """Append the rejected rows of a finished pass, see `copy_batches`."""
    copy_batches(cursor, table, REJECTED_SCHEMA, rejected_batches(cleaning), where, expected=outcome.rows_rejected)


def copy_batches(
    cursor: dbapi.Cursor,
    table: str,
    schema: pa.Schema,
    batches: Iterable[pa.RecordBatch],
    where: str = "",
    *,
    expected: int | None = None,
) -> int:
    """Append the batches to the table by binary COPY. Returns how many rows were inserted.

    Afterwards the rows of the table, or those that meet the WHERE clause, are counted: the caller has deleted all of
    them before. The schema must be that of every batch: neither the driver nor the server checks it.

    Raises:
        StoreFailed: the number of rows inserted is not `expected`, or not the number of rows in the table.
        Exception: whatever the batches raise.
    """
    failed: list[BaseException] = []

    def watched() -> Iterator[pa.RecordBatch]:
        """The batches. Keeps their exception: the driver's C interface passes on only its text."""
        try:
            yield from batches
        except GeneratorExit:
            raise
        except BaseException as error:
            failed.append(error)
            raise

    try:
        sent = int(cursor.adbc_ingest(table, pa.RecordBatchReader.from_batches(schema, watched()), mode="append"))
    except adbc_driver_manager.Error:
        if failed:
            raise failed[0] from None
        raise
    cursor.execute(f"SELECT count(*) FROM {table} {where}")
    ((stored,),) = cursor.fetchall()
    if stored != sent:
        raise StoreFailed(table, f"holds {stored} rows after {sent} were inserted; {RULE_OR_TRIGGER}")
    if expected not in (None, sent):
        raise StoreFailed(table, f"inserted {sent} rows, expected {expected}")
    return sent
