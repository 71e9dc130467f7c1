"""Loads into the bucket: lost races, lost answers, damaged uploads, crashes."""

from __future__ import annotations

import datetime as dt

import pytest
from google.api_core.exceptions import PreconditionFailed, ServiceUnavailable

from flows.errors import StoreFailed, StoreUnavailable
from flows.stores import bucket as bucket_module
from flows.stores.batches import write_parquet
from flows.stores.bucket import BucketStore, data_name
from flows.stores.ledger import LedgerEntry
from flows.stores.verify import verify
from tests.integration.stores_fixtures import (  # noqa: F401
    JANUARY,
    Pass,
    bucket,
    source,
    state,
    storage_client,
)


def test_a_lost_race_is_run_again(bucket, tmp_path, monkeypatch):  # noqa: F811
    """Someone else's object arrives between our look and our upload."""
    store, other, races = BucketStore(bucket), BucketStore(bucket), []
    upload = BucketStore._upload

    def late(self, name, file, metadata, replaces):
        if self is store and name == data_name(JANUARY) and not races:
            races.append(other.replace(Pass(JANUARY, tmp_path, rows=7, bad=9), source("sha256:other")))
        upload(self, name, file, metadata, replaces)

    monkeypatch.setattr(BucketStore, "_upload", late)
    store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:ours"))
    assert len(races) == 1 and store.entry(JANUARY).checksum == "sha256:ours"
    assert (store.count(JANUARY), store.count_rejected(JANUARY)) == (5, 0)


def test_another_try_of_a_load_whose_first_one_was_replaced(bucket, tmp_path, monkeypatch):  # noqa: F811
    """The load that replaced the first try deletes that one's rejected rows, and not those of the second."""
    store, other, races, once = BucketStore(bucket), BucketStore(bucket), [], source()
    store.replace(Pass(JANUARY, tmp_path, bad=2), once)
    upload = BucketStore._upload

    def late(self, name, file, metadata, replaces):
        if self is store and name == data_name(JANUARY) and not races:
            races.append(other.replace(Pass(JANUARY, tmp_path, rows=7, bad=9), source("sha256:other")))
        upload(self, name, file, metadata, replaces)

    monkeypatch.setattr(BucketStore, "_upload", late)
    again = store.replace(Pass(JANUARY, tmp_path, bad=2), once)
    assert len(races) == 1 and store.entries() == [again] and store.count_rejected(JANUARY) == 2


def test_a_race_that_is_always_lost(bucket, tmp_path, monkeypatch):  # noqa: F811
    store, upload = BucketStore(bucket), BucketStore._upload

    def late(self, name, file, metadata, replaces):
        if name == data_name(JANUARY):
            bucket.blob(name).upload_from_string("someone else's")
        upload(self, name, file, metadata, replaces)

    monkeypatch.setattr(BucketStore, "_upload", late)
    with pytest.raises(StoreFailed, match="was replaced by someone else 5 times"):
        store.replace(Pass(JANUARY, tmp_path), source())
    assert bucket.blob(data_name(JANUARY)).download_as_bytes() == b"someone else's"


def test_an_upload_whose_answer_is_lost_is_not_done_twice(bucket, tmp_path, monkeypatch):  # noqa: F811
    store, upload, uploads = BucketStore(bucket), BucketStore._upload, []

    def deaf(self, name, file, metadata, replaces):
        upload(self, name, file, metadata, replaces)
        uploads.append(name)
        raise PreconditionFailed("the client's own retry found the object there")

    monkeypatch.setattr(BucketStore, "_upload", deaf)
    store.replace(Pass(JANUARY, tmp_path), source())
    assert uploads == [data_name(JANUARY)] and store.count(JANUARY) == 1000


@pytest.mark.parametrize("multipart_limit", [None, 1 << 10])
def test_what_arrives_changed_is_refused_and_the_old_object_stays(bucket, tmp_path, monkeypatch, multipart_limit):  # noqa: F811
    store = BucketStore(bucket)
    store.replace(Pass(JANUARY, tmp_path), source())
    before = state(store)
    if multipart_limit:
        monkeypatch.setattr("google.cloud.storage.blob._MAX_MULTIPART_SIZE", multipart_limit)
    monkeypatch.setattr(bucket_module, "_crc32c", lambda file: "AAAAAA==")
    monkeypatch.setattr(
        "google.cloud.storage._media._upload._helpers.prepare_checksum_digest", lambda digest: "AAAAAA=="
    )
    with pytest.raises(StoreFailed, match="gs://"):
        store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
    assert state(store) == before


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("bad", [4, 0])
def test_a_crash_between_rejected_rows_and_data(bucket, tmp_path, monkeypatch, bad, blocks):  # noqa: F811
    """The old month stays with its own rejected rows; what the crash has left is deleted by a later load."""
    store, upload = BucketStore(bucket), BucketStore._upload
    old = store.replace(Pass(JANUARY, tmp_path, bad=3, blocks=blocks), source())
    before = [blob.name for blob in bucket.list_blobs()]

    def crash(self, name, file, metadata, replaces):
        if replaces is not None:
            raise ServiceUnavailable("gone")
        upload(self, name, file, metadata, replaces)

    with monkeypatch.context() as patch:
        patch.setattr(BucketStore, "_upload", crash)
        with pytest.raises(StoreUnavailable, match="gone"):
            store.replace(Pass(JANUARY, tmp_path, rows=5, bad=bad, blocks=blocks), source("sha256:2"))
    assert store.entries() == [old] and store.count_rejected(JANUARY) == (0 if blocks else 3)
    assert set(before) <= {blob.name for blob in bucket.list_blobs()}
    assert verify({"bucket": store}, lambda month: None).differences == []
    stranger = bucket.blob("rejected/green/green_tripdata_2021-01.by-hand.parquet")
    stranger.upload_from_string("someone else's")
    monkeypatch.setattr(bucket_module, "LEFT_OVER", dt.timedelta(0))
    new = store.replace(Pass(JANUARY, tmp_path, rows=5, bad=2), source("sha256:3"))
    assert (store.entries(), store.count_rejected(JANUARY)) == ([new], 2)
    kept = {data_name(JANUARY), f"rejected/green/green_tripdata_2021-01.{new.load_id}.parquet", stranger.name}
    assert {blob.name for blob in bucket.list_blobs()} == kept


def test_rejected_rows_of_a_version_without_load_ids(bucket, tmp_path):  # noqa: F811
    """They are counted under their old name, and deleted once the month is loaded anew."""
    store, cleaning = BucketStore(bucket), Pass(JANUARY, tmp_path, bad=3)
    file = tmp_path / "january.parquet"
    write_parquet(iter(cleaning.reader()), cleaning.schema, file)
    old = LedgerEntry.of(cleaning, source(), load_id="")
    for name, path, metadata in (
        ("data/green/green_tripdata_2021-01.parquet", file, {"ledger": old.to_json()}),
        ("rejected/green/green_tripdata_2021-01.parquet", cleaning.rejected, {}),
    ):
        blob = bucket.blob(name)
        blob.metadata = metadata
        blob.upload_from_filename(path)
    assert (store.entries(), store.count_rejected(JANUARY)) == ([old], 3)
    store.replace(Pass(JANUARY, tmp_path), source("sha256:2"))
    assert [blob.name for blob in bucket.list_blobs()] == [data_name(JANUARY)]
