"""The bucket store against the emulator: its objects, what can be read back, and objects it did not write."""

from __future__ import annotations

import uuid
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from prefect_gcp import GcpCredentials, GcsBucket

from flows.datasets.tlc import FHVHV, GREEN
from flows.errors import Refused, StoreFailed
from flows.pipeline.open_stores import store_in_bucket
from flows.stores.bucket import BucketStore
from flows.stores.bucket_objects import data_name, partition_of, rejected_name
from flows.stores.reconcile import verify
from infra.emulators.credentials import service_account
from infra.settings import Settings
from tests.integration.stores_fixtures import FEBRUARY, JANUARY, Pass, bucket, replaced, source, storage_client  # noqa: F401
from tests.ledger_entries import refused_entry


@pytest.fixture
def store(bucket):  # noqa: F811
    return BucketStore(bucket)


def names(bucket) -> list[str]:  # noqa: F811
    return [blob.name for blob in bucket.list_blobs()]


def test_a_missing_partition_cannot_be_downloaded(store, tmp_path):
    with pytest.raises(Refused, match=r"gs://.*/data/green/green_tripdata_2021-01.parquet: does not exist"):
        store.download(JANUARY, tmp_path)


def test_a_load_and_its_download(store, bucket, tmp_path):  # noqa: F811
    extra = [("new_fee", "1.25")]
    entry = replaced(store, Pass(JANUARY, tmp_path, bad=7, extra=extra), source())
    assert names(bucket) == [data_name(JANUARY), f"rejected/green/green_tripdata_2021-01.{entry.load_id}.parquet"]
    (tmp_path / "down").mkdir()
    file, found = store.download(JANUARY, tmp_path / "down", flow_run_id="run-2")
    blob = bucket.get_blob(data_name(JANUARY))
    assert found.url == f"gs://{bucket.name}/data/green/green_tripdata_2021-01.parquet"
    assert (found.checksum, found.bytes, found.flow_run_id) == (f"generation:{blob.generation}", blob.size, "run-2")
    assert file.stat().st_size == blob.size
    table = pq.read_table(file)
    assert table.schema.equals(Pass(JANUARY, tmp_path).schema) and table.num_rows == 1000
    assert table["extra_columns"][0].as_py() == extra


def test_a_reload_leaves_no_object_of_the_load_it_replaces(store, bucket, tmp_path):  # noqa: F811
    for month, rows, bad in ((JANUARY, 1000, 5), (FEBRUARY, 500, 2), (JANUARY, 900, 0), (JANUARY, 900, 0)):
        store.replace(Pass(month, tmp_path, rows=rows, bad=bad), source())
    assert len(names(bucket)) == 3


def test_the_objects_of_a_blocked_partition(store, bucket, tmp_path):  # noqa: F811
    store.replace(Pass(JANUARY, tmp_path, bad=2), source())
    blocked = replaced(store, Pass(JANUARY, tmp_path, rows=300, bad=4, blocks=True), source("sha256:2"))
    assert sorted(names(bucket))[:2] == [
        f"blocked/green/green_tripdata_2021-01.{blocked.load_id}.rejected.parquet",
        "blocked/green/green_tripdata_2021-01.parquet",
    ]
    store.replace(Pass(JANUARY, tmp_path, rows=800), source("sha256:3"))
    assert names(bucket) == [data_name(JANUARY)]


def test_a_large_month_is_uploaded_in_chunks(store, bucket, tmp_path, monkeypatch):  # noqa: F811
    """More than one chunk of a resumable upload, and what arrives is what was sent."""
    monkeypatch.setattr("flows.stores.bucket.UPLOAD_CHUNK", 256 << 10)
    monkeypatch.setattr("google.cloud.storage.blob._MAX_MULTIPART_SIZE", 256 << 10)
    store.replace(Pass(JANUARY, tmp_path, rows=400_000, batches=40), source())
    assert bucket.get_blob(data_name(JANUARY)).size > 512 << 10
    file, _ = store.download(JANUARY, tmp_path)
    assert pq.read_table(file, columns=["vendor_id"])["vendor_id"].combine_chunks() == pa.array(
        range(400_000), pa.int32()
    )


def test_other_objects_are_not_partitions(store, bucket, tmp_path):  # noqa: F811
    store.replace(Pass(JANUARY, tmp_path), source())
    for name in (
        "data/green/notes.txt",
        "data/green/green_tripdata_2021-13x.parquet",
        "data/blue/blue_tripdata_2021-01.parquet",
    ):
        bucket.blob(name).upload_from_string("x")
    assert store.counts(GREEN) == {JANUARY: 1000} and len(store.entries(GREEN)) == 1


def test_names():
    month = FHVHV.partition(2024, 12)
    assert (
        data_name(month) == "data/fhvhv/fhvhv_tripdata_2024-12.parquet"
        and partition_of(data_name(month), month.dataset) == month
    )
    assert partition_of("data/green/yellow_tripdata_2024-12.parquet", GREEN) is None


def test_a_missing_bucket(storage_client, tmp_path):  # noqa: F811
    store = BucketStore(storage_client.bucket("missing-bucket"))
    with pytest.raises(StoreFailed, match="gs://missing-bucket/") as failed:
        store.replace(Pass(JANUARY, tmp_path), source())
    assert "\n" not in str(failed.value)
    with pytest.raises(StoreFailed, match="NotFound"):
        store.record(refused_entry(JANUARY))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
        b"PAR1",
        b"PAR1PAR1",
        b"\xff\xff\xff\x7fPAR1",
    ],
)
@pytest.mark.parametrize("ledger", [None, "not JSON", "[]", '{"tool": "of someone else"}', "null"])
def test_a_bad_object_is_reported_and_does_not_hide_the_others(store, bucket, tmp_path, content, ledger):  # noqa: F811
    good = replaced(store, Pass(FEBRUARY, tmp_path, bad=1), source())
    blob = bucket.blob(data_name(JANUARY))
    blob.metadata = ledger and {"ledger": ledger}
    blob.upload_from_string(content)
    assert store.entries(GREEN) == [good] and store.entry(JANUARY) is None
    verified = verify({"bucket": store}, [GREEN])
    assert [str(difference) for difference in verified.differences] == [
        f"bucket, green 2021-01: gs://{bucket.name}/{data_name(JANUARY)}: is not a complete parquet file"
    ]
    assert verified.partitions == 1


def test_truncated_objects_of_rows_and_rejected_rows(store, bucket, tmp_path):  # noqa: F811
    """Their entries are whole, so both months are held against them."""
    for month in (JANUARY, FEBRUARY):
        store.replace(Pass(month, tmp_path, bad=1), source())
    january = bucket.get_blob(data_name(JANUARY))
    whole, metadata = january.download_as_bytes(), january.metadata
    cut = bucket.blob(january.name)
    cut.metadata = metadata
    cut.upload_from_string(whole[:-100])
    bucket.blob(rejected_name(store.entry(FEBRUARY))).upload_from_string("<html>")
    verified = verify({"bucket": store}, [GREEN])
    assert [str(difference.partition) for difference in verified.differences] == ["green 2021-01", "green 2021-02"]
    assert all("is not a complete parquet file" in str(difference) for difference in verified.differences)


def test_a_folder_of_a_bucket(bucket, tmp_path):  # noqa: F811
    """All objects are in it, and those of other folders are ignored."""
    ours, other = BucketStore(bucket, "raw/tlc/"), BucketStore(bucket)
    kept = replaced(other, Pass(JANUARY, tmp_path, rows=7), source("sha256:other"))
    blocked = replaced(ours, Pass(JANUARY, tmp_path, blocks=True, bad=2), source())
    assert ours.entries(GREEN) == [blocked]
    entry = replaced(ours, Pass(JANUARY, tmp_path, bad=2), source("sha256:2"))
    assert (ours.entries(GREEN), ours.counts(GREEN), ours.count_rejected(JANUARY)) == ([entry], {JANUARY: 1000}, 2)
    assert ours.download(JANUARY, tmp_path)[1].url == f"gs://{bucket.name}/raw/tlc/{data_name(JANUARY)}"
    assert names(bucket) == [data_name(JANUARY), f"raw/tlc/{data_name(JANUARY)}", f"raw/tlc/{rejected_name(entry)}"]
    assert (other.entries(GREEN), other.counts(GREEN)) == ([kept], {JANUARY: 7})


def test_a_bucket_whose_requester_pays(storage_client, tmp_path):  # noqa: F811
    """Every request names the project that pays; without one the bucket refuses, in one line."""
    paid = storage_client.bucket(f"b{uuid.uuid4().hex[:12]}", user_project="taxiway-payer")
    paid.requester_pays = True
    storage_client.create_bucket(paid)
    store = BucketStore(paid)
    store.replace(Pass(JANUARY, tmp_path, blocks=True, bad=1), source())
    entry = replaced(store, Pass(JANUARY, tmp_path, bad=2), source("sha256:2"))
    store.record(replace(entry, source_etag='"2"'))
    assert (store.counts(GREEN), store.count_rejected(JANUARY)) == ({JANUARY: 1000}, 2)
    assert store.download(JANUARY, tmp_path)[0].exists()
    assert [found.source_etag for found in store.entries(GREEN)] == ['"2"']
    with pytest.raises(StoreFailed, match="requester pays bucket but no user project provided"):
        BucketStore(storage_client.bucket(paid.name)).entries(GREEN)


def test_a_blocks_folder_and_the_project_that_pays(storage_client, tmp_path, monkeypatch):  # noqa: F811
    """What the pipelines make of a GcsBucket block, whose folder may be set in the UI."""
    address = storage_client._connection.API_BASE_URL
    monkeypatch.setenv("STORAGE_EMULATOR_HOST", address)
    monkeypatch.setattr(
        "flows.pipeline.open_stores.settings", lambda: Settings(_env_file=None, user_project="taxiway-payer")
    )
    paid = storage_client.bucket(f"b{uuid.uuid4().hex[:12]}", user_project="taxiway-payer")
    paid.requester_pays = True
    storage_client.create_bucket(paid)
    account = GcpCredentials(service_account_info=service_account("taxiway-local", f"{address}/token"))
    store = store_in_bucket(GcsBucket(bucket=paid.name, bucket_folder="raw", gcp_credentials=account))
    store.replace(Pass(JANUARY, tmp_path), source())
    assert names(paid) == [f"raw/{data_name(JANUARY)}"]
