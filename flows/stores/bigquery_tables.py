"""The tables of the BigQuery store: their names, column types and creation."""

from __future__ import annotations

import re
from typing import Any

import pyarrow as pa
from google.api_core.exceptions import NotFound
from google.cloud import bigquery

from flows.datasets.dataset import Dataset, Partition
from flows.errors import StoreFailed
from flows.stores.ledger import LedgerEntry

TYPES = {
    pa.int32(): "INTEGER",
    pa.int64(): "INTEGER",
    pa.float64(): "FLOAT",
    pa.bool_(): "BOOLEAN",
    pa.string(): "STRING",
    pa.date32(): "DATE",
    pa.timestamp("us"): "DATETIME",
    pa.timestamp("us", "UTC"): "TIMESTAMP",
}

# Seconds to connect and to read. The HTTP library takes both; the client's type hints allow only one number.
TIMEOUT: Any = (10.0, 120.0)

LOAD_ID = "load_id"


def ledger_table(dataset: Dataset) -> str:
    """The table of a dataset's ledger."""
    return f"{dataset.table}_ledger"


def blocked_table(dataset: Dataset) -> str:
    """The table of a dataset's blocked partitions."""
    return f"{dataset.table}_blocked"


def tables_of(entry: LedgerEntry) -> tuple[str, str]:
    """The tables of the load's rows and of its rejected rows."""
    dataset = entry.partition.dataset
    table = blocked_table(dataset) if entry.status == "blocked" else dataset.table
    return table, f"{table}_rejected_rows"


def decorator(partition: Partition) -> str:
    """BigQuery's partition decorator, such as `$202101`; empty for a dataset of one partition."""
    return "$" + re.sub(r"\D", "", partition.key) if partition.dataset.partition_column else ""


def fields(schema: pa.Schema) -> list[bigquery.SchemaField]:
    """The schema as BigQuery's; a timestamp without zone is a DATETIME."""
    return [bigquery.SchemaField(f.name, TYPES[f.type], "NULLABLE" if f.nullable else "REQUIRED") for f in schema]


def find_table(client: bigquery.Client, table: str) -> bigquery.Table | None:
    """The table, by its full name; None if it does not exist."""
    try:
        return client.get_table(table, timeout=TIMEOUT)
    except NotFound:
        return None


def ensure_table(client: bigquery.Client, name: str, schema: list[bigquery.SchemaField], dataset: Dataset) -> None:
    """Create the table if it does not exist, partitioned as the dataset. Raises StoreFailed if its rows expire."""
    table = find_table(client, name) or _create(client, name, schema, dataset)
    partitioning = table.time_partitioning
    if partitioning is not None and partitioning.expiration_ms:
        days, remedy = partitioning.expiration_ms / 86_400_000, _without(name, "partition_expiration_days")
        raise StoreFailed(name, f"its partitions expire after {days:g} days: {remedy}")
    if table.expires:
        remedy = _without(name, "expiration_timestamp")
        raise StoreFailed(name, f"the table expires at {table.expires:%F %T} UTC: {remedy}")


def _create(client: bigquery.Client, name: str, schema: list[bigquery.SchemaField], dataset: Dataset) -> bigquery.Table:
    """Create a table without expiration, whatever the defaults are: they would delete old partitions at once."""
    table = bigquery.Table(name, schema)
    if dataset.partition_column:
        table.time_partitioning = bigquery.TimePartitioning(
            type_=dataset.partitioning.upper(), field=dataset.partition_column
        )
    created = client.create_table(table, exists_ok=True, timeout=TIMEOUT)
    partitioning = created.time_partitioning
    if created.expires or (partitioning and partitioning.expiration_ms):
        # A create request cannot turn expiration off: without a value the default applies.
        created.expires = None
        if partitioning:
            partitioning.expiration_ms = None
        created = client.update_table(created, ["expires", "time_partitioning"], timeout=TIMEOUT)
    return created


def _without(table: str, option: str) -> str:
    return f"loaded rows would be deleted; run ALTER TABLE `{table}` SET OPTIONS ({option} = NULL)"
