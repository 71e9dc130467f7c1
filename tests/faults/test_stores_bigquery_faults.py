"""Loads into BigQuery: crashes at every step, loads in every order, lost answers and lost rows."""

from __future__ import annotations

import datetime as dt
import itertools
import threading
import uuid
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from google.api_core.exceptions import Forbidden, ServiceUnavailable
from google.cloud.bigquery import Client

from flows.errors import StoreFailed, TaxiwayError
from flows.stores.batches import flat, flat_schema, rejected_batches, write_parquet
from flows.stores.ledger import LedgerEntry
from flows.stores.ledger_rows import LEDGER_SCHEMA, ledger_row
from flows.stores.verify import verify
from flows.stores.warehouse import WarehouseStore
from flows.stores.warehouse_jobs import REPLACE, LoadJobs
from flows.trips.month import Month, Service
from flows.trips.rejected import REJECTED_SCHEMA
from tests.integration.stores_fixtures import (  # noqa: F401
    FEBRUARY,
    JANUARY,
    Pass,
    bigquery_client,
    dataset,
    source,
)

AT = dt.datetime(2021, 3, 1, 12, tzinfo=dt.UTC)
NEW_LEDGER_COLUMNS = {"load_id", "source_etag", "source_modified", "message", "recorded"}


@pytest.fixture
def warehouse(bigquery_client, dataset) -> WarehouseStore:  # noqa: F811
    return WarehouseStore(bigquery_client, dataset)


@pytest.fixture
def query(bigquery_client, dataset):  # noqa: F811
    return lambda text: bigquery_client.query(text.format(dataset)).result()


@pytest.fixture
def load_jobs(bigquery_client, dataset):  # noqa: F811
    """The load jobs into the dataset, oldest first: (table, whether it worked)."""

    def listed() -> list[tuple[str, bool]]:
        jobs = [job for job in bigquery_client.list_jobs() if job.destination and job.destination.dataset_id == dataset]
        jobs.sort(key=lambda job: job.created)
        return [(job.destination.table_id.split("$")[0], not job.error_result) for job in jobs]

    return listed


@pytest.fixture
def kept(bigquery_client, dataset):  # noqa: F811
    """How many rows are in each of the service's tables, whether they count or not."""

    def counted() -> dict[str, int]:
        tables = [table.table_id for table in bigquery_client.list_tables(dataset)]
        return {
            name.removeprefix("green_trips"): bigquery_client.get_table(f"{dataset}.{name}").num_rows for name in tables
        }

    return counted


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(("step", "commits"), [("_ledger", False), ("_rejected", False), ("", True)])
@pytest.mark.parametrize("rows", [5, 0])
def test_a_crash_at_any_step_leaves_one_load_whole(
    warehouse, kept, tmp_path, monkeypatch, rows, step, commits, answered
):
    """A load dies before BigQuery has done a step, or after it, when it did not hear the answer."""
    old = warehouse.replace(Pass(JANUARY, tmp_path, bad=3), source("sha256:old"))
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
            warehouse.replace(Pass(JANUARY, tmp_path, rows=rows, bad=4), source("sha256:new"))
    found = warehouse.entry(JANUARY)
    if commits and answered:
        assert (found.checksum, warehouse.count(JANUARY), warehouse.count_rejected(JANUARY)) == ("sha256:new", rows, 4)
    else:
        assert (found, warehouse.count(JANUARY), warehouse.count_rejected(JANUARY)) == (old, 1000, 3)
    assert verify({"bigquery": warehouse}, lambda month: None).differences == []
    monkeypatch.setattr("flows.stores.warehouse.LEFT_OVER", dt.timedelta(0))
    last = warehouse.replace(Pass(JANUARY, tmp_path, rows=7, bad=2), source("sha256:next"))
    assert warehouse.entries() == [last] and verify({"bigquery": warehouse}, lambda month: None).differences == []
    assert kept() == {"": 7, "_rejected": 2, "_ledger": 1}, "what the crash has left is deleted"


def test_a_failed_clean_up_does_not_fail_the_load(warehouse, kept, tmp_path, monkeypatch):
    """An account without billing may load but not delete."""
    warehouse.replace(Pass(JANUARY, tmp_path, bad=3), source("sha256:1"))

    def refused(self, name, text, **parameters):
        raise Forbidden("Billing has not been enabled for this project. DML queries are not allowed in the free tier.")

    with monkeypatch.context() as patch:
        patch.setattr(LoadJobs, "query", refused)
        entry = warehouse.replace(Pass(JANUARY, tmp_path, rows=5, bad=4), source("sha256:2"))
    assert (warehouse.entries(), warehouse.count(JANUARY), warehouse.count_rejected(JANUARY)) == ([entry], 5, 4)
    assert kept()["_rejected"] == 7
    assert verify({"bigquery": warehouse}, lambda month: None).differences == []


def test_two_loads_in_every_order(bigquery_client, dataset, tmp_path, monkeypatch):  # noqa: F811
    """A load takes its next step (ledger and rejected rows, trips, clean-up) when it is told to: all orders of them."""
    run, clean_up, turn = LoadJobs.load, WarehouseStore._clean_up, threading.local()

    def step(self, name, *given):
        if name != "green_trips_rejected":
            turn.wait()
        run(self, name, *given)

    def last_step(self, *given):
        turn.wait()
        clean_up(self, *given)

    monkeypatch.setattr(LoadJobs, "load", step)
    monkeypatch.setattr(WarehouseStore, "_clean_up", last_step)
    for number, places in enumerate(itertools.combinations(range(6), 3)):
        order = ["A" if place in places else "B" for place in range(6)]
        month = Month(Service.GREEN, 2014 + number // 12, number % 12 + 1)
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
                store = WarehouseStore(bigquery_client, dataset)
                store.replace(Pass(month, tmp_path / name, rows=rows, bad=bad), source(name))
            finally:
                done.release(6)

        with ThreadPoolExecutor(2) as pool:
            loads = [pool.submit(load, name) for name in "AB"]
            for name in order:
                go[name].release()
                done.acquire()
            assert [each.result() for each in loads] == [None, None]
        store = WarehouseStore(bigquery_client, dataset)
        last_commit = max("AB", key=lambda name: [at for at, who in enumerate(order) if who == name][1])
        entry = store.entry(month)
        counted = store.count(month), store.count_rejected(month)
        assert (entry.checksum, counted) == (last_commit, contents[last_commit]), order
    assert verify({"bigquery": store}, lambda month: None).differences == []


def test_rows_that_are_lost_are_named_and_not_taken_for_a_load_that_never_came(warehouse, query, tmp_path):
    warehouse.replace(Pass(JANUARY, tmp_path, bad=3), source())
    query("DELETE FROM {}.green_trips WHERE source_month = '2021-01-01'")
    assert [str(d) for d in verify({"bigquery": warehouse}, lambda month: None).differences] == [
        "bigquery, green 2021-01: rows stored, against the ledger: expected 1,000, found 0"
    ]


def test_a_first_load_that_never_came_is_no_loaded_month(warehouse, tmp_path, monkeypatch):
    run = LoadJobs.load

    def dies(self, name, *given):
        if name == "green_trips":
            raise ServiceUnavailable("gone")
        run(self, name, *given)

    with monkeypatch.context() as patch:
        patch.setattr(LoadJobs, "load", dies)
        with pytest.raises(TaxiwayError, match="gone"):
            warehouse.replace(Pass(JANUARY, tmp_path, bad=3), source())
    assert warehouse.entries() == [] and warehouse.counts() == {} and warehouse.count_rejected(JANUARY) == 0


def test_a_request_sent_again_is_one_load(warehouse, load_jobs, tmp_path, monkeypatch):
    """The answer to the first was lost: the second meets its own job (409) and waits for that."""
    load = Client.load_table_from_file

    def twice(self, *args, **kwargs):
        load(self, *args, **kwargs)
        args[0].seek(0)
        return load(self, *args, **kwargs)

    monkeypatch.setattr(Client, "load_table_from_file", twice)
    warehouse.replace(Pass(JANUARY, tmp_path, bad=2), source())
    assert load_jobs() == [("green_trips_ledger", True), ("green_trips_rejected", True), ("green_trips", True)]
    assert (warehouse.counts(), warehouse.count_rejected(JANUARY)) == ({JANUARY: 1000}, 2)


def test_the_same_load_again_replaces_the_first(warehouse, kept, tmp_path):
    """The same source object, as in a task that is tried again: its rejected rows are not doubled."""
    once = source()
    first = warehouse.replace(Pass(JANUARY, tmp_path, bad=2), once)
    again = warehouse.replace(Pass(JANUARY, tmp_path, bad=2), once)
    assert first.load_id != again.load_id and warehouse.entries() == [again]
    assert kept() == {"": 1000, "_rejected": 2, "_ledger": 1}


def test_a_load_that_is_refused_leaves_nothing(warehouse, kept, load_jobs, bigquery_client, dataset, tmp_path):  # noqa: F811
    """And a run after the cause is gone loads."""
    warehouse.replace(Pass(JANUARY, tmp_path, bad=1), source())
    table = f"{dataset}.green_trips"
    bigquery_client.delete_table(table)
    bigquery_client.query(
        f"CREATE TABLE {table} (vendor_id STRING, source_month DATE) PARTITION BY DATE_TRUNC(source_month, MONTH)"
    ).result()
    with pytest.raises(StoreFailed, match="green_trips: BadRequest: 400 Provided Schema does not match"):
        warehouse.replace(Pass(JANUARY, tmp_path, bad=5), source("sha256:2"))
    assert kept() == {"": 0, "_rejected": 1, "_ledger": 1}
    bigquery_client.delete_table(table)
    entry = warehouse.replace(Pass(JANUARY, tmp_path, bad=5), source("sha256:2"))
    assert [worked for name, worked in load_jobs() if name == "green_trips"] == [True, False, True]
    assert warehouse.entries() == [entry] and warehouse.count_rejected(JANUARY) == 5


def test_months_of_a_version_without_load_ids(warehouse, bigquery_client, dataset, tmp_path):  # noqa: F811
    """Their rows and entries are matched with each other; the next load into a table adds what it lacks."""
    old_fields = [field for field in LEDGER_SCHEMA if field.name not in NEW_LEDGER_COLUMNS]
    entries = {}
    for month, rows in ((JANUARY, 10), (FEBRUARY, 20)):
        known = LedgerEntry(
            "green", month.label, "loaded", "gs://x", "sha256:1", 9, rows + 1, rows, 1, {"zero_passengers": 1},
            "1", [], AT, AT,
        )  # fmt: skip
        entries[month] = known
        cleaning = Pass(month, tmp_path, rows=rows, bad=1)
        files = {name: tmp_path / f"{name}.parquet" for name in ("green_trips", "_rejected", "_ledger")}
        write_parquet(map(flat, cleaning.reader()), flat_schema(cleaning.schema), files["green_trips"])
        write_parquet(rejected_batches(cleaning), REJECTED_SCHEMA, files["_rejected"])
        row = pa.Table.from_pylist([ledger_row(known, AT)], LEDGER_SCHEMA).select([f.name for f in old_fields])
        pq.write_table(row, files["_ledger"])
        jobs = LoadJobs(bigquery_client, dataset)
        for name, file in files.items():
            jobs.load(f"green_trips{name.removeprefix('green_trips')}", month, file, REPLACE, uuid.uuid4().hex)
    assert warehouse.entries() == [entries[JANUARY], entries[FEBRUARY]]
    assert (warehouse.count_rejected(JANUARY), warehouse.counts()) == (1, {JANUARY: 10, FEBRUARY: 20})
    assert verify({"bigquery": warehouse}, lambda month: None).differences == []
    seen = replace(entries[FEBRUARY], source_etag='"2"')
    warehouse.record(seen)
    new = warehouse.replace(Pass(JANUARY, tmp_path, rows=5, bad=2), source("sha256:2"))
    assert warehouse.entries() == [new, seen]
    assert (warehouse.count_rejected(JANUARY), warehouse.count_rejected(FEBRUARY)) == (2, 1)
    assert verify({"bigquery": warehouse}, lambda month: None).differences == []
