"""What goes wrong in the middle of a load into the bucket or the warehouse; lost races, lost answers, crashes."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
from google.api_core.exceptions import PreconditionFailed, ServiceUnavailable
from google.cloud.bigquery import Client

from flows.errors import Refused, StoreFailed
from flows.stores import bucket as bucket_module
from flows.stores.bucket import BucketStore, data_name
from flows.stores.verify import verify
from flows.stores.warehouse import WarehouseStore
from flows.stores.warehouse_jobs import LoadJobs
from infra.settings import ROOT
from tests.integration.stores_fixtures import (  # noqa: F401
    JANUARY,
    Pass,
    bigquery_client,
    bucket,
    dataset,
    source,
    storage_client,
)


@pytest.fixture(params=["bucket", "warehouse"])
def store(request):
    if request.param == "bucket":
        return BucketStore(request.getfixturevalue("bucket"))
    return WarehouseStore(request.getfixturevalue("bigquery_client"), request.getfixturevalue("dataset"))


def state(store) -> tuple:
    return store.entries(), store.counts(), store.count_rejected(JANUARY)


@pytest.mark.parametrize("at", range(4))
def test_an_exception_at_any_batch(store, tmp_path, at):
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    before = state(store)

    def fail(number: int) -> None:
        if number == at:
            raise Refused("https://example.org/x.csv.gz", "ends in the middle")

    with pytest.raises(Refused, match="ends in the middle"):
        store.replace(Pass(JANUARY, tmp_path, between=fail, bad=9), source("sha256:2"))
    assert state(store) == before


LOADER = """
import sys, time
from pathlib import Path
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage
from flows.stores.bucket import BucketStore
from flows.stores.warehouse import WarehouseStore
from tests.integration.stores_fixtures import JANUARY, Pass, source

kind, address, name, directory = sys.argv[1:]
options = {"project": "taxiway-local", "credentials": AnonymousCredentials()}
options["client_options"] = {"api_endpoint": address}
if kind == "bucket":
    store = BucketStore(storage.Client(**options).bucket(name))
else:
    store = WarehouseStore(bigquery.Client(**options), name)

def slowly(number):
    if number == 2:
        print("in the middle", flush=True)
        time.sleep(60)

store.replace(Pass(JANUARY, Path(directory), between=slowly), source("sha256:2"))
"""


def test_a_killed_loader(store, request, tmp_path):
    store.replace(Pass(JANUARY, tmp_path, bad=3), source())
    before = state(store)
    if isinstance(store, BucketStore):
        where = "bucket", request.getfixturevalue("storage_client")._connection.API_BASE_URL
        name = request.getfixturevalue("bucket").name
    else:
        where = "warehouse", request.getfixturevalue("bigquery_client")._connection.API_BASE_URL
        name = request.getfixturevalue("dataset")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOADER, *where, name, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as child:
        assert child.stdout.readline() == "in the middle\n"
        child.send_signal(signal.SIGKILL)
    assert state(store) == before
    store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
    assert (store.counts(), store.count_rejected(JANUARY)) == ({JANUARY: 5}, 0)


# The bucket


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


def test_a_crash_between_rejected_rows_and_data(bucket, tmp_path, monkeypatch):  # noqa: F811
    """The old month stays, what does not belong to it is named, and the next run puts it right."""
    store, upload = BucketStore(bucket), BucketStore._upload
    old = store.replace(Pass(JANUARY, tmp_path, bad=3), source())

    def crash(self, name, file, metadata, replaces):
        if name == data_name(JANUARY):
            raise ServiceUnavailable("gone")
        upload(self, name, file, metadata, replaces)

    with monkeypatch.context() as patch:
        patch.setattr(BucketStore, "_upload", crash)
        with pytest.raises(StoreFailed, match="gone"):
            store.replace(Pass(JANUARY, tmp_path, rows=5, bad=4), source("sha256:2"))
    assert store.entry(JANUARY) == old and store.count(JANUARY) == 1000
    (difference,) = verify({"bucket": store}, lambda month: None)
    assert difference.what == "rejected rows stored, against the ledger"
    store.replace(Pass(JANUARY, tmp_path, rows=5, bad=4), source("sha256:2"))
    assert verify({"bucket": store}, lambda month: None) == []


# The warehouse


@pytest.fixture
def warehouse(bigquery_client, dataset) -> WarehouseStore:  # noqa: F811
    return WarehouseStore(bigquery_client, dataset)


@pytest.fixture
def load_jobs(bigquery_client, dataset):  # noqa: F811
    """The load jobs into the dataset, oldest first: (table, number, state)."""

    def listed() -> list[tuple[str, int, bool]]:
        jobs = [job for job in bigquery_client.list_jobs() if job.destination and job.destination.dataset_id == dataset]
        jobs.sort(key=lambda job: job.created)
        return [
            (j.destination.table_id.split("$")[0], int(j.job_id.rpartition("-")[2]), not j.error_result) for j in jobs
        ]

    return listed


def test_a_crash_after_any_step_is_seen_and_repaired(warehouse, tmp_path, monkeypatch):
    """Wherever a load is cut off, the ledger says nothing that is not so."""
    replace = LoadJobs.replace
    for steps in range(4):
        warehouse.replace(Pass(JANUARY, tmp_path, bad=3), source(f"sha256:old {steps}"))
        done = []

        def dies(self, name, month, file, identity, done=done, steps=steps):
            if len(done) == steps:
                raise ServiceUnavailable("gone")
            replace(self, name, month, file, identity)
            done.append(name)

        with monkeypatch.context() as patch:
            patch.setattr(LoadJobs, "replace", dies)
            with pytest.raises(StoreFailed, match="gone"):
                warehouse.replace(Pass(JANUARY, tmp_path, rows=5, bad=4), source(f"sha256:new {steps}"))
        entry = warehouse.entry(JANUARY)
        assert entry is None or (steps == 0 and warehouse.count(JANUARY) == 1000)
        warehouse.replace(Pass(JANUARY, tmp_path, rows=5, bad=4), source(f"sha256:new {steps}"))
        assert verify({"warehouse": warehouse}, lambda month: None) == []


def test_a_request_sent_again_is_one_load(warehouse, load_jobs, tmp_path, monkeypatch):
    """The answer to the first was lost: the second meets its own job (409) and waits for that."""
    load = Client.load_table_from_file

    def twice(self, *args, **kwargs):
        load(self, *args, **kwargs)
        args[0].seek(0)
        return load(self, *args, **kwargs)

    monkeypatch.setattr(Client, "load_table_from_file", twice)
    warehouse.replace(Pass(JANUARY, tmp_path), source())
    assert load_jobs() == [("green_trips", 1, True), ("green_trips_ledger", 1, True)]
    assert warehouse.counts() == {JANUARY: 1000}


def test_the_same_load_again_is_a_new_job(warehouse, load_jobs, tmp_path):
    """Forced: the earlier job of that id has ended, and what it loaded may have been replaced since."""
    for checksum, rows in (("sha256:1", 1000), ("sha256:2", 5), ("sha256:1", 1000)):
        warehouse.replace(Pass(JANUARY, tmp_path, rows=rows), source(checksum))
    assert [number for table, number, _ in load_jobs() if table == "green_trips"] == [1, 1, 2]
    assert warehouse.counts() == {JANUARY: 1000}


def test_a_failed_job_does_not_stand_in_the_way(warehouse, load_jobs, bigquery_client, dataset, tmp_path):  # noqa: F811
    """A run after the cause is gone: the id of the failed job is taken for good, so the next number is."""
    warehouse.replace(Pass(JANUARY, tmp_path), source())
    table = f"{dataset}.green_trips"
    bigquery_client.delete_table(table)
    bigquery_client.query(
        f"CREATE TABLE {table} (vendor_id STRING, source_month DATE) PARTITION BY DATE_TRUNC(source_month, MONTH)"
    ).result()
    with pytest.raises(StoreFailed, match="green_trips: BadRequest: 400 Provided Schema does not match"):
        warehouse.replace(Pass(JANUARY, tmp_path), source("sha256:2"))
    bigquery_client.delete_table(table)
    warehouse.replace(Pass(JANUARY, tmp_path), source("sha256:2"))
    tried = [(number, worked) for name, number, worked in load_jobs() if name == "green_trips"]
    assert tried == [(1, True), (1, False), (2, True)]


def test_a_conflict_that_is_not_ours_to_wait_for(warehouse, tmp_path, monkeypatch):
    """Another run took the number between our look and our request, and has ended: ours is the next one."""
    find, hidden = LoadJobs._find, []
    warehouse.replace(Pass(JANUARY, tmp_path), source())

    def blind(self, job_id):
        if not hidden:
            hidden.append(job_id)
            return None
        return find(self, job_id)

    monkeypatch.setattr(LoadJobs, "_find", blind)
    warehouse.replace(Pass(JANUARY, tmp_path, rows=5), source())
    assert hidden and warehouse.counts() == {JANUARY: 5}
