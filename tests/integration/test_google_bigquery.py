"""The calls of BigQuery for datasets, tables and jobs that Taxiway makes, by the real client."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import datetime as dt
import io
import uuid
from concurrent.futures import ThreadPoolExecutor

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import requests
from google.api_core.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed
from google.cloud import bigquery

from tests.integration.google_fixtures import (
    LIVE,
    PROJECT,
    SCHEMA,
    bigquery_client,
    bigquery_emulator,
    dataset,
    emulated,
    finished,
    load,
    load_config,
    months,
    parquet,
    trips,
)

DAYS_60 = 60 * 24 * 3600 * 1000


def test_datasets(bigquery_client, dataset):
    with pytest.raises(Conflict):
        bigquery_client.create_dataset(dataset)
    assert bigquery_client.create_dataset(dataset, exists_ok=True).full_dataset_id
    with pytest.raises(NotFound):
        bigquery_client.get_dataset(f"{dataset}_missing")
    assert bigquery_client.get_dataset(dataset).location == "US"


def test_tables(bigquery_client, dataset, trips):
    found = bigquery_client.get_table(trips)
    assert (found.time_partitioning.type_, found.time_partitioning.field) == ("MONTH", "source_month")
    assert [(f.name, f.field_type, f.mode) for f in found.schema] == [(f.name, f.field_type, f.mode) for f in SCHEMA]
    assert (found.num_rows, found.table_type) == (0, "TABLE")
    with pytest.raises(Conflict):
        bigquery_client.create_table(bigquery.Table(trips, SCHEMA))
    assert found.table_id in [each.table_id for each in bigquery_client.list_tables(dataset)]
    bigquery_client.delete_table(trips)
    with pytest.raises(NotFound):
        bigquery_client.get_table(trips)


def test_expirations_of_a_table(bigquery_client, trips):
    table, stale = bigquery_client.get_table(trips), bigquery_client.get_table(trips)
    table.expires, table.time_partitioning.expiration_ms = dt.datetime(2200, 1, 1, tzinfo=dt.UTC), DAYS_60
    changed = bigquery_client.update_table(table, ["expires", "time_partitioning"])
    assert (changed.expires, changed.time_partitioning.expiration_ms) == (table.expires, DAYS_60)
    changed.expires = changed.time_partitioning.expiration_ms = None
    changed = bigquery_client.update_table(changed, ["expires", "time_partitioning"])
    assert (changed.expires, changed.time_partitioning.expiration_ms) == (None, None)
    with pytest.raises(PreconditionFailed):
        bigquery_client.update_table(stale, ["expires"])
    changed.time_partitioning.type_ = "DAY"
    with pytest.raises(BadRequest, match=r"(?i)partitioning specification"):
        bigquery_client.update_table(changed, ["time_partitioning"])


def test_default_expirations_of_a_dataset(bigquery_client, dataset):
    home = bigquery.Dataset(f"{dataset}_expires")
    home.default_partition_expiration_ms = DAYS_60
    home = bigquery_client.create_dataset(home)
    home.default_table_expiration_ms = 2 * DAYS_60
    home = bigquery_client.update_dataset(home, ["default_table_expiration_ms"])
    assert (home.default_partition_expiration_ms, home.default_table_expiration_ms) == (DAYS_60, 2 * DAYS_60)
    monthly = bigquery.Table(f"{dataset}_expires.monthly", SCHEMA)
    monthly.time_partitioning = bigquery.TimePartitioning(type_="MONTH", field="source_month")
    made = bigquery_client.create_table(monthly)
    assert (made.time_partitioning.expiration_ms, made.expires) == (DAYS_60, None)
    load(bigquery_client, f"{dataset}_expires.monthly$202101", parquet("2021-01-01", 3))
    assert bigquery_client.get_table(made).num_rows == 0
    assert bigquery_client.create_table(bigquery.Table(f"{dataset}_expires.whole", SCHEMA)).expires
    if LIVE:
        bigquery_client.delete_dataset(f"{dataset}_expires", delete_contents=True)


def test_a_load_replaces_one_month_only(bigquery_client, trips):
    job = load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 30))
    assert (job.output_rows, job.state, job.input_files) == (30, "DONE", 1)
    load(bigquery_client, f"{trips}$202102", parquet("2021-02-01", 20))
    load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 10, vendor=2))
    assert months(bigquery_client, trips) == {"2021-01": 10, "2021-02": 20}
    assert bigquery_client.get_table(trips).num_rows == 30
    vendors = {row["vendor_id"] for row in bigquery_client.list_rows(f"{trips}$202101", selected_fields=SCHEMA[:1])}
    assert vendors == {2}
    first = bigquery_client.list_rows(f"{trips}$202102", selected_fields=SCHEMA[:1], max_results=1)
    assert [tuple(row) for row in first] == [(1,)]


def test_dispositions(bigquery_client, trips):
    january = f"{trips}$202101"
    load(bigquery_client, january, parquet("2021-01-01", 3))
    load(bigquery_client, january, parquet("2021-01-01", 4), write_disposition="WRITE_APPEND")
    assert months(bigquery_client, trips) == {"2021-01": 7}
    load(bigquery_client, trips, parquet("2021-02-01", 5))
    assert months(bigquery_client, trips) == {"2021-02": 5}
    with pytest.raises(NotFound):
        load(bigquery_client, f"{trips}_missing", parquet("2021-02-01", 5))


def test_rows_of_another_month_are_refused_and_the_old_rows_unchanged(bigquery_client, trips):
    load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 3))
    with pytest.raises(BadRequest, match="different partitions"):
        load(bigquery_client, f"{trips}$202101", parquet("2021-02-01", 5))
    assert months(bigquery_client, trips) == {"2021-01": 3}


def test_a_schema_that_differs_is_refused_unless_it_adds_allowed_fields(bigquery_client, trips):
    january, fee = f"{trips}$202101", bigquery.SchemaField("cbd_congestion_fee", "FLOAT")
    load(bigquery_client, january, parquet("2021-01-01", 3))
    wider = {"cbd_congestion_fee": pa.array([0.75] * 5)}
    with pytest.raises(BadRequest, match="does not match Table"):
        load(bigquery_client, january, parquet("2021-01-01", 5, **wider), schema=[*SCHEMA, fee])
    with pytest.raises(BadRequest, match="has changed type"):
        text = [SCHEMA[0], SCHEMA[1], bigquery.SchemaField("fare_amount", "STRING"), *SCHEMA[3:]]
        load(bigquery_client, january, parquet("2021-01-01", 5, fare_amount=pa.array(["1"] * 5)), schema=text)
    with pytest.raises(BadRequest, match="vendor_id"):
        load(bigquery_client, january, parquet("2021-01-01", 5, vendor_id=pa.array([1.5] * 5)))
    assert months(bigquery_client, trips) == {"2021-01": 3}
    added = load_config(schema=[*SCHEMA, fee], schema_update_options=["ALLOW_FIELD_ADDITION"])
    finished(bigquery_client.load_table_from_file(parquet("2021-01-01", 5, **wider), january, job_config=added))
    load(bigquery_client, f"{trips}$202102", parquet("2021-02-01", 2))
    total = f"SELECT COUNT(*), COUNT(cbd_congestion_fee), SUM(cbd_congestion_fee) FROM `{trips}`"
    assert [tuple(row) for row in bigquery_client.query_and_wait(total)] == [(7, 5, 3.75)]


def test_a_null_in_a_required_column_is_refused(bigquery_client, trips):
    hole = {"source_month": pa.array([None, None], pa.date32())}
    with pytest.raises(BadRequest):
        load(bigquery_client, trips, parquet("2021-01-01", 2, **hole), write_disposition="WRITE_APPEND")


@pytest.mark.parametrize(
    ("kind", "field_type", "decorator", "start", "end"),
    [
        ("MONTH", "DATE", "202012", "2020-12-01", "2021-01-01"),
        ("DAY", "DATE", "20201231", "2020-12-31", "2021-01-01"),
        ("DAY", "TIMESTAMP", "20201231", "2020-12-31T00:00", "2021-01-01T00:00"),
        ("HOUR", "DATETIME", "2020123123", "2020-12-31T23:00", "2021-01-01T00:00"),
    ],
)
def test_the_partition_of_a_decorator(bigquery_client, dataset, kind, field_type, decorator, start, end):
    table = bigquery.Table(f"{dataset}.by_{kind}_{field_type}", [bigquery.SchemaField("at", field_type)])
    table.time_partitioning = bigquery.TimePartitioning(type_=kind, field="at")
    table = bigquery_client.create_table(table)
    zone = dt.UTC if field_type == "TIMESTAMP" else None
    first, after = (dt.datetime.fromisoformat(each).replace(tzinfo=zone) for each in (start, end))
    arrow = {"DATE": pa.date32(), "DATETIME": pa.timestamp("us"), "TIMESTAMP": pa.timestamp("us", "UTC")}[field_type]
    step = dt.timedelta(days=1) if field_type == "DATE" else dt.timedelta(microseconds=1)

    def at(*moments: dt.datetime) -> io.BytesIO:
        file = io.BytesIO()
        pq.write_table(pa.table({"at": pa.array(moments).cast(arrow)}), file)
        file.seek(0)
        return file

    target = f"{dataset}.{table.table_id}${decorator}"
    for _ in range(2):
        load(bigquery_client, target, at(first, after - step), schema=table.schema)
    assert len(list(bigquery_client.list_rows(target))) == 2
    for outside in (first - step, after):
        with pytest.raises(BadRequest, match="different partitions"):
            load(bigquery_client, target, at(outside), schema=table.schema)
    with pytest.raises(BadRequest, match="Invalid partition id"):
        load(bigquery_client, f"{target}1", at(first), schema=table.schema)
    assert bigquery_client.get_table(table).num_rows == 2


def test_a_whole_table_without_partitions_is_replaced_with_its_schema(bigquery_client, dataset):
    target = f"{dataset}.whole"
    bigquery_client.create_table(bigquery.Table(target, SCHEMA))
    load(bigquery_client, target, parquet("2021-01-01", 3))
    load(bigquery_client, target, parquet("2021-02-01", 2))
    assert months(bigquery_client, target) == {"2021-02": 2}
    wider = [*SCHEMA, bigquery.SchemaField("fee", "FLOAT")]
    load(bigquery_client, target, parquet("2021-03-01", 1, fee=pa.array([0.5])), schema=wider)
    assert [field.name for field in bigquery_client.get_table(target).schema][-1] == "fee"
    assert months(bigquery_client, target) == {"2021-03": 1}
    with pytest.raises(BadRequest, match="Schema update options"):
        load(bigquery_client, target, parquet("2021-03-01", 1), schema_update_options=["ALLOW_FIELD_ADDITION"])
    with pytest.raises(BadRequest, match="not partitioned"):
        load(bigquery_client, f"{target}$202103", parquet("2021-03-01", 1))


@pytest.mark.parametrize("known_size", [True, False])
def test_a_load_by_multipart_or_resumable_upload(bigquery_client, trips, known_size):
    content = parquet("2021-03-01", 9).getvalue()
    size = len(content) if known_size else None
    job = bigquery_client.load_table_from_file(io.BytesIO(content), trips, size=size, job_config=load_config())
    assert finished(job).output_rows == 9
    rows = sorted(tuple(row) for row in bigquery_client.list_rows(trips))
    assert [row[3] for row in rows] == [str(n) for n in range(9)]
    assert {(row[0], row[1].isoformat(), row[2]) for row in rows} == {(1, "2021-01-31T23:59:59", 2.5)}


@emulated
def test_the_last_chunk_of_a_finished_upload_may_be_sent_again(bigquery_emulator, bigquery_client, trips):
    """The response to the first one may have been lost."""
    content, table = parquet("2021-01-01", 3).getvalue(), bigquery.TableReference.from_string(trips)
    job = {"configuration": load_config().to_api_repr()}
    job["configuration"]["load"]["destinationTable"] = table.to_api_repr()
    url = f"{bigquery_emulator.address}/upload/bigquery/v2/projects/{PROJECT}/jobs?uploadType=resumable"
    session = requests.post(url, json=job, timeout=5).headers["Location"]
    span = {"Content-Range": f"bytes 0-{len(content) - 1}/{len(content)}"}
    results = [requests.put(session, content, headers=span, timeout=5) for _ in range(2)]
    assert [result.status_code for result in results] == [200, 200]
    ids = {result.json()["jobReference"]["jobId"] for result in results}
    assert len(ids) == 1
    finished(bigquery_client.get_job(ids.pop()))
    assert months(bigquery_client, trips) == {"2021-01": 3}


def test_a_file_that_is_not_parquet_is_refused(bigquery_client, trips):
    with pytest.raises(BadRequest, match="Parquet"):
        load(bigquery_client, trips, io.BytesIO(b"<html>not found</html>"))
    assert bigquery_client.get_table(trips).num_rows == 0


def test_a_job_id_can_be_used_once(bigquery_client, trips):
    job_id, config = f"taxiway-test-{uuid.uuid4()}", load_config()
    first = bigquery_client.load_table_from_file(
        parquet("2021-01-01", 3), f"{trips}$202101", job_id=job_id, job_config=config
    )
    with pytest.raises(Conflict):
        bigquery_client.load_table_from_file(
            parquet("2021-01-01", 4), f"{trips}$202101", job_id=job_id, job_config=config
        )
    finished(first)
    found = bigquery_client.get_job(job_id, location=first.location)
    assert (found.state, found.output_rows, found.job_type) == ("DONE", 3, "load")
    assert found.created <= found.started <= found.ended
    assert job_id in [job.job_id for job in bigquery_client.list_jobs()]
    with pytest.raises(NotFound):
        bigquery_client.get_job(f"{job_id}-missing", location=first.location)


def test_a_failed_job_has_its_error(bigquery_client, trips):
    job = bigquery_client.load_table_from_file(
        parquet("2021-02-01", 3), f"{trips}$202101", job_config=load_config(labels={"load": "this"})
    )
    with pytest.raises(BadRequest):
        finished(job)
    found = bigquery_client.get_job(job.job_id, location=job.location)
    assert (found.state, found.error_result["reason"], found.labels) == ("DONE", "invalid", {"load": "this"})


def test_months_that_are_loaded_at_the_same_time(bigquery_client, trips):
    def one(month: int) -> None:
        load(bigquery_client, f"{trips}$2021{month:02}", parquet(f"2021-{month:02}-01", month))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(1, 7)))
    assert months(bigquery_client, trips) == {f"2021-{month:02}": month for month in range(1, 7)}


def test_rows_in_pages(bigquery_client, trips):
    load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 25))
    listing = bigquery_client.list_rows(trips, page_size=10)
    assert [len(list(page)) for page in listing.pages] == [10, 10, 5]
    assert len(list(bigquery_client.list_rows(trips, max_results=7, start_index=3))) == 7
