"""The calls of Cloud Storage that Taxiway makes, by the real client."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import base64
import hashlib
import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests
from google.api_core.exceptions import BadRequest, Conflict, NotFound, NotModified, PreconditionFailed

from tests.integration.google_fixtures import bucket, emulated, storage_client, storage_emulator


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


def test_generations_increase_and_are_preconditions_of_reads_and_deletes(bucket):
    blob = bucket.blob("guarded")
    blob.upload_from_string("one")
    first = blob.generation
    blob.upload_from_string("two", if_generation_match=first)
    assert blob.generation > first
    with pytest.raises(PreconditionFailed):
        blob.upload_from_string("three", if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        bucket.blob("guarded").download_as_bytes(if_generation_match=first)
    with pytest.raises(PreconditionFailed):
        bucket.delete_blob("guarded", if_generation_match=first)
    assert bucket.blob("guarded").download_as_bytes(if_generation_match=blob.generation) == b"two"
    bucket.delete_blob("guarded", if_generation_match=blob.generation)
    assert not bucket.blob("guarded").exists()
    with pytest.raises(NotFound):
        bucket.delete_blob("guarded")


def test_a_patch_of_metadata_changes_the_metageneration_only(bucket):
    blob = bucket.blob("described")
    blob.metadata = {"rows": "76518", "contract": "1"}
    blob.upload_from_string(b"x", content_type="application/vnd.apache.parquet")
    found = bucket.get_blob("described")
    assert found.metadata == {"rows": "76518", "contract": "1"}
    with pytest.raises(PreconditionFailed):
        found.patch(if_generation_match=1)
    assert (found.content_type, found.metageneration) == ("application/vnd.apache.parquet", 1)
    found.metadata = {"rows": "2", "contract": None}
    found.patch(if_generation_match=found.generation, if_metageneration_match=1)
    again = bucket.get_blob("described")
    assert (again.metadata, again.metageneration, again.generation) == ({"rows": "2"}, 2, blob.generation)
    with pytest.raises(PreconditionFailed):
        found.patch(if_metageneration_match=1)


def test_a_large_file_is_uploaded_in_chunks_and_downloaded_with_its_checksum(bucket, tmp_path):
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
    assert found.download_as_bytes(start=-5, checksum=None) == content[-5:]


def test_a_stream_of_unknown_length(bucket):
    with bucket.blob("stream").open("wb", chunk_size=256 * 1024) as out:
        for _ in range(5):
            out.write(b"y" * 200_000)
    assert bucket.get_blob("stream").size == 1_000_000
    with bucket.blob("stream").open("rb") as back:
        assert back.read() == b"y" * 1_000_000


def test_a_resumable_upload_checks_its_precondition_again_at_its_end(bucket, tmp_path):
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


def test_an_empty_object_with_metadata(bucket):
    blob = bucket.blob("empty")
    blob.metadata = {"ledger": "{}"}
    blob.upload_from_string(b"", if_generation_match=0)
    found = bucket.get_blob("empty")
    assert (found.size, found.metadata) == (0, {"ledger": "{}"})
    assert found.download_as_bytes() == b""


def test_a_download_of_one_generation(bucket):
    blob = bucket.blob("pinned")
    blob.upload_from_string("one")
    first = blob.generation
    assert bucket.blob("pinned", generation=first).download_as_text() == "one"
    blob.upload_from_string("two")
    with pytest.raises(NotFound):
        bucket.blob("pinned", generation=first).download_as_text()


def test_etags_are_preconditions_of_reads(bucket):
    bucket.blob("tagged").upload_from_string("one")
    old = bucket.get_blob("tagged").etag
    bucket.blob("tagged").upload_from_string("two")
    new = bucket.get_blob("tagged").etag
    assert old != new
    assert bucket.blob("tagged").download_as_text(if_etag_match=new) == "two"
    assert bucket.blob("tagged").download_as_text(if_etag_not_match=old) == "two"
    with pytest.raises(PreconditionFailed):
        bucket.blob("tagged").download_as_text(if_etag_match=old)
    with pytest.raises(NotModified):
        bucket.blob("tagged").download_as_text(if_etag_not_match=new)


@emulated
def test_the_last_chunk_of_a_finished_upload_may_be_sent_again(bucket):
    """The response to the first one may have been lost."""
    blob = bucket.blob("repeated")
    url = blob.create_resumable_upload_session(size=4)
    results = [requests.put(url, b"data", headers={"Content-Range": "bytes 0-3/4"}, timeout=5) for _ in range(2)]
    assert [result.status_code for result in results] == [200, 200]
    generation = str(bucket.get_blob("repeated").generation)
    assert [result.json()["generation"] for result in results] == [generation, generation]


def test_missing_objects_and_buckets(bucket, storage_client):
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
    assert [blob.name for blob in storage_client.list_blobs(bucket, prefix="list/", max_results=2)] == sorted(names)[:2]


def test_buckets(bucket, storage_client):
    with pytest.raises(Conflict):
        storage_client.create_bucket(bucket.name)
    assert storage_client.get_bucket(bucket.name).location == "US"


@emulated
def test_the_requester_pays(storage_client):
    paid = storage_client.bucket("paid-by-the-requester", user_project="payer")
    paid.requester_pays = True
    storage_client.create_bucket(paid)
    paid.blob("a").upload_from_string("content")
    assert paid.blob("a").download_as_text() == "content"
    with pytest.raises(BadRequest, match="requester pays"):
        storage_client.bucket(paid.name).blob("a").download_as_text()
