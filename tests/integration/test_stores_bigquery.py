"""The BigQuery store against the emulator: what it stores, and in which columns."""

from __future__ import annotations

import datetime as dt
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.cloud import bigquery

from flows.datasets.tlc import GREEN, YELLOW
from flows.errors import StoreFailed
from flows.stores.bigquery import BigQueryStore
from flows.stores.bigquery_tables import fields
from flows.stores.reconcile import verify
from tests.integration.stores_fixtures import FEBRUARY, JANUARY, Pass, bigquery_client, dataset, replaced, source  # noqa: F401


@pytest.fixture
def store(bigquery_client, dataset):  # noqa: F811
    return BigQueryStore(bigquery_client, dataset)


@pytest.fixture
def query(bigquery_client, dataset):  # noqa: F811
    return lambda text: [tuple(row) for row in bigquery_client.query(text.format(dataset)).result()]


def test_every_value_is_stored_unchanged(store, query, tmp_path):
    store.replace(Pass(JANUARY, tmp_path, extra=[("new_fee", "1.25")], value=-0.1), source())
    row = "pickup_datetime, trip_distance, store_and_fwd_flag, ehail_fee, extra_columns, source_month"
    assert query(f"SELECT {row} FROM {{}}.green_trips WHERE vendor_id = 1") == [
        (dt.datetime(2021, 1, 31, 23, 59, 59, 123456), -0.1, None, None, '{"new_fee":"1.25"}', dt.date(2021, 1, 1))
    ]


def test_the_tables_have_the_contracts_types(store, bigquery_client, dataset, tmp_path):  # noqa: F811
    """Also those of columns without one value, which a guess would make INTEGER."""
    store.replace(Pass(JANUARY, tmp_path), source())
    table = bigquery_client.get_table(f"{dataset}.green_trips")
    types = {field.name: (field.field_type, field.mode) for field in table.schema}
    assert types["ehail_fee"] == ("FLOAT", "NULLABLE") and types["request_source"] == ("STRING", "NULLABLE")
    assert types["pickup_datetime"] == ("DATETIME", "REQUIRED") and types["passenger_count"] == ("INTEGER", "NULLABLE")
    assert types["source_month"] == ("DATE", "REQUIRED") and types["extra_columns"] == ("STRING", "NULLABLE")
    assert (table.time_partitioning.type_, table.time_partitioning.field) == ("MONTH", "source_month")


def test_the_tables_of_a_blocked_partition(store, query, tmp_path):
    rows, rejected = (f"(SELECT COUNT(*) FROM {{0}}.green_trips_blocked{part})" for part in ("", "_rejected_rows"))
    stored = f"SELECT {rows}, {rejected}"
    store.replace(Pass(JANUARY, tmp_path, rows=300, bad=4, blocks=True), source())
    assert query(stored) == [(300, 4)]
    store.replace(Pass(JANUARY, tmp_path, rows=800), source("sha256:2"))
    assert query(stored) == [(0, 0)]


def test_columns_that_the_contract_gained_are_added(store, query, tmp_path):
    store.replace(Pass(JANUARY, tmp_path), source())
    whole = Pass(JANUARY, tmp_path).schema
    store.replace(Pass(FEBRUARY, tmp_path, schema=whole.insert(3, pa.field("robot_fee", pa.float64()))), source())
    assert store.counts(GREEN) == {JANUARY: 1000, FEBRUARY: 1000}
    assert query("SELECT COUNT(*), COUNT(robot_fee) FROM {}.green_trips") == [(2000, 0)]


def test_another_type_is_refused_and_existing_data_is_unchanged(store, tmp_path):
    entry = replaced(store, Pass(JANUARY, tmp_path, bad=2), source())
    schema = Pass(JANUARY, tmp_path).schema
    other = schema.set(schema.get_field_index("vendor_id"), pa.field("vendor_id", pa.string()))
    wrong = Pass(JANUARY, tmp_path, schema=other)
    plain = Pass(JANUARY, tmp_path)

    def renamed(count: int, start: int) -> pa.RecordBatch:
        columns = plain._batch(count, start).columns
        at = other.get_field_index("vendor_id")
        return pa.RecordBatch.from_arrays(
            [c.cast(pa.string()) if n == at else c for n, c in enumerate(columns)], schema=other
        )

    wrong._batch = renamed
    with pytest.raises(StoreFailed, match=r"green_trips: .*vendor_id") as failed:
        store.replace(wrong, source("sha256:2"))
    assert "\n" not in str(failed.value)
    assert store.entries(GREEN) == [entry] and (store.count(JANUARY), store.count_rejected(JANUARY)) == (1000, 2)


def test_a_missing_dataset(bigquery_client, tmp_path):  # noqa: F811
    with pytest.raises(StoreFailed, match="missing_dataset"):
        BigQueryStore(bigquery_client, "missing_dataset").replace(Pass(JANUARY, tmp_path), source())


DAYS_60 = 60 * 24 * 3600 * 1000


@pytest.mark.parametrize("default", ["default_partition_expiration_ms", "default_table_expiration_ms"])
def test_the_expiration_defaults_of_the_dataset_are_not_applied(store, bigquery_client, dataset, tmp_path, default):  # noqa: F811
    """Else BigQuery would delete a partition of 2021 as soon as it is loaded."""
    home = bigquery_client.get_dataset(dataset)
    setattr(home, default, DAYS_60)
    bigquery_client.update_dataset(home, [default])
    entry = replaced(store, Pass(JANUARY, tmp_path, bad=2), source())
    assert store.entries(GREEN) == [entry] and (store.count(JANUARY), store.count_rejected(JANUARY)) == (1000, 2)
    for name in ("green_trips", "green_trips_rejected_rows", "green_trips_ledger"):
        table = bigquery_client.get_table(f"{dataset}.{name}")
        assert (table.expires, table.time_partitioning.expiration_ms) == (None, None)


def test_a_table_whose_partitions_expire_is_refused(store, bigquery_client, dataset, tmp_path):  # noqa: F811
    """The expiration may be intended, so it is not changed."""
    entry = replaced(store, Pass(JANUARY, tmp_path, bad=2), source())
    table = bigquery_client.get_table(f"{dataset}.green_trips")
    table.time_partitioning.expiration_ms = DAYS_60
    bigquery_client.update_table(table, ["time_partitioning"])
    with pytest.raises(StoreFailed, match=r"green_trips: its partitions expire after 60 days: .*ALTER TABLE"):
        store.replace(Pass(JANUARY, tmp_path, bad=3), source("sha256:2"))
    assert store.entries(GREEN) == [entry] and store.count_rejected(JANUARY) == 2
    table = bigquery_client.get_table(f"{dataset}.green_trips")
    assert table.time_partitioning.expiration_ms == DAYS_60


MONTH_AND_LOAD = pa.schema({"source_month": pa.date32(), "load_id": pa.string()})


@pytest.mark.parametrize(
    ("schema", "row"),
    [
        (MONTH_AND_LOAD, None),
        (pa.schema({"other": pa.string()}), None),
        (MONTH_AND_LOAD, {"source_month": None, "load_id": "a"}),
        (MONTH_AND_LOAD, {"source_month": dt.date(2021, 1, 15), "load_id": "a"}),
        (None, None),
    ],
    ids=["no longer partitioned", "another table", "rows of no month", "rows of a day", "deleted"],
)
def test_a_changed_table_does_not_hide_the_others(store, bigquery_client, dataset, tmp_path, schema, row):  # noqa: F811
    yellow = YELLOW.partition(2021, 1)
    store.replace(Pass(JANUARY, tmp_path, bad=1), source())
    store.replace(Pass(yellow, tmp_path), source())
    table = f"{bigquery_client.project}.{dataset}.yellow_trips"
    bigquery_client.delete_table(table)
    if schema is not None:
        bigquery_client.create_table(bigquery.Table(table, fields(schema)))
    if row is not None:
        file = io.BytesIO()
        pq.write_table(pa.Table.from_pylist([row], schema), file)
        config = bigquery.LoadJobConfig(source_format="PARQUET", write_disposition="WRITE_TRUNCATE")
        bigquery_client.load_table_from_file(file, table, rewind=True, job_config=config).result()
    verified = verify({"bigquery": store}, [GREEN, YELLOW])
    assert verified.differences and all("yellow" in str(difference) for difference in verified.differences)
    assert verified.partitions == 1
