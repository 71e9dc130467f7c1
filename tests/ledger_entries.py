"""Ledger entries for tests."""

from __future__ import annotations

import datetime as dt
from typing import Any

from flows.datasets.dataset import Partition
from flows.stores.ledger import LedgerEntry, Status

AT = dt.datetime(2021, 3, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)


def made_up_entry(
    partition: Partition, status: Status = "loaded", *, rows: int = 100, rejected: int = 0, **fields: Any
) -> LedgerEntry:
    """An entry of `rows` loaded and `rejected` rejected rows; `fields` are set as given."""
    values = {
        "source": "https://example.org/source.parquet",
        "checksum": "sha256:1",
        "bytes": 1_333_519,
        "rows_read": rows + rejected,
        "rows_loaded": rows,
        "rows_rejected": rejected,
        "reasons": {"zero_passengers": rejected} if rejected else {},
        "contract_version": "1",
        "checks": [],
        "started": AT,
        "finished": AT + dt.timedelta(seconds=1),
    }
    return LedgerEntry(partition, status, **(values | fields))


def refused_entry(partition: Partition) -> LedgerEntry:
    """The entry of a refused source. Every field has a value of its own, so that a store that loses one is noticed."""
    return made_up_entry(
        partition,
        "refused",
        rows=7,
        rejected=2,
        source="https://example.org/é.parquet",
        bytes=2**40,
        contract_version="3",
        checks=[{"name": "row_count", "value": None}],
        flow_run_id="run-1",
        load_id="load-1",
        source_etag='"etag"',
        source_modified=AT - dt.timedelta(days=28),
        message="is an HTML page: « »",
    )
