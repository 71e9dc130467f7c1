"""What goes wrong in the middle of a load into the bucket or BigQuery; lost races, lost answers, crashes."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import datetime as dt
import itertools
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import replace
from urllib.parse import urlsplit

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import Forbidden, PreconditionFailed, ServiceUnavailable
from google.cloud.bigquery import Client, SchemaField, Table, TimePartitioning

from flows.datasets.rejected import REJECTED_SCHEMA
from flows.datasets.tlc import GREEN
from flows.errors import Refused, StoreFailed, StoreUnavailable, TaxiwayError
from flows.stores import bucket as bucket_module
from flows.stores.batches import flat, flat_schema, rejected_batches, write_parquet
from flows.stores.bigquery import BigQueryStore
from flows.stores.bigquery_jobs import REPLACE, LoadJobs
from flows.stores.bucket import BucketStore, data_name
from flows.stores.ledger import LedgerEntry
from flows.stores.ledger_rows import ledger_row, recorded_schema, with_partition_column
from flows.stores.reconcile import verify
from infra.settings import ROOT
from tests.integration.stores_fixtures import (
    FEBRUARY,
    JANUARY,
    STORES,
    Pass,
    bigquery_client,
    bucket,
    bucket_address,
    dataset,
    dataset_address,
    replaced,
    source,
    storage_client,
)

AT = dt.datetime(2021, 3, 1, 12, tzinfo=dt.UTC)
NEW_LEDGER_COLUMNS = {"load_id", "source_etag", "source_modified", "message", "recorded"}


@pytest.fixture(params=["bucket", "bigquery"])
def store(request):
    if request.param == "bucket":
        return BucketStore(request.getfixturevalue("bucket"))
    return BigQueryStore(request.getfixturevalue("bigquery_client"), request.getfixturevalue("dataset"))


def state(store) -> tuple:
    return store.entries(GREEN), store.counts(GREEN), store.count_rejected(JANUARY)


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
from flows.stores.bigquery import BigQueryStore
from tests.integration.stores_fixtures import replaced, JANUARY, Pass, source

kind, address, name, directory = sys.argv[1:]
options = {"project": "taxiway-local", "credentials": AnonymousCredentials()}
options["client_options"] = {"api_endpoint": address}
if kind == "bucket":
    store = BucketStore(storage.Client(**options).bucket(name))
else:
    store = BigQueryStore(bigquery.Client(**options), name)

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
        where = "bigquery", request.getfixturevalue("bigquery_client")._connection.API_BASE_URL
        name = request.getfixturevalue("dataset")
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", LOADER, *where, name, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment) as child:
        assert child.stdout.readline() == "in the middle\n"
        child.send_signal(signal.SIGKILL)
    assert state(store) == before
    store.replace(Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
    assert (store.counts(GREEN), store.count_rejected(JANUARY)) == ({JANUARY: 5}, 0)


class Noise(Pass):
    """Rows that cannot be compressed, so that a month of few rows is large."""

    def _batch(self, rows: int, start: int) -> pa.RecordBatch:
        batch, random = super()._batch(rows, start), np.random.default_rng(start)
        columns = [
            pa.array(random.random(rows)) if field.type == pa.float64() else column
            for field, column in zip(batch.schema, batch.columns, strict=True)
        ]
        return pa.RecordBatch.from_arrays(columns, schema=batch.schema)


def pipe(source: socket.socket, to: socket.socket, rate: int | None) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            if rate:
                time.sleep(len(data) / rate)
            to.sendall(data)
    for end in (source, to):
        with suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@contextmanager
def slow_line(port: int, rate: int) -> Iterator[int]:
    """A line to the port that takes `rate` bytes a second. Gives its own port."""
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    listener.bind(("127.0.0.1", 0))
    listener.listen()

    def serve() -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.create_connection(("127.0.0.1", port))
                for ends in ((client, server, rate), (server, client, None)):
                    threading.Thread(target=pipe, args=ends, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    yield listener.getsockname()[1]
    listener.close()


@pytest.mark.parametrize("kind", ["bucket", "bigquery"])
def test_a_line_on_which_a_month_takes_longer_than_any_answer(request, tmp_path, monkeypatch, kind):
    address, name = request.getfixturevalue(STORES[kind][0]).split()
    for module in ("bucket", "bigquery_jobs"):
        monkeypatch.setattr(f"flows.stores.{module}.TIMEOUT", (3.0, 3.0))
    cleaning = Noise(JANUARY, tmp_path, rows=120_000, batches=10)
    with slow_line(urlsplit(address).port, 1_000_000) as port:
        store = STORES[kind][1](f"http://127.0.0.1:{port} {name}")
        assert store.replace(cleaning, source()).rows_loaded == store.count(JANUARY) == 120_000


# The bucket


def test_a_lost_race_is_run_again(bucket, tmp_path, monkeypatch):
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


def test_another_try_of_a_load_whose_first_one_was_replaced(bucket, tmp_path, monkeypatch):
    """The load that replaced the first try deletes that one's rejected rows, and not those of the second."""
    store, other, races, once = BucketStore(bucket), BucketStore(bucket), [], source()
    store.replace(Pass(JANUARY, tmp_path, bad=2), once)
    upload = BucketStore._upload

    def late(self, name, file, metadata, replaces):
        if self is store and name == data_name(JANUARY) and not races:
            races.append(other.replace(Pass(JANUARY, tmp_path, rows=7, bad=9), source("sha256:other")))
        upload(self, name, file, metadata, replaces)

    monkeypatch.setattr(BucketStore, "_upload", late)
    again = replaced(store, Pass(JANUARY, tmp_path, bad=2), once)
    assert len(races) == 1 and store.entries(GREEN) == [again] and store.count_rejected(JANUARY) == 2


def test_a_race_that_is_always_lost(bucket, tmp_path, monkeypatch):
    store, upload = BucketStore(bucket), BucketStore._upload

    def late(self, name, file, metadata, replaces):
        if name == data_name(JANUARY):
            bucket.blob(name).upload_from_string("someone else's")
        upload(self, name, file, metadata, replaces)

    monkeypatch.setattr(BucketStore, "_upload", late)
    with pytest.raises(StoreFailed, match="was replaced by someone else 5 times"):
        store.replace(Pass(JANUARY, tmp_path), source())
    assert bucket.blob(data_name(JANUARY)).download_as_bytes() == b"someone else's"


def test_an_upload_whose_answer_is_lost_is_not_done_twice(bucket, tmp_path, monkeypatch):
    store, upload, uploads = BucketStore(bucket), BucketStore._upload, []

    def deaf(self, name, file, metadata, replaces):
        upload(self, name, file, metadata, replaces)
        uploads.append(name)
        raise PreconditionFailed("the client's own retry found the object there")

    monkeypatch.setattr(BucketStore, "_upload", deaf)
    store.replace(Pass(JANUARY, tmp_path), source())
    assert uploads == [data_name(JANUARY)] and store.count(JANUARY) == 1000


@pytest.mark.parametrize("multipart_limit", [None, 1 << 10])
def test_what_arrives_changed_is_refused_and_the_old_object_stays(bucket, tmp_path, monkeypatch, multipart_limit):
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
def test_a_crash_between_rejected_rows_and_data(bucket, tmp_path, monkeypatch, bad, blocks):
    """The old month stays with its own rejected rows; what the crash has left is deleted by a later load."""
    store, upload = BucketStore(bucket), BucketStore._upload
    old = replaced(store, Pass(JANUARY, tmp_path, bad=3, blocks=blocks), source())
    before = [blob.name for blob in bucket.list_blobs()]

    def crash(self, name, file, metadata, replaces):
        if replaces is not None:
            raise ServiceUnavailable("gone")
        upload(self, name, file, metadata, replaces)

    with monkeypatch.context() as patch:
        patch.setattr(BucketStore, "_upload", crash)
        with pytest.raises(StoreUnavailable, match="gone"):
            store.replace(Pass(JANUARY, tmp_path, rows=5, bad=bad, blocks=blocks), source("sha256:2"))
    assert store.entries(GREEN) == [old] and store.count_rejected(JANUARY) == (0 if blocks else 3)
    assert set(before) <= {blob.name for blob in bucket.list_blobs()}
    assert verify({"bucket": store}, [GREEN]).differences == []
    stranger = bucket.blob("rejected/green/green_tripdata_2021-01.by-hand.parquet")
    stranger.upload_from_string("someone else's")
    monkeypatch.setattr(bucket_module, "LEFT_OVER", dt.timedelta(0))
    new = replaced(store, Pass(JANUARY, tmp_path, rows=5, bad=2), source("sha256:3"))
    assert (store.entries(GREEN), store.count_rejected(JANUARY)) == ([new], 2)
    kept = {data_name(JANUARY), f"rejected/green/green_tripdata_2021-01.{new.load_id}.parquet", stranger.name}
    assert {blob.name for blob in bucket.list_blobs()} == kept


def test_rejected_rows_of_a_version_without_load_ids(bucket, tmp_path):
    """They are counted under their old name, and deleted once the month is loaded anew."""
    store, cleaning = BucketStore(bucket), Pass(JANUARY, tmp_path, bad=3)
    file = tmp_path / "january.parquet"
    outcome = cleaning.into(lambda batches: write_parquet(batches, cleaning.schema, file))
    old = LedgerEntry.of(JANUARY, outcome, source(), load_id="")
    for name, path, metadata in (
        ("data/green/green_tripdata_2021-01.parquet", file, {"ledger": old.to_json()}),
        ("rejected/green/green_tripdata_2021-01.parquet", cleaning.rejected, {}),
    ):
        blob = bucket.blob(name)
        blob.metadata = metadata
        blob.upload_from_filename(path)
    assert (store.entries(GREEN), store.count_rejected(JANUARY)) == ([old], 3)
    store.replace(Pass(JANUARY, tmp_path), source("sha256:2"))
    assert [blob.name for blob in bucket.list_blobs()] == [data_name(JANUARY)]


# BigQuery


@pytest.fixture
def big_query(bigquery_client, dataset) -> BigQueryStore:
    return BigQueryStore(bigquery_client, dataset)


@pytest.fixture
def query(bigquery_client, dataset):
    return lambda text: bigquery_client.query(text.format(dataset)).result()


@pytest.fixture
def load_jobs(bigquery_client, dataset):
    """The load jobs into the dataset, oldest first: (table, whether it worked)."""

    def listed() -> list[tuple[str, bool]]:
        jobs = [job for job in bigquery_client.list_jobs() if job.destination and job.destination.dataset_id == dataset]
        jobs.sort(key=lambda job: job.created)
        return [(job.destination.table_id.split("$")[0], not job.error_result) for job in jobs]

    return listed


@pytest.fixture
def kept(bigquery_client, dataset):
    """How many rows are in each of the service's tables, whether they count or not."""

    def counted() -> dict[str, int]:
        tables = [table.table_id for table in bigquery_client.list_tables(dataset)]
        return {
            name.removeprefix("green_trips"): bigquery_client.get_table(f"{dataset}.{name}").num_rows for name in tables
        }

    return counted


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(("step", "commits"), [("_ledger", False), ("_rejected_rows", False), ("", True)])
@pytest.mark.parametrize("rows", [5, 0])
def test_a_crash_at_any_step_leaves_one_load_whole(
    big_query, kept, tmp_path, monkeypatch, rows, step, commits, answered
):
    """A load dies before BigQuery has done a step, or after it, when it did not hear the answer."""
    old = replaced(big_query, Pass(JANUARY, tmp_path, bad=3), source("sha256:old"))
    run = LoadJobs.load

    def dies(self, name, *given):
        if name != f"green_trips{step}":
            return run(self, name, *given)
        if answered:
            run(self, name, *given)
        raise ServiceUnavailable("gone")

    with monkeypatch.context() as patch:
        patch.setattr(LoadJobs, "load", dies)
        with pytest.raises(TaxiwayError, match="gone"):
            big_query.replace(Pass(JANUARY, tmp_path, rows=rows, bad=4), source("sha256:new"))
    found = big_query.entry(JANUARY)
    if commits and answered:
        assert (found.checksum, big_query.count(JANUARY), big_query.count_rejected(JANUARY)) == ("sha256:new", rows, 4)
    else:
        assert (found, big_query.count(JANUARY), big_query.count_rejected(JANUARY)) == (old, 1000, 3)
    assert verify({"bigquery": big_query}, [GREEN]).differences == []
    monkeypatch.setattr("flows.stores.bigquery.LEFT_OVER", dt.timedelta(0))
    last = replaced(big_query, Pass(JANUARY, tmp_path, rows=7, bad=2), source("sha256:next"))
    assert big_query.entries(GREEN) == [last] and verify({"bigquery": big_query}, [GREEN]).differences == []
    assert kept() == {"": 7, "_rejected_rows": 2, "_ledger": 1}, "what the crash has left is deleted"


def test_a_failed_clean_up_does_not_fail_the_load(big_query, kept, tmp_path, monkeypatch):
    """An account without billing may load but not delete."""
    big_query.replace(Pass(JANUARY, tmp_path, bad=3), source("sha256:1"))

    def refused(self, name, text, partition, **parameters):
        raise Forbidden("Billing has not been enabled for this project. DML queries are not allowed in the free tier.")

    with monkeypatch.context() as patch:
        patch.setattr(LoadJobs, "query", refused)
        entry = replaced(big_query, Pass(JANUARY, tmp_path, rows=5, bad=4), source("sha256:2"))
    assert (big_query.entries(GREEN), big_query.count(JANUARY), big_query.count_rejected(JANUARY)) == ([entry], 5, 4)
    assert kept()["_rejected_rows"] == 7
    assert verify({"bigquery": big_query}, [GREEN]).differences == []


def test_two_loads_in_every_order(bigquery_client, dataset, tmp_path, monkeypatch):
    """A load takes its next step (ledger and rejected rows, trips, clean-up) when it is told to: all orders of them."""
    run, clean_up, turn = LoadJobs.load, BigQueryStore._clean_up, threading.local()

    def step(self, name, *given):
        if name != "green_trips_rejected_rows":
            turn.wait()
        run(self, name, *given)

    def last_step(self, *given):
        turn.wait()
        clean_up(self, *given)

    monkeypatch.setattr(LoadJobs, "load", step)
    monkeypatch.setattr(BigQueryStore, "_clean_up", last_step)
    for number, places in enumerate(itertools.combinations(range(6), 3)):
        order = ["A" if place in places else "B" for place in range(6)]
        month = GREEN.partition(2014 + number // 12, number % 12 + 1)
        contents = {"A": (10, 1), "B": (20 * (number % 2), 3)}
        go, done = {name: threading.Semaphore(0) for name in "AB"}, threading.Semaphore(0)

        def load(name: str, month=month, contents=contents, go=go, done=done) -> None:
            started = []

            def wait() -> None:
                if started:
                    done.release()
                started.append(True)
                go[name].acquire()

            turn.wait = wait
            rows, bad = contents[name]
            try:
                store = BigQueryStore(bigquery_client, dataset)
                store.replace(Pass(month, tmp_path / name, rows=rows, bad=bad), source(name))
            finally:
                done.release(6)

        with ThreadPoolExecutor(2) as pool:
            loads = [pool.submit(load, name) for name in "AB"]
            for name in order:
                go[name].release()
                done.acquire()
            assert [each.result() for each in loads] == [None, None]
        store = BigQueryStore(bigquery_client, dataset)
        last_commit = max("AB", key=lambda name: [at for at, who in enumerate(order) if who == name][1])
        entry = store.entry(month)
        counted = store.count(month), store.count_rejected(month)
        assert (entry.checksum, counted) == (last_commit, contents[last_commit]), order
    assert verify({"bigquery": store}, [GREEN]).differences == []


def test_rows_that_are_lost_are_named_and_not_taken_for_a_load_that_never_came(big_query, query, tmp_path):
    big_query.replace(Pass(JANUARY, tmp_path, bad=3), source())
    query("DELETE FROM {}.green_trips WHERE source_month = '2021-01-01'")
    assert [str(d) for d in verify({"bigquery": big_query}, [GREEN]).differences] == [
        "bigquery, green 2021-01: rows stored, against the ledger: expected 1,000, found 0"
    ]


def test_a_first_load_that_never_came_is_no_loaded_month(big_query, tmp_path, monkeypatch):
    run = LoadJobs.load

    def dies(self, name, *given):
        if name == "green_trips":
            raise ServiceUnavailable("gone")
        run(self, name, *given)

    with monkeypatch.context() as patch:
        patch.setattr(LoadJobs, "load", dies)
        with pytest.raises(TaxiwayError, match="gone"):
            big_query.replace(Pass(JANUARY, tmp_path, bad=3), source())
    assert big_query.entries(GREEN) == [] and big_query.counts(GREEN) == {} and big_query.count_rejected(JANUARY) == 0


def test_a_request_sent_again_is_one_load(big_query, load_jobs, tmp_path, monkeypatch):
    """The answer to the first was lost: the second meets its own job (409) and waits for that."""
    load = Client.load_table_from_file

    def twice(self, *args, **kwargs):
        load(self, *args, **kwargs)
        args[0].seek(0)
        return load(self, *args, **kwargs)

    monkeypatch.setattr(Client, "load_table_from_file", twice)
    big_query.replace(Pass(JANUARY, tmp_path, bad=2), source())
    assert load_jobs() == [("green_trips_ledger", True), ("green_trips_rejected_rows", True), ("green_trips", True)]
    assert (big_query.counts(GREEN), big_query.count_rejected(JANUARY)) == ({JANUARY: 1000}, 2)


def test_the_same_load_again_replaces_the_first(big_query, kept, tmp_path):
    """The same source object, as in a task that is tried again: its rejected rows are not doubled."""
    once = source()
    first = replaced(big_query, Pass(JANUARY, tmp_path, bad=2), once)
    again = replaced(big_query, Pass(JANUARY, tmp_path, bad=2), once)
    assert first.load_id != again.load_id and big_query.entries(GREEN) == [again]
    assert kept() == {"": 1000, "_rejected_rows": 2, "_ledger": 1}


def test_a_load_that_is_refused_leaves_nothing(big_query, kept, load_jobs, bigquery_client, dataset, tmp_path):
    """And a run after the cause is gone loads."""
    big_query.replace(Pass(JANUARY, tmp_path, bad=1), source())
    table = f"{bigquery_client.project}.{dataset}.green_trips"
    bigquery_client.delete_table(table)
    other = Table(table, [SchemaField("vendor_id", "STRING"), SchemaField("source_month", "DATE")])
    other.time_partitioning = TimePartitioning(type_="MONTH", field="source_month")
    bigquery_client.create_table(other)
    with pytest.raises(StoreFailed, match="green_trips: BadRequest: 400 Provided Schema does not match"):
        big_query.replace(Pass(JANUARY, tmp_path, bad=5), source("sha256:2"))
    assert kept() == {"": 0, "_rejected_rows": 1, "_ledger": 1}
    bigquery_client.delete_table(table)
    entry = replaced(big_query, Pass(JANUARY, tmp_path, bad=5), source("sha256:2"))
    assert [worked for name, worked in load_jobs() if name == "green_trips"] == [True, False, True]
    assert big_query.entries(GREEN) == [entry] and big_query.count_rejected(JANUARY) == 5


def test_months_of_a_version_without_load_ids(big_query, bigquery_client, dataset, tmp_path):
    """Their rows and entries are matched with each other; the next load into a table adds what it lacks."""
    old_fields = [field for field in recorded_schema(GREEN) if field.name not in NEW_LEDGER_COLUMNS]
    entries = {}
    for month, rows in ((JANUARY, 10), (FEBRUARY, 20)):
        known = LedgerEntry(
            month, "loaded", "gs://x", "sha256:1", 9, rows + 1, rows, 1, {"zero_passengers": 1},
            "1", [], AT, AT,
        )  # fmt: skip
        entries[month] = known
        cleaning = Pass(month, tmp_path, rows=rows, bad=1)
        files = {name: tmp_path / f"{name}.parquet" for name in ("green_trips", "_rejected_rows", "_ledger")}
        write_parquet(map(flat, cleaning.reader()), flat_schema(cleaning.schema), files["green_trips"])
        schema = with_partition_column(REJECTED_SCHEMA, GREEN)
        rejected = pa.Table.from_batches(rejected_batches(cleaning)).append_column(schema[-1], [[month.first_day]])
        pq.write_table(rejected, files["_rejected_rows"])
        row = pa.Table.from_pylist([ledger_row(known, AT)], recorded_schema(GREEN)).select([f.name for f in old_fields])
        pq.write_table(row, files["_ledger"])
        jobs = LoadJobs(bigquery_client, dataset)
        for name, file in files.items():
            jobs.load(f"green_trips{name.removeprefix('green_trips')}", month, file, REPLACE, uuid.uuid4().hex)
    assert big_query.entries(GREEN) == [entries[JANUARY], entries[FEBRUARY]]
    assert (big_query.count_rejected(JANUARY), big_query.counts(GREEN)) == (1, {JANUARY: 10, FEBRUARY: 20})
    assert verify({"bigquery": big_query}, [GREEN]).differences == []
    seen = replace(entries[FEBRUARY], source_etag='"2"')
    big_query.record(seen)
    new = replaced(big_query, Pass(JANUARY, tmp_path, rows=5, bad=2), source("sha256:2"))
    assert big_query.entries(GREEN) == [new, seen]
    assert (big_query.count_rejected(JANUARY), big_query.count_rejected(FEBRUARY)) == (2, 1)
    assert verify({"bigquery": big_query}, [GREEN]).differences == []
