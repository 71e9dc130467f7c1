"""What holds for every store in the same way."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import datetime as dt
from dataclasses import fields, replace

import pytest

from flows.datasets.cleaning import Cleaning
from flows.datasets.column import INT, TIME, Column
from flows.datasets.dataset import Dataset, Partitioning
from flows.datasets.tlc import GREEN
from flows.stores.ledger import LedgerEntry
from flows.stores.reconcile import verify
from tests.integration.stores_fixtures import (
    JANUARY,
    Pass,
    bigquery_client,
    bucket,
    bucket_address,
    dataset,
    dataset_address,
    place,
    replaced,
    server,
    source,
    storage_client,
    uri,
)
from tests.integration.stores_races import race, race_with_a_kill

# How many numbers name a partition.
DEPTH = {Partitioning.WHOLE: 0, Partitioning.MONTH: 2, Partitioning.DAY: 3, Partitioning.HOUR: 4}

AT = dt.datetime(2021, 3, 1, 12, 0, 0, 123456, tzinfo=dt.UTC)
REFUSED = LedgerEntry(
    partition=JANUARY,
    status="refused",
    source="https://example.org/green_tripdata_2021-01.parquet",
    checksum="sha256:bad",
    bytes=17,
    rows_read=0,
    rows_loaded=0,
    rows_rejected=0,
    reasons={},
    contract_version="1",
    checks=[],
    started=AT,
    finished=AT + dt.timedelta(seconds=1),
    flow_run_id="run-1",
    load_id="load-1",
    source_etag='"etag"',
    source_modified=AT,
    message="is an HTML page: « »",
)


def test_a_refused_source_is_recorded_and_comes_back_with_every_field(place):
    """The values of all fields differ from their defaults or say what a refused source has, so a lost one is seen."""
    store = place.open()
    store.record(REFUSED)
    (found,) = store.entries(GREEN)
    for field in fields(LedgerEntry):
        assert getattr(found, field.name) == getattr(REFUSED, field.name), field.name
    assert store.entry(JANUARY, "refused") == REFUSED and store.entry(JANUARY) is None
    assert (store.counts(GREEN), store.count(JANUARY), store.count_rejected(JANUARY)) == ({}, 0, 0)
    again = replace(REFUSED, message="is empty", source_modified=None, finished=AT + dt.timedelta(days=1))
    store.record(again)
    assert store.entries(GREEN) == [again]


@pytest.mark.parametrize("blocks", [False, True])
def test_a_load_keeps_every_field_and_is_marked_as_seen_again(place, tmp_path, blocks):
    store = place.open()
    seen = replace(source(), etag='"1"', modified=AT)
    entry = replaced(store, Pass(JANUARY, tmp_path, bad=2, blocks=blocks), seen)
    assert (entry.source_etag, entry.source_modified) == ('"1"', AT) and entry.load_id
    assert store.entry(JANUARY, entry.status) == entry
    counted = store.counts(GREEN), store.count_rejected(JANUARY)
    later = replace(entry, source_etag='"2"', source_modified=AT + dt.timedelta(days=9))
    store.record(later)
    assert store.entries(GREEN) == [later] and (store.counts(GREEN), store.count_rejected(JANUARY)) == counted


def test_the_entry_of_another_load_is_not_recorded_over(place, tmp_path):
    store = place.open()
    first = replaced(store, Pass(JANUARY, tmp_path), source())
    second = replaced(store, Pass(JANUARY, tmp_path, rows=5), source("sha256:2"))
    store.record(replace(first, source_etag='"late"'))
    store.record(replace(first, status="blocked", source_etag='"never blocked"'))
    assert store.entries(GREEN) == [second] and store.count(JANUARY) == 5


def test_a_load_ends_what_was_refused_or_blocked(place, tmp_path):
    store = place.open()
    store.record(REFUSED)
    blocked = replaced(store, Pass(JANUARY, tmp_path, blocks=True), source())
    assert store.entries(GREEN) == [blocked]
    refused = replace(REFUSED, finished=dt.datetime.now(dt.UTC))
    store.record(refused)
    assert store.entries(GREEN) == [blocked, refused]
    loaded = replaced(store, Pass(JANUARY, tmp_path, rows=7), source())
    assert store.entries(GREEN) == [loaded] and store.count(JANUARY) == 7


@pytest.mark.parametrize("partitioning", Partitioning)
def test_every_partitioning(place, tmp_path, partitioning):
    """Partitions are apart, a reload replaces its own one, and every row is accounted for."""
    dataset = Dataset(
        name=f"readings_{partitioning}",
        table=f"readings_{partitioning}",
        columns=(Column("at", TIME, required=True), Column("value", INT)),
        partitioning=partitioning,
        source="https://example.org/x.csv",
        file_name="readings"
        + "".join(f"-{{{name}}}" for name in ("year", "month", "day", "hour")[: DEPTH[partitioning]]),
    )
    start = (2021, 1, 31, 23)[: DEPTH[partitioning]]
    first = dataset.partition(*start)
    partitions = sorted({first, first.next})
    store, file = place.open(), tmp_path / "readings.csv"

    def load(partition, rows):
        file.write_text("at,value\n" + "2021-01-31 23:00:00,1\n" * rows + "2021-01-31 23:00:00,many\n")
        cleaning = Cleaning(file, partition, (), tmp_path / "rejected.parquet")
        return store.replace(cleaning, source())

    for partition in partitions:
        assert load(partition, 3).reasons == {"unreadable:value": 1}
    load(first, 5)
    assert store.counts(dataset) == {partition: 5 if partition == first else 3 for partition in partitions}
    assert [entry.partition for entry in store.entries(dataset)] == partitions
    assert [store.count_rejected(partition) for partition in partitions] == [1] * len(partitions)
    assert verify({"store": store}, [dataset]).differences == []


def test_two_loads_at_once_leave_one_of_them_whole(place, tmp_path):
    for _ in range(3):
        race(place, tmp_path)


def test_a_load_beside_one_that_is_killed(place, tmp_path):
    race_with_a_kill(place, tmp_path, after=0.05)
