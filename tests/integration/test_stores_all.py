"""Tests that are the same for every store, with datasets of several partitionings."""

# ruff: noqa: F401, F811 - the imports are fixtures, which tests name as their arguments

from __future__ import annotations

import datetime as dt
import threading
from dataclasses import fields, replace

import pyarrow as pa
import pytest

from flows.datasets.cleaning import Cleaning
from flows.datasets.column import INT, TIME, Column
from flows.datasets.dataset import Dataset, Partitioning
from flows.datasets.tlc import DATASETS, GREEN
from flows.datasets.zones import ZONES
from flows.errors import Refused, StoreFailed
from flows.stores.ledger import LedgerEntry
from flows.stores.reconcile import verify
from tests.integration.stores_fixtures import (
    FEBRUARY,
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
from tests.ledger_entries import AT, refused_entry

# What names a partition: as many of these as the partitioning has.
START = {"year": 2021, "month": 1, "day": 31, "hour": 23}
DEPTH = {Partitioning.WHOLE: 0, Partitioning.MONTH: 2, Partitioning.DAY: 3, Partitioning.HOUR: 4}


def readings(partitioning: Partitioning) -> Dataset:
    """A small dataset of that partitioning."""
    return Dataset(
        name=f"readings_{partitioning}",
        table=f"readings_{partitioning}",
        columns=(Column("at", TIME, required=True), Column("value", INT)),
        partitioning=partitioning,
        source="https://example.org/x.csv",
        file_name="readings" + "".join(f"-{{{name}}}" for name in list(START)[: DEPTH[partitioning]]),
    )


PARTITIONS = (JANUARY, ZONES.partition(), readings(Partitioning.DAY).partition(2021, 1, 31))


@pytest.fixture(params=PARTITIONS, ids=str)
def partition(request):
    return request.param


@pytest.fixture
def store(place):
    return place.open()


def state(store, partition) -> tuple:
    dataset = partition.dataset
    return store.entries(dataset), store.counts(dataset), store.count_rejected(partition)


def differences(store, partition) -> list:
    return verify({"store": store}, [partition.dataset]).differences


def test_an_empty_store_has_nothing(store, partition):
    assert state(store, partition) == ([], {}, 0)
    assert store.entry(partition) is None and store.count(partition) == 0 and differences(store, partition) == []


def test_a_load_with_rejected_rows_and_a_ledger_entry(store, partition, tmp_path):
    work = tmp_path / "work"
    work.mkdir()
    entry = replaced(store, Pass(partition, tmp_path, bad=7), source(), work_dir=work)
    assert (entry.status, entry.rows_read, entry.rows_loaded, entry.rows_rejected) == ("loaded", 1007, 1000, 7)
    assert store.entry(partition) == entry and store.entries(partition.dataset) == [entry]
    assert (store.count(partition), store.count_rejected(partition)) == (1000, 7)
    assert store.counts(partition.dataset) == {partition: 1000}
    assert differences(store, partition) == []
    assert list(work.iterdir()) == []


@pytest.mark.parametrize("trips", DATASETS, ids=str)
def test_every_trip_dataset(store, tmp_path, trips):
    month = trips.partition(2024, 12)
    assert store.replace(Pass(month, tmp_path), source()).rows_loaded == store.count(month) == 1000
    assert store.counts(trips) == {month: 1000}


def test_a_reload_replaces_its_own_partition(store, tmp_path):
    for month, rows, bad in ((JANUARY, 1000, 5), (FEBRUARY, 500, 2), (JANUARY, 900, 0), (JANUARY, 900, 0)):
        store.replace(Pass(month, tmp_path, rows=rows, bad=bad), source())
    assert store.counts(GREEN) == {JANUARY: 900, FEBRUARY: 500}
    assert (store.count_rejected(JANUARY), store.count_rejected(FEBRUARY)) == (0, 2)
    assert [entry.partition.key for entry in store.entries(GREEN)] == ["2021-01", "2021-02"]


@pytest.mark.parametrize("before", [0, 1000])
def test_a_partition_without_rows(store, partition, tmp_path, before):
    if before:
        store.replace(Pass(partition, tmp_path, rows=before), source())
    assert store.replace(Pass(partition, tmp_path, rows=0, batches=1, bad=3), source("sha256:2")).rows_read == 3
    assert (store.count(partition), store.count_rejected(partition)) == (0, 3)
    assert store.entry(partition).rows_rejected == 3


def test_a_blocked_partition_is_stored_separately_until_it_loads(store, partition, tmp_path):
    good = replaced(store, Pass(partition, tmp_path, bad=2), source())
    blocked = replaced(store, Pass(partition, tmp_path, rows=300, bad=4, blocks=True), source("sha256:2"))
    assert blocked.status == "blocked" and store.entries(partition.dataset) == [blocked, good]
    assert store.entry(partition) == good and store.entry(partition, "blocked") == blocked
    assert (store.count(partition), store.count_rejected(partition)) == (1000, 2)
    assert differences(store, partition) == []
    store.replace(Pass(partition, tmp_path, rows=300, blocks=True), source("sha256:2"))
    store.replace(Pass(partition, tmp_path, rows=800), source("sha256:3"))
    assert [entry.status for entry in store.entries(partition.dataset)] == ["loaded"] and store.count(partition) == 800
    assert differences(store, partition) == []


def test_a_refused_source_is_recorded_with_every_field(store, partition):
    refused = refused_entry(partition)
    assert all(getattr(refused, field.name) not in (field.default, None) for field in fields(LedgerEntry))
    store.record(refused)
    (found,) = store.entries(partition.dataset)
    for field in fields(LedgerEntry):
        assert getattr(found, field.name) == getattr(refused, field.name), field.name
    assert store.entry(partition, "refused") == refused and store.entry(partition) is None
    assert (store.counts(partition.dataset), store.count(partition), store.count_rejected(partition)) == ({}, 0, 0)
    again = replace(
        refused, message="is empty", source_etag=None, source_modified=None, finished=AT + dt.timedelta(days=1)
    )
    store.record(again)
    assert store.entries(partition.dataset) == [again] and store.entry(partition, "refused") == again


@pytest.mark.parametrize("blocks", [False, True])
def test_a_load_keeps_every_field_and_is_marked_as_seen_again(store, partition, tmp_path, blocks):
    seen = replace(source(), etag='"1"', modified=AT)
    entry = replaced(store, Pass(partition, tmp_path, bad=2, blocks=blocks), seen)
    assert (entry.source_etag, entry.source_modified) == ('"1"', AT) and entry.load_id
    assert store.entry(partition, entry.status) == entry
    _, *counted = state(store, partition)
    later = replace(entry, source_etag='"2"', source_modified=AT + dt.timedelta(days=9))
    store.record(later)
    assert state(store, partition) == ([later], *counted)


@pytest.mark.parametrize("blocks", [False, True])
def test_the_entry_of_another_load_is_not_overwritten(store, tmp_path, blocks):
    first = replaced(store, Pass(JANUARY, tmp_path, blocks=blocks), source())
    second = replaced(store, Pass(JANUARY, tmp_path, rows=5, blocks=blocks), source("sha256:2"))
    late = replace(first, source_etag='"late"')
    store.record(late)
    store.record(replace(late, status="loaded" if blocks else "blocked"))
    store.record(replace(late, partition=FEBRUARY))
    assert store.entries(GREEN) == [second] and store.counts(GREEN) == ({} if blocks else {JANUARY: 5})


def test_a_load_removes_the_refused_and_blocked_entries_that_it_replaces(store, tmp_path):
    store.record(refused_entry(JANUARY))
    blocked = replaced(store, Pass(JANUARY, tmp_path, blocks=True), source())
    assert store.entries(GREEN) == [blocked]
    refused = replace(refused_entry(JANUARY), finished=dt.datetime.now(dt.UTC))
    store.record(refused)
    assert store.entries(GREEN) == [blocked, refused]
    loaded = replaced(store, Pass(JANUARY, tmp_path, rows=7), source())
    assert store.entries(GREEN) == [loaded] and store.count(JANUARY) == 7


@pytest.mark.parametrize("blocks", [False, True])
@pytest.mark.parametrize("at", range(4))
def test_an_exception_at_any_batch(store, partition, tmp_path, at, blocks):
    store.replace(Pass(partition, tmp_path, bad=3), source())
    before = state(store, partition)

    def fail(number: int) -> None:
        if number == at:
            raise Refused("https://example.org/x.csv.gz", "ends in the middle")

    with pytest.raises(Refused, match="ends in the middle"):
        store.replace(Pass(partition, tmp_path, between=fail, bad=9, blocks=blocks), source("sha256:2"))
    assert state(store, partition) == before
    store.replace(Pass(partition, tmp_path, rows=5), source("sha256:2"))
    assert store.count(partition) == 5


def test_a_pass_with_unaccounted_rows_is_refused(store, partition, tmp_path):
    store.replace(Pass(partition, tmp_path, bad=3), source())
    before = state(store, partition)
    wrong = Pass(partition, tmp_path, rows=11)
    wrong.reader = Pass(partition, tmp_path, rows=10).reader
    with pytest.raises(StoreFailed, match=f"{partition}: inserted 10 rows, expected 11"):
        store.replace(wrong, source("sha256:2"))
    assert state(store, partition) == before


def test_a_batch_of_other_types_or_of_another_partition_is_refused(store, tmp_path):
    """Postgres' binary COPY would store other types as garbage, without an error."""
    store.replace(Pass(JANUARY, tmp_path), source())
    wrong = Pass(JANUARY, tmp_path)
    at = wrong.schema.get_field_index("trip_distance")
    wrong.reader = replace(wrong, schema=wrong.schema.set(at, pa.field("trip_distance", pa.int64())))._batches
    with pytest.raises(StoreFailed, match=r"not of the contract's schema: .*trip_distance: int64"):
        store.replace(wrong, source())
    wrong.reader = Pass(FEBRUARY, tmp_path).reader
    with pytest.raises(StoreFailed, match="rows of another source_month"):
        store.replace(wrong, source())
    assert store.counts(GREEN) == {JANUARY: 1000}


@pytest.mark.parametrize("partitioning", Partitioning)
def test_every_partitioning(store, tmp_path, partitioning):
    """Partitions are separate, a reload replaces only its own one, and every row is accounted for."""
    dataset = readings(partitioning)
    first = dataset.partition(*list(START.values())[: DEPTH[partitioning]])
    partitions = sorted({first, first.next})
    file = tmp_path / "readings.csv"

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


def test_first_loads_at_the_same_time(store, tmp_path):
    """Four partitions, one of them four times, of a dataset whose tables do not exist yet."""
    months = [GREEN.partition(2022, number) for number in (1, 2, 3, 3, 3, 3, 4)]
    ready, failures = threading.Barrier(len(months)), []

    def load(number, month):
        try:
            ready.wait()
            store.replace(Pass(month, tmp_path, rows=1000 + number, bad=number), source(f"sha256:{number}"))
        except Exception as error:
            failures.append(error)

    loads = [threading.Thread(target=load, args=pair) for pair in enumerate(months)]
    for one in loads:
        one.start()
    for one in loads:
        one.join()
    assert failures == []
    last = int(store.entry(months[2]).checksum.removeprefix("sha256:"))
    assert store.counts(GREEN) == {
        month: 1000 + number for number, month in enumerate(months) if month != months[2] or number == last
    }
    assert store.count_rejected(months[2]) == store.entry(months[2]).rows_rejected == last


def test_another_partition_loads_in_the_middle_of_a_load(store, tmp_path):
    store.replace(Pass(JANUARY, tmp_path), source())

    def february(number: int) -> None:
        if number == 2:
            store.replace(Pass(FEBRUARY, tmp_path), source())

    store.replace(Pass(JANUARY, tmp_path, between=february), source())
    assert store.counts(GREEN) == {JANUARY: 1000, FEBRUARY: 1000}


def test_concurrent_loads_leave_one_of_them_complete(place, tmp_path):
    for _ in range(3):
        race(place, tmp_path)


def test_a_concurrent_load_is_killed(place, tmp_path):
    race_with_a_kill(place, tmp_path, after=0.05)
