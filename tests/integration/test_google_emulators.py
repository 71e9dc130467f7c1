"""What is asked of the emulators alone: they refuse aloud what they do not know, and keep what they hold."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
import requests
from google.api_core.exceptions import GoogleAPICallError, InternalServerError, MethodNotImplemented
from google.cloud import bigquery, storage
from google.cloud.bigquery import QueryJobConfig

from infra.local.processes import free_port
from infra.settings import ROOT
from tests.integration.google_fixtures import (
    Emulator,
    bigquery_client,
    bigquery_emulator,
    bucket,
    dataset,
    emulated,
    finished,
    load,
    load_config,
    months,
    parquet,
    storage_client,
    storage_emulator,
    trips,
)

pytestmark = emulated

MANY = "UNNEST(GENERATE_ARRAY(1, 200000))"
ENDLESS = f"SELECT COUNT(*) AS n FROM {MANY} AS a, {MANY} AS b WHERE a * b = 7"


@pytest.mark.parametrize("kind", ["storage", "bigquery"])
def test_starts_quickly_says_nothing_and_stops_cleanly(kind, tmp_path):
    port = free_port()
    command = [sys.executable, "-m", "infra.emulators", kind, "--port", str(port), "--state", str(tmp_path / "new")]
    begun = time.monotonic()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        try:
            while time.monotonic() < begun + 20:
                try:
                    assert requests.get(f"http://127.0.0.1:{port}/health", timeout=1).ok
                    break
                except requests.ConnectionError:
                    time.sleep(0.02)
            token = requests.post(f"http://127.0.0.1:{port}/token", data={"grant_type": "any"}, timeout=5).json()
            assert token["access_token"]
            assert token["expires_in"] > 0
        finally:
            process.terminate()
        assert process.communicate(timeout=10)[0] == b""
        assert process.returncode == 0


def test_storage_refuses_what_it_does_not_do(storage_client, bucket):
    def several() -> None:
        with storage_client.batch():
            bucket.blob("a").delete()
            bucket.blob("b").delete()

    def keeping_versions() -> None:
        versioned = storage.Bucket(storage_client, "versioned")
        versioned.versioning_enabled = True
        storage_client.create_bucket(versioned)

    refused = {
        "batch": several,
        "versioning": keeping_versions,
        "acl": lambda: bucket.blob("a").upload_from_string("x", predefined_acl="publicRead"),
        "encryption": lambda: bucket.blob("a", encryption_key=b"k" * 32).upload_from_string("x"),
        "iam": bucket.get_iam_policy,
        "kmsKeyName": lambda: bucket.blob("a", kms_key_name="key").upload_from_string("x"),
    }
    for name, attempt in refused.items():
        with pytest.raises(MethodNotImplemented, match=f"(?i)Not known to this emulator.*{name}"):
            attempt()
    assert not bucket.blob("a").exists()


@pytest.mark.parametrize(
    ("query", "named"),
    [
        ("SELECT FARM_FINGERPRINT('x')", "farm"),
        ("SELECT SAFE.SUBSTR('x', 1)", "SAFE"),
        ("SELECT FORMAT('%d', 1)", "FORMAT"),
        ("SELECT STRUCT(1 AS a)", "STRUCT"),
        ("SELECT INTERVAL 1 DAY", "interval"),
        ("SELECT EXTRACT(WEEK FROM DATE '2021-01-01')", "WEEK"),
        ("SELECT DATE_DIFF(DATE '2021-01-01', DATE '2020-01-01', WEEK)", "WEEK"),
        ("SELECT 1; SELECT 2", "scripts"),
        ("DECLARE x INT64", "DECLARE"),
        ("SELECT * FROM `{dataset}.INFORMATION_SCHEMA.TABLES`", "INFORMATION_SCHEMA"),
        ("SELECT * FROM `{dataset}.trips_*`", "table expression"),
        ("CREATE VIEW `{dataset}.v` AS SELECT 1 AS a", "VIEW"),
        ("CREATE TABLE `{dataset}.t` (a BIGNUMERIC)", "BIGNUMERIC"),
        ("CREATE TABLE `{dataset}.t` (a STRUCT<b INT64>)", "STRUCT"),
        ("CREATE TABLE `{dataset}.t` (a TIMESTAMP) PARTITION BY TIMESTAMP_TRUNC(a, MONTH)", "PARTITION"),
        ("CREATE TABLE `{dataset}.t` (a INT64) OPTIONS (require_partition_filter = TRUE)", "require_partition_filter"),
    ],
)
def test_bigquery_refuses_sql_that_it_does_not_know(bigquery_client, dataset, query, named):
    with pytest.raises(MethodNotImplemented, match=f"(?is)Not known to this emulator.*{named}"):
        bigquery_client.query(query.format(dataset=dataset), retry=None).result()


def test_bigquery_refuses_requests_that_it_does_not_know(bigquery_client, dataset, trips):
    hourly = bigquery.Table(f"{dataset}.hourly", schema=[bigquery.SchemaField("at", "TIMESTAMP")])
    hourly.time_partitioning = bigquery.TimePartitioning(type_="HOUR", field="at")
    nested = bigquery.SchemaField("extra", "RECORD", fields=[bigquery.SchemaField("a", "STRING")])
    view = bigquery.Table(f"{dataset}.view")
    view.view_query = "SELECT 1"
    new = f"{dataset}.new"
    refused = {
        "insertAll": lambda: bigquery_client.insert_rows_json(trips, [{"vendor_id": 1}]),
        "HOUR": lambda: bigquery_client.create_table(hourly),
        "RECORD": lambda: bigquery_client.create_table(bigquery.Table(new, schema=[nested])),
        "view": lambda: bigquery_client.create_table(view),
        "legacy SQL": lambda: bigquery_client.query("SELECT 1", job_config=QueryJobConfig(use_legacy_sql=True)),
        "maximumBytesBilled": lambda: bigquery_client.query("SELECT 1", QueryJobConfig(maximum_bytes_billed=1)),
        "AVRO": lambda: load(bigquery_client, new, io.BytesIO(b"Obj"), source_format="AVRO"),
        "maxBadRecords": lambda: load(bigquery_client, new, parquet("2021-01-01", 1), max_bad_records=3),
        "autodetect": lambda: load(bigquery_client, new, io.BytesIO(b"1"), source_format="CSV", schema=None),
        "ingestion time": lambda: load(bigquery_client, f"{new}$202101", parquet("2021-01-01", 1)),
        "routines": lambda: list(bigquery_client.list_routines(dataset)),
    }
    for name, attempt in refused.items():
        with pytest.raises(MethodNotImplemented, match=f"(?s)Not known to this emulator.*{name}"):
            attempt()


def test_a_job_is_cancelled(bigquery_client):
    job = bigquery_client.query(ENDLESS)
    while job.state == "PENDING":
        job.reload()
    assert job.state == "RUNNING"
    job.cancel()
    with pytest.raises(GoogleAPICallError, match="cancelled"):
        job.result(timeout=10)
    job.reload()
    assert job.error_result["reason"] == "stopped"


@pytest.fixture
def own_storage(tmp_path):
    emulator = Emulator("storage", tmp_path)
    yield emulator
    emulator.stop()


@pytest.fixture
def own_bigquery(tmp_path):
    emulator = Emulator("bigquery", tmp_path)
    yield emulator
    emulator.stop()


def test_storage_survives_a_restart_and_a_kill(own_storage):
    made = own_storage.storage_client().create_bucket("kept")
    made.blob("a").upload_from_string("one")
    first = made.get_blob("a").generation
    own_storage.restart()
    made.blob("a").upload_from_string("two", if_generation_match=first)
    own_storage.kill()
    own_storage.start()
    found = made.get_blob("a")
    assert found.download_as_text() == "two"
    assert found.generation > first


def test_a_resumable_upload_goes_on_after_a_kill(own_storage):
    client = own_storage.storage_client()
    blob = client.create_bucket("kept").blob("large")
    content = b"0123456789abcdef" * (64 * 1024)  # 1 MiB
    url = blob.create_resumable_upload_session(size=len(content))
    quarter = len(content) // 4
    part = {"Content-Range": f"bytes 0-{quarter - 1}/{len(content)}"}
    assert requests.put(url, content[:quarter], headers=part, timeout=5).status_code == 308
    own_storage.kill()
    own_storage.start()
    assert blob.exists() is False
    asked = requests.put(url, headers={"Content-Range": f"bytes */{len(content)}"}, timeout=5)
    assert (asked.status_code, asked.headers["Range"]) == (308, f"bytes=0-{quarter - 1}")
    rest = {"Content-Range": f"bytes {quarter}-{len(content) - 1}/{len(content)}"}
    assert requests.put(url, content[quarter:], headers=rest, timeout=5).status_code == 200
    assert blob.download_as_bytes() == content


def test_a_reader_of_an_object_that_is_replaced_reads_it_to_the_end(own_storage):
    content = b"x" * (32 * 1024 * 1024)
    blob = own_storage.storage_client().create_bucket("kept").blob("large")
    blob.upload_from_string(content)
    url = f"{own_storage.address}/download/storage/v1/b/kept/o/large?alt=media"
    with requests.get(url, stream=True, timeout=5) as answer:
        pieces = answer.iter_content(1024 * 1024)
        begun = next(pieces)
        blob.upload_from_string("new")
        assert begun + b"".join(pieces) == content
    assert blob.download_as_text() == "new"


def _month(tmp_path: Path, rows: int) -> Path:
    """A large parquet file of rows of 2021-01."""
    path = tmp_path / "month.parquet"
    columns = "i AS vendor_id, TIMESTAMP '2021-01-01' AS pickup_datetime, random() AS fare_amount"
    month = "uuid()::VARCHAR AS flag, DATE '2021-01-01' AS source_month"
    with duckdb.connect() as made:
        made.execute(f"COPY (SELECT {columns}, {month} FROM range({rows}) AS r(i)) TO '{path}' (FORMAT parquet)")
    return path


def test_a_kill_in_the_middle_of_a_load_leaves_the_old_month(own_bigquery, tmp_path):
    client = own_bigquery.bigquery_client()
    client.create_dataset("kept")
    target = f"{client.project}.kept.trips"
    table = bigquery.Table(target, schema=load_config().schema)
    table.time_partitioning = bigquery.TimePartitioning(type_="MONTH", field="source_month")
    client.create_table(table)
    load(client, f"{target}$202101", parquet("2021-01-01", 7))
    with _month(tmp_path, 500_000).open("rb") as large:
        job = client.load_table_from_file(large, f"{target}$202101", job_id="cut-off", job_config=load_config())
    while job.state == "PENDING":
        job.reload()
    own_bigquery.kill()
    own_bigquery.start()
    assert months(client, target) == {"2021-01": 7}
    with pytest.raises(InternalServerError, match="stopped while the job ran"):
        finished(client.get_job("cut-off"))
    load(client, f"{target}$202101", parquet("2021-01-01", 8))
    own_bigquery.restart()
    assert months(client, target) == {"2021-01": 8}


def test_a_stop_in_the_middle_of_a_job_is_clean(own_bigquery):
    client = own_bigquery.bigquery_client()
    client.create_dataset("kept")
    job = client.query(f"CREATE TABLE kept.endless AS {ENDLESS}")
    while job.state == "PENDING":
        job.reload()
    own_bigquery.restart()
    with pytest.raises(GoogleAPICallError, match="cancelled"):
        finished(client.get_job(job.job_id))
    assert list(client.list_tables("kept")) == []
    assert "Traceback" not in own_bigquery.log.read_text()
