"""Behaviour of the emulators only: 501 for calls that are not supported, restarts and kills."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import duckdb
import pytest
import requests
from google.api_core.exceptions import GoogleAPICallError, InternalServerError, MethodNotImplemented
from google.cloud import bigquery, storage
from google.cloud.bigquery import QueryJobConfig, ScalarQueryParameter

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
def test_starts_prints_nothing_and_stops(kind, tmp_path):
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


def _batch(client: storage.Client, bucket: storage.Bucket) -> None:
    with client.batch():
        bucket.blob("a").delete()
        bucket.blob("b").delete()


def _bucket_with(client: storage.Client, **properties: Any) -> None:
    bucket = storage.Bucket(client, "not-supported")
    for name, value in properties.items():
        setattr(bucket, name, value)
    client.create_bucket(bucket)


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (_batch, "POST /batch"),
        (lambda client, _: _bucket_with(client, versioning_enabled=True), "versioning in buckets.insert"),
        (lambda client, _: _bucket_with(client, labels={"a": "b"}), "labels in buckets.insert"),
        (lambda client, _: list(client.list_buckets()), "GET /storage/v1/b"),
        (lambda _, bucket: bucket.patch(), "PATCH /storage/v1/b/"),
        (lambda _, bucket: bucket.delete(), "DELETE /storage/v1/b/"),
        (lambda _, bucket: bucket.get_iam_policy(), "GET /storage/v1/b/.*/iam"),
        (lambda _, bucket: list(bucket.list_blobs(delimiter="/")), "delimiter in objects.list"),
        (lambda _, bucket: list(bucket.list_blobs(versions=True)), "versions in objects.list"),
        (lambda _, bucket: bucket.copy_blob(bucket.blob("a"), bucket, "b"), "POST .*/copyTo/"),
        (lambda _, bucket: bucket.blob("b").rewrite(bucket.blob("a")), "POST .*/rewriteTo/"),
        (lambda _, bucket: bucket.blob("b").compose([bucket.blob("a")]), "POST .*/compose"),
        (lambda _, bucket: bucket.blob("a").delete(if_generation_not_match=1), "ifGenerationNotMatch in DELETE"),
        (lambda _, bucket: bucket.blob("a").upload_from_string("x", predefined_acl="publicRead"), "predefinedAcl"),
        (lambda _, bucket: bucket.blob("a", kms_key_name="key").upload_from_string("x"), "kmsKeyName"),
        (lambda _, bucket: bucket.blob("a", encryption_key=b"k" * 32).upload_from_string("x"), "encryption"),
    ],
)
def test_other_storage_calls_are_answered_with_501_and_their_name(storage_client, bucket, attempt, named):
    with pytest.raises(MethodNotImplemented, match=f"(?i)Not supported by the emulator: .*{named}"):
        attempt(storage_client, bucket)
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
        ("CREATE TABLE `{dataset}.t` (a INT64)", "CREATE TABLE"),
        ("CREATE VIEW `{dataset}.v` AS SELECT 1 AS a", "CREATE VIEW"),
        ("DROP TABLE `{dataset}.t`", "DROP TABLE"),
        ("ALTER TABLE `{dataset}.t` SET OPTIONS (description = 'a')", "ALTER TABLE"),
        ("INSERT INTO `{dataset}.t` (a) VALUES (1)", "INSERT INTO"),
        ("UPDATE `{dataset}.t` SET a = 1 WHERE TRUE", "UPDATE"),
        ("MERGE `{dataset}.t` AS t USING `{dataset}.s` AS s ON t.a = s.a WHEN MATCHED THEN DELETE", "MERGE"),
        ("SELECT COUNTIF(DISTINCT x) FROM UNNEST([TRUE]) AS x", "COUNTIF"),
        ("SELECT PARSE_TIMESTAMP('%Y', '2021', 'Asia/Tokyo')", "PARSE_TIMESTAMP"),
    ],
)
def test_other_sql_is_answered_with_501_and_its_name(bigquery_client, dataset, query, named):
    with pytest.raises(MethodNotImplemented, match=f"(?is)Not supported by the emulator.*{named}"):
        bigquery_client.query(query.format(dataset=dataset), retry=None).result()


def _create(client: bigquery.Client, name: str, schema: list[bigquery.SchemaField], **properties: Any) -> None:
    table = bigquery.Table(name, schema)
    for key, value in properties.items():
        setattr(table, key, value)
    client.create_table(table)


def _patch(client: bigquery.Client, name: str, key: str, value: Any) -> None:
    table = client.get_table(name)
    setattr(table, key, value)
    client.update_table(table, [key])


def _query(client: bigquery.Client, **options: Any) -> None:
    client.query("SELECT 1 AS a", job_config=QueryJobConfig(**options), retry=None).result()


def _load(client: bigquery.Client, target: str, **options: Any) -> None:
    load(client, target, parquet("2021-01-01", 1), **options)


TEXT = [bigquery.SchemaField("a", "STRING")]
BY_INGESTION = bigquery.TimePartitioning(type_="MONTH")


@pytest.mark.parametrize(
    ("attempt", "named"),
    [
        (lambda client, trips: list(client.list_datasets()), "GET .*/datasets"),
        (lambda client, trips: client.delete_dataset(trips.split(".")[1]), "DELETE .*/datasets"),
        (lambda client, trips: client.delete_table(f"{trips}$202101"), "tables.delete of a partition"),
        (lambda client, trips: _create(client, f"{trips}_new", []), "without a schema"),
        (lambda client, trips: _create(client, f"{trips}_new", TEXT, view_query="SELECT 1"), "view in tables.insert"),
        (lambda client, trips: _create(client, f"{trips}_new", TEXT, clustering_fields=["a"]), "clustering"),
        (lambda client, trips: _create(client, f"{trips}_new", TEXT, time_partitioning=BY_INGESTION), "ingestion time"),
        (lambda client, trips: _create(client, f"{trips}_new", [bigquery.SchemaField("a", "RECORD")]), "RECORD"),
        (
            lambda client, trips: _create(client, f"{trips}_new", [bigquery.SchemaField("a", "STRING", "REPEATED")]),
            "REPEATED",
        ),
        (lambda client, trips: _patch(client, trips, "description", "a"), "description in tables.patch"),
        (lambda client, trips: _patch(client, trips, "schema", TEXT), "schema in tables.patch"),
        (lambda client, trips: client.insert_rows_json(trips, [{"vendor_id": 1}]), "POST .*/insertAll"),
        (lambda client, trips: list(client.list_routines(trips.split(".")[1])), "GET .*/routines"),
        (lambda client, trips: list(client.list_jobs(max_results=3)), "maxResults in jobs.list"),
        (lambda client, trips: client.cancel_job("a"), "POST .*/cancel"),
        (lambda client, trips: client.copy_table(trips, f"{trips}_new"), "copy in a job"),
        (lambda client, trips: client.extract_table(trips, "gs://a/b"), "extract in a job"),
        (lambda client, trips: _query(client, dry_run=True), "dryRun in a job"),
        (lambda client, trips: _query(client, use_legacy_sql=True), "legacy SQL"),
        (lambda client, trips: _query(client, maximum_bytes_billed=1), "maximumBytesBilled in a query job"),
        (lambda client, trips: _query(client, destination=trips), "destinationTable"),
        (
            lambda client, trips: _query(client, query_parameters=[ScalarQueryParameter(None, "INT64", 1)]),
            "parameters without a name",
        ),
        (lambda client, trips: _load(client, f"{trips}_new", create_disposition=None), "creates its table"),
        (lambda client, trips: _load(client, trips, write_disposition="WRITE_EMPTY"), "writeDisposition=WRITE_EMPTY"),
        (lambda client, trips: _load(client, trips, source_format="AVRO"), "sourceFormat=AVRO"),
        (lambda client, trips: _load(client, trips, source_format="CSV"), "sourceFormat=CSV"),
        (lambda client, trips: _load(client, trips, max_bad_records=3), "maxBadRecords in a load job"),
        (lambda client, trips: _load(client, trips, time_partitioning=BY_INGESTION), "timePartitioning in a load job"),
        (lambda client, trips: _load(client, f"{trips}$__NULL__"), "the partition __NULL__"),
        (lambda client, trips: client.load_table_from_uri("gs://a/b", trips, job_config=load_config()), "sourceUris"),
    ],
)
def test_other_bigquery_calls_are_answered_with_501_and_their_name(bigquery_client, trips, attempt, named):
    with pytest.raises(MethodNotImplemented, match=f"(?s)Not supported by the emulator: .*{named}"):
        attempt(bigquery_client, trips)


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


def test_a_resumable_upload_continues_after_a_kill(own_storage):
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


def test_a_download_of_an_object_that_is_replaced_continues_to_its_end(own_storage):
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


def test_a_kill_in_the_middle_of_a_load_leaves_the_old_month_unchanged(own_bigquery, tmp_path):
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


def test_a_stop_cancels_the_running_jobs(own_bigquery):
    client = own_bigquery.bigquery_client()
    job = client.query(ENDLESS)
    while job.state == "PENDING":
        job.reload()
    own_bigquery.restart()
    with pytest.raises(GoogleAPICallError, match="cancelled"):
        finished(client.get_job(job.job_id))
    assert "Traceback" not in own_bigquery.log.read_text()
