"""What Taxiway relies on in BigQuery's tables and jobs, asked of it by the real client."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import gzip
import io
import json
import uuid
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed
from google.cloud import bigquery

from tests.integration.google_fixtures import (
    SCHEMA,
    bigquery_client,
    bigquery_emulator,
    bucket,
    dataset,
    finished,
    load,
    load_config,
    months,
    parquet,
    rows,
    storage_client,
    storage_emulator,
    trips,
)


def test_datasets(bigquery_client, dataset):
    with pytest.raises(Conflict):
        bigquery_client.create_dataset(dataset)
    assert bigquery_client.create_dataset(dataset, exists_ok=True).full_dataset_id
    assert dataset.split(".")[1] in [each.dataset_id for each in bigquery_client.list_datasets()]
    with pytest.raises(NotFound):
        bigquery_client.get_dataset(f"{dataset}_missing")
    found = bigquery_client.get_dataset(dataset)
    found.labels = {"team": "taxi"}
    assert bigquery_client.update_dataset(found, ["labels"]).labels == {"team": "taxi"}


def test_tables(bigquery_client, dataset, trips):
    found = bigquery_client.get_table(trips)
    assert (found.time_partitioning.type_, found.time_partitioning.field) == ("MONTH", "source_month")
    assert found.clustering_fields == ["vendor_id"]
    assert [(f.name, f.field_type, f.mode) for f in found.schema] == [(f.name, f.field_type, f.mode) for f in SCHEMA]
    assert (found.num_rows, found.table_type) == (0, "TABLE")
    with pytest.raises(Conflict):
        bigquery_client.create_table(found)
    assert found.table_id in [each.table_id for each in bigquery_client.list_tables(dataset, page_size=1)]
    stale = bigquery_client.get_table(trips)
    found.schema = [*found.schema, bigquery.SchemaField("cbd_congestion_fee", "FLOAT")]
    assert len(bigquery_client.update_table(found, ["schema"]).schema) == len(SCHEMA) + 1
    stale.description = "made from a schema that is gone"
    with pytest.raises(PreconditionFailed):
        bigquery_client.update_table(stale, ["description"])
    bigquery_client.delete_table(trips)
    with pytest.raises(NotFound):
        bigquery_client.get_table(trips)


def test_a_month_is_replaced_and_its_neighbours_stay(bigquery_client, trips):
    job = load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 30))
    assert (job.output_rows, job.state, job.input_files) == (30, "DONE", 1)
    load(bigquery_client, f"{trips}$202102", parquet("2021-02-01", 20))
    load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 10, vendor=2))
    assert months(bigquery_client, trips) == {"2021-01": 10, "2021-02": 20}
    assert bigquery_client.get_table(trips).num_rows == 30
    vendors = {row["vendor_id"] for row in bigquery_client.list_rows(f"{trips}$202101", selected_fields=SCHEMA[:1])}
    assert vendors == {2}


def test_dispositions(bigquery_client, trips):
    january = f"{trips}$202101"
    load(bigquery_client, january, parquet("2021-01-01", 3), write_disposition="WRITE_EMPTY")
    with pytest.raises(Conflict):
        load(bigquery_client, january, parquet("2021-01-01", 3), write_disposition="WRITE_EMPTY")
    load(bigquery_client, january, parquet("2021-01-01", 4), write_disposition="WRITE_APPEND")
    assert months(bigquery_client, trips) == {"2021-01": 7}
    load(bigquery_client, trips, parquet("2021-02-01", 5))
    assert months(bigquery_client, trips) == {"2021-02": 5}
    with pytest.raises(NotFound):
        load(bigquery_client, f"{trips}_missing", parquet("2021-02-01", 5), create_disposition="CREATE_NEVER")


def test_rows_of_another_month_are_refused_and_the_old_ones_stay(bigquery_client, trips):
    load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 3))
    with pytest.raises(BadRequest, match="different partitions"):
        load(bigquery_client, f"{trips}$202101", parquet("2021-02-01", 5))
    assert months(bigquery_client, trips) == {"2021-01": 3}


def test_drift_is_refused_unless_it_is_an_allowed_addition(bigquery_client, trips):
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


def test_another_layout_is_refused(bigquery_client, trips):
    monthly = bigquery.TimePartitioning(type_="MONTH", field="source_month")
    with pytest.raises(BadRequest, match=r"(?i)partitioning specification"):
        load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 2), time_partitioning=monthly)
    both = {"time_partitioning": monthly, "clustering_fields": ["vendor_id"]}
    load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 2), **both)
    assert months(bigquery_client, trips) == {"2021-01": 2}


def test_a_load_makes_the_table_it_needs(bigquery_client, dataset):
    monthly = bigquery.TimePartitioning(type_="MONTH", field="source_month")
    load(bigquery_client, f"{dataset}.made$202101", parquet("2021-01-01", 2), time_partitioning=monthly)
    assert bigquery_client.get_table(f"{dataset}.made").time_partitioning.type_ == "MONTH"


def _json(found: list[dict]) -> bytes:
    return "\n".join(json.dumps(row) for row in found).encode()


def _csv(found: list[dict]) -> bytes:
    lines = [",".join(str(row[field.name]) for field in SCHEMA) for row in found]
    return "\n".join([",".join(field.name for field in SCHEMA), *lines]).encode()


FILES = {
    "parquet": (lambda: parquet("2021-03-01", 9).getvalue(), {}),
    "json": (lambda: _json(rows("2021-03-01", 9)), {"source_format": "NEWLINE_DELIMITED_JSON"}),
    "csv": (lambda: _csv(rows("2021-03-01", 9)), {"source_format": "CSV", "skip_leading_rows": 1}),
    "csv.gz": (lambda: gzip.compress(_csv(rows("2021-03-01", 9))), {"source_format": "CSV", "skip_leading_rows": 1}),
}


@pytest.mark.parametrize("way", ["multipart", "resumable", "bucket"])
def test_every_format_comes_in_every_way(bigquery_client, trips, bucket, way):
    for kind, (make, options) in FILES.items():
        content, config = make(), load_config(**options)
        if way == "bucket":
            bucket.blob(f"load/{kind}").upload_from_string(content)
            job = bigquery_client.load_table_from_uri(f"gs://{bucket.name}/load/{kind}", trips, job_config=config)
        else:
            size = len(content) if way == "multipart" else None  # of unknown size: resumable
            job = bigquery_client.load_table_from_file(io.BytesIO(content), trips, size=size, job_config=config)
        finished(job)
        assert job.output_rows == 9, kind
        found = sorted(tuple(row) for row in bigquery_client.list_rows(trips))
        assert [row[3] for row in found] == [str(n) for n in range(9)], kind
        assert {(row[0], row[1].isoformat(), row[2]) for row in found} == {(1, "2021-01-31T23:59:59", 2.5)}, kind


def test_several_objects_are_one_load(bigquery_client, trips, bucket):
    for part in range(3):
        bucket.blob(f"parts/{part}.parquet").upload_from_file(parquet("2021-01-01", 4))
    parts = f"gs://{bucket.name}/parts/*.parquet"
    finished(bigquery_client.load_table_from_uri(parts, f"{trips}$202101", job_config=load_config()))
    assert months(bigquery_client, trips) == {"2021-01": 12}
    with pytest.raises(NotFound):
        missing = f"gs://{bucket.name}/parts/none.parquet"
        finished(bigquery_client.load_table_from_uri(missing, trips, job_config=load_config()))


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("NEWLINE_DELIMITED_JSON", b'{"vendor_id": 1, "source_month": "2021-01-01", "surprise": 1}'),
        ("NEWLINE_DELIMITED_JSON", b'{"vendor_id": 1.5, "source_month": "2021-01-01"}'),
        ("CSV", b"1.5,,,,2021-01-01"),
        ("CSV", b"1,,,"),
        ("PARQUET", b"<html>not found</html>"),
    ],
)
def test_files_that_do_not_fit_are_refused(bigquery_client, trips, kind, content):
    with pytest.raises(BadRequest):
        load(bigquery_client, trips, io.BytesIO(content), source_format=kind)
    assert bigquery_client.get_table(trips).num_rows == 0


def test_a_job_id_is_good_for_one_job(bigquery_client, trips):
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
    assert job_id in [job.job_id for job in bigquery_client.list_jobs(max_results=50)]
    with pytest.raises(NotFound):
        bigquery_client.get_job(f"{job_id}-missing", location=first.location)


def test_a_failed_job_says_so(bigquery_client, trips):
    job = bigquery_client.load_table_from_file(
        parquet("2021-02-01", 3), f"{trips}$202101", job_config=load_config(labels={"load": "this"})
    )
    with pytest.raises(BadRequest):
        finished(job)
    found = bigquery_client.get_job(job.job_id, location=job.location)
    assert (found.state, found.error_result["reason"], found.labels) == ("DONE", "invalid", {"load": "this"})


def test_months_loaded_at_once_are_all_there(bigquery_client, trips):
    def one(month: int) -> None:
        load(bigquery_client, f"{trips}$2021{month:02}", parquet(f"2021-{month:02}-01", month))

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(one, range(1, 7)))
    assert months(bigquery_client, trips) == {f"2021-{month:02}": month for month in range(1, 7)}


def test_rows_come_by_pages(bigquery_client, trips):
    load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 25))
    listing = bigquery_client.list_rows(trips, page_size=10)
    assert [len(list(page)) for page in listing.pages] == [10, 10, 5]
    assert len(list(bigquery_client.list_rows(trips, max_results=7, start_index=3))) == 7


def test_a_partition_is_deleted_alone(bigquery_client, trips):
    for month in ("01", "02"):
        load(bigquery_client, f"{trips}$2021{month}", parquet(f"2021-{month}-01", 2))
    bigquery_client.delete_table(f"{trips}$202101")
    assert months(bigquery_client, trips) == {"2021-02": 2}


def test_copies(bigquery_client, trips):
    for month in ("01", "02"):
        load(bigquery_client, f"{trips}$2021{month}", parquet(f"2021-{month}-01", 2))
    finished(bigquery_client.copy_table(trips, f"{trips}_copy"))
    assert bigquery_client.get_table(f"{trips}_copy").time_partitioning.type_ == "MONTH"
    with pytest.raises(Conflict):
        finished(bigquery_client.copy_table(trips, f"{trips}_copy"))
    replace = bigquery.CopyJobConfig(write_disposition="WRITE_TRUNCATE")
    finished(bigquery_client.copy_table(f"{trips}$202101", f"{trips}_one", job_config=replace))
    assert months(bigquery_client, f"{trips}_copy") == {"2021-01": 2, "2021-02": 2}
    assert months(bigquery_client, f"{trips}_one") == {"2021-01": 2}


def test_extracts(bigquery_client, trips, bucket):
    load(bigquery_client, f"{trips}$202101", parquet("2021-01-01", 5))
    found = SimpleNamespace()
    for kind in ("PARQUET", "CSV", "NEWLINE_DELIMITED_JSON"):
        config = bigquery.ExtractJobConfig(destination_format=kind)
        finished(bigquery_client.extract_table(trips, f"gs://{bucket.name}/out/{kind}", job_config=config))
        setattr(found, kind, bucket.blob(f"out/{kind}").download_as_bytes())
    assert pq.read_table(io.BytesIO(found.PARQUET)).num_rows == 5
    assert found.CSV.decode().splitlines()[0] == ",".join(field.name for field in SCHEMA)
    assert json.loads(found.NEWLINE_DELIMITED_JSON.splitlines()[0])["source_month"] == "2021-01-01"
