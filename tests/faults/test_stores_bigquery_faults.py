"""Faults in the middle of a load into BigQuery: crashes, lost answers, loads in every order."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

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
from google.cloud.bigquery import Client, SchemaField, Table, TimePartitioning

from flows.datasets.rejected import REJECTED_SCHEMA
from flows.datasets.tlc import GREEN
from flows.errors import StoreFailed, TaxiwayError
from flows.stores.batches import flat, flat_schema, rejected_batches, write_parquet
from flows.stores.bigquery import BigQueryStore
from flows.stores.bigquery_jobs import REPLACE, LoadJobs
from flows.stores.ledger_rows import ledger_row, recorded_schema, with_partition_column
from flows.stores.reconcile import verify
from tests.integration.stores_fixtures import FEBRUARY, JANUARY, Pass, bigquery_client, dataset, replaced, source
from tests.ledger_entries import AT, made_up_entry

NEW_LEDGER_COLUMNS = {"load_id", "source_etag", "source_modified", "message", "recorded"}


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
def stored_rows(bigquery_client, dataset):
    """How many rows are in each of the service's tables, valid or not."""

    def counted() -> dict[str, int]:
        tables = [table.table_id for table in bigquery_client.list_tables(dataset)]
        return {
            name.removeprefix("green_trips"): bigquery_client.get_table(f"{dataset}.{name}").num_rows for name in tables
        }

    return counted


@pytest.mark.parametrize("answered", [False, True])
@pytest.mark.parametrize(("step", "commits"), [("_ledger", False), ("_rejected_rows", False), ("", True)])
@pytest.mark.parametrize("rows", [5, 0])
def test_a_crash_at_any_step_leaves_one_complete_load(
    big_query, stored_rows, tmp_path, monkeypatch, rows, step, commits, answered
):
    """A load fails before a step, or after it, when its answer is lost."""
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
    assert stored_rows() == {"": 7, "_rejected_rows": 2, "_ledger": 1}, "what the crash has left is deleted"


def test_a_failed_clean_up_does_not_fail_the_load(big_query, stored_rows, tmp_path, monkeypatch):
    """An account without billing may load but not delete."""
    big_query.replace(Pass(JANUARY, tmp_path, bad=3), source("sha256:1"))

    def refused(self, name, text, partition, **parameters):
        raise Forbidden("Billing has not been enabled for this project. DML queries are not allowed in the free tier.")

    with monkeypatch.context() as patch:
        patch.setattr(LoadJobs, "query", refused)
        entry = replaced(big_query, Pass(JANUARY, tmp_path, rows=5, bad=4), source("sha256:2"))
    assert (big_query.entries(GREEN), big_query.count(JANUARY), big_query.count_rejected(JANUARY)) == ([entry], 5, 4)
    assert stored_rows()["_rejected_rows"] == 7
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


def test_lost_rows_are_a_difference(big_query, query, tmp_path):
    big_query.replace(Pass(JANUARY, tmp_path, bad=3), source())
    query("DELETE FROM {}.green_trips WHERE source_month = '2021-01-01'")
    assert [str(d) for d in verify({"bigquery": big_query}, [GREEN]).differences] == [
        "bigquery, green 2021-01: rows stored, against the ledger: expected 1,000, found 0"
    ]


def test_a_first_load_that_did_not_commit_has_no_entry(big_query, tmp_path, monkeypatch):
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
    """The answer to the first request is lost: the second one gets 409 for its own job, and waits for that."""
    load = Client.load_table_from_file

    def twice(self, *args, **kwargs):
        load(self, *args, **kwargs)
        args[0].seek(0)
        return load(self, *args, **kwargs)

    monkeypatch.setattr(Client, "load_table_from_file", twice)
    big_query.replace(Pass(JANUARY, tmp_path, bad=2), source())
    assert load_jobs() == [("green_trips_ledger", True), ("green_trips_rejected_rows", True), ("green_trips", True)]
    assert (big_query.counts(GREEN), big_query.count_rejected(JANUARY)) == ({JANUARY: 1000}, 2)


def test_the_same_load_again_replaces_the_first(big_query, stored_rows, tmp_path):
    """The same source object, as in a retried task: its rejected rows are not doubled."""
    once = source()
    first = replaced(big_query, Pass(JANUARY, tmp_path, bad=2), once)
    again = replaced(big_query, Pass(JANUARY, tmp_path, bad=2), once)
    assert first.load_id != again.load_id and big_query.entries(GREEN) == [again]
    assert stored_rows() == {"": 1000, "_rejected_rows": 2, "_ledger": 1}


def test_a_load_that_is_refused_leaves_nothing(big_query, stored_rows, load_jobs, bigquery_client, dataset, tmp_path):
    """A run without the cause loads."""
    big_query.replace(Pass(JANUARY, tmp_path, bad=1), source())
    table = f"{bigquery_client.project}.{dataset}.green_trips"
    bigquery_client.delete_table(table)
    other = Table(table, [SchemaField("vendor_id", "STRING"), SchemaField("source_month", "DATE")])
    other.time_partitioning = TimePartitioning(type_="MONTH", field="source_month")
    bigquery_client.create_table(other)
    with pytest.raises(StoreFailed, match="green_trips: BadRequest: 400 Provided Schema does not match"):
        big_query.replace(Pass(JANUARY, tmp_path, bad=5), source("sha256:2"))
    assert stored_rows() == {"": 0, "_rejected_rows": 1, "_ledger": 1}
    bigquery_client.delete_table(table)
    entry = replaced(big_query, Pass(JANUARY, tmp_path, bad=5), source("sha256:2"))
    assert [worked for name, worked in load_jobs() if name == "green_trips"] == [True, False, True]
    assert big_query.entries(GREEN) == [entry] and big_query.count_rejected(JANUARY) == 5


def test_months_of_a_version_without_load_ids(big_query, bigquery_client, dataset, tmp_path):
    """Their rows and entries are matched with each other; the next load into a table adds what it lacks."""
    old_fields = [field for field in recorded_schema(GREEN) if field.name not in NEW_LEDGER_COLUMNS]
    entries = {}
    for month, rows in ((JANUARY, 10), (FEBRUARY, 20)):
        entries[month] = known = made_up_entry(month, rows=rows, rejected=1, source="gs://x")
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
