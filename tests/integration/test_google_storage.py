"""What Taxiway relies on in Cloud Storage, asked of it by the real client."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from google.api_core.exceptions import BadRequest, Conflict, NotFound, PreconditionFailed
from google.cloud import storage

from tests.integration.google_fixtures import bucket, storage_client, storage_emulator


def test_of_racing_first_writes_one_wins(bucket):
    def write(number: int) -> str:
        try:
            bucket.blob("race").upload_from_string(str(number), if_generation_match=0)
        except PreconditionFailed:
            return "refused"
        return str(number)

    with ThreadPoolExecutor(32) as pool:
        outcomes = Counter(pool.map(write, range(32)))
    winner = next(outcome for outcome in outcomes if outcome != "refused")
    assert outcomes == {"refused": 31, winner: 1}
    assert bucket.blob("race").download_as_text() == winner


def test_of_racing_replacements_one_wins(bucket):
    blob = bucket.blob("replaced")
    blob.upload_from_string("first")

    def write(number: int) -> bool:
        try:
            bucket.blob("replaced").upload_from_string(str(number), if_generation_match=blob.generation)
        except PreconditionFailed:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(write, range(8))) == 1


def test_generations_go_up_and_guard_reads_and_deletes(bucket):
    blob = bucket.blob("guarded")
    blob.upload_from_string("one")
    first = blob.generation
    blob.upload_from_string("two", if_generation_match=first)
    assert blob.generation > first
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string("three", if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string("three", if_generation_not_match=blob.generation)
    with pytest.raises(PreconditionFailed):
        bucket.blob("guarded").download_as_bytes(if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        bucket.delete_blob("guarded", if_generation_match=first)
    assert bucket.blob("guarded").download_as_bytes(if_generation_match=blob.generation) == b"two"
    bucket.delete_blob("guarded", if_generation_match=blob.generation)
    assert not bucket.blob("guarded").exists()
    with pytest.raises(NotFound):
        bucket.delete_blob("guarded")


def test_metadata_is_kept_and_counted_apart_from_the_content(bucket):
    blob = bucket.blob("described")
    blob.metadata = {"rows": "76518", "contract": "1"}
    blob.upload_from_string(b"x", content_type="application/vnd.apache.parquet")
    found = bucket.get_blob("described")
    assert found.metadata == {"rows": "76518", "contract": "1"}
    assert (found.content_type, found.metageneration) == ("application/vnd.apache.parquet", 1)
    found.metadata = {"rows": "2", "contract": None}
    found.patch(if_metageneration_match=1)
    again = bucket.get_blob("described")
    assert (again.metadata, again.metageneration, again.generation) == ({"rows": "2"}, 2, blob.generation)
    with pytest.raises(PreconditionFailed):
        found.patch(if_metageneration_match=1)


def test_a_large_file_goes_up_in_chunks_and_comes_back_verified(bucket, tmp_path):
    content = os.urandom(9 * 1024 * 1024 + 17)  # above eight MiB the client uploads resumably
    source, target = tmp_path / "up", tmp_path / "down"
    source.write_bytes(content)
    blob = bucket.blob("data/green/large.parquet", chunk_size=2 * 1024 * 1024)
    blob.upload_from_filename(source, if_generation_match=0)
    found = bucket.get_blob("data/green/large.parquet")
    assert found.size == len(content)
    assert found.md5_hash == base64.b64encode(hashlib.md5(content).digest()).decode()
    assert found.crc32c
    bucket.blob("data/green/large.parquet").download_to_filename(target, checksum="crc32c")
    assert target.read_bytes() == content
    assert found.download_as_bytes(start=7, end=11) == content[7:12]
    assert found.download_as_bytes(start=len(content) - 3) == content[-3:]


def test_a_stream_of_unknown_length(bucket):
    with bucket.blob("stream").open("wb", chunk_size=256 * 1024) as out:
        for _ in range(5):
            out.write(b"y" * 200_000)
    assert bucket.get_blob("stream").size == 1_000_000
    with bucket.blob("stream").open("rb") as back:
        assert back.read() == b"y" * 1_000_000


def test_a_resumable_upload_that_lost_the_race_is_refused_at_its_end(bucket, tmp_path):
    source = tmp_path / "large"
    source.write_bytes(b"z" * (9 * 1024 * 1024))
    bucket.blob("late").upload_from_string("first", if_generation_match=0)
    with pytest.raises(PreconditionFailed):
        bucket.blob("late").upload_from_filename(source, if_generation_match=0)
    assert bucket.blob("late").download_as_text() == "first"


def test_content_that_does_not_match_its_checksum_is_refused(bucket):
    blob = bucket.blob("corrupt")
    blob.md5_hash = base64.b64encode(hashlib.md5(b"something else").digest()).decode()
    with pytest.raises(BadRequest):
        blob.upload_from_string("content", checksum=None)
    assert not bucket.blob("corrupt").exists()


def test_an_empty_object(bucket):
    bucket.blob("empty").upload_from_string(b"")
    assert bucket.get_blob("empty").size == 0
    assert bucket.blob("empty").download_as_bytes() == b""


def test_what_is_not_there(bucket, storage_client):
    assert bucket.get_blob("missing") is None
    with pytest.raises(NotFound):
        bucket.blob("missing").download_as_bytes()
    assert storage_client.lookup_bucket(f"{bucket.name}-missing") is None
    with pytest.raises(NotFound):
        storage_client.bucket(f"{bucket.name}-missing").blob("x").upload_from_string("x")


def test_names_of_any_kind_are_listed_in_order_by_pages(bucket, storage_client):
    names = ["list/a b", "list/a#b?c=d", "list/a%2Fb", "list/a/b", "list/ü", "list/é/1", "list/é/2", "list/z+~"]
    for name in names:
        bucket.blob(name).upload_from_string(name)
    listing = storage_client.list_blobs(bucket, prefix="list/", page_size=3)
    pages = [[blob.name for blob in page] for page in listing.pages]
    assert [len(page) for page in pages] == [3, 3, 2]
    assert [name for page in pages for name in page] == sorted(names)
    assert all(bucket.blob(name).download_as_text() == name for name in names)
    folders = storage_client.list_blobs(bucket, prefix="list/", delimiter="/")
    assert len(list(folders)) == 5
    assert folders.prefixes == {"list/a/", "list/é/"}
    assert [blob.name for blob in storage_client.list_blobs(bucket, prefix="list/", max_results=2)] == sorted(names)[:2]


def test_copies_keep_content_and_metadata(bucket):
    blob = bucket.blob("original")
    blob.metadata = {"rows": "1"}
    blob.upload_from_string("content", content_type="text/csv")
    copied = bucket.copy_blob(blob, bucket, "copy", if_generation_match=0)
    assert (copied.metadata, copied.content_type, copied.md5_hash) == (blob.metadata, "text/csv", blob.md5_hash)
    assert copied.generation > blob.generation
    with pytest.raises(PreconditionFailed):
        bucket.copy_blob(blob, bucket, "copy", if_generation_match=0)
    assert bucket.blob("rewritten").rewrite(copied)[0] is None
    bucket.blob("joined").compose([blob, copied])
    assert bucket.blob("joined").download_as_text() == "contentcontent"
    bucket.delete_blob("original")
    assert bucket.blob("rewritten").download_as_text() == "content"


def test_buckets(bucket, storage_client):
    with pytest.raises(Conflict):
        storage_client.create_bucket(bucket.name)
    bucket.labels = {"team": "taxi"}
    bucket.patch()
    found = storage_client.get_bucket(bucket.name)
    assert (found.labels, found.location) == ({"team": "taxi"}, "US")
    assert bucket.name in [each.name for each in storage_client.list_buckets()]
    bucket.blob("keeps").upload_from_string("x")
    with pytest.raises(Conflict):
        storage.Bucket(storage_client, bucket.name).delete()
