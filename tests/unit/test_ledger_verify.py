"""Reconciliation reports every difference, and no others."""

from __future__ import annotations

from dataclasses import dataclass, replace

import pytest

from flows.datasets import tlc
from flows.datasets.dataset import Partition
from flows.datasets.tlc import FHV
from flows.errors import StoreFailed, StoreUnavailable
from flows.stores.ledger import LedgerEntry
from flows.stores.reconcile import Difference, Verified, verify
from tests.ledger_entries import made_up_entry

GREEN = replace(tlc.GREEN, published_rows=lambda key: 100)
JANUARY, FEBRUARY = GREEN.partition(2021, 1), GREEN.partition(2021, 2)
# A source of which the publisher has counted nothing.
CSV = "https://example.org/green_tripdata_2021-01.csv.gz"
PARQUET = "https://example.org/green_tripdata_2021-01.parquet"


@dataclass
class Counted:
    ledger: list[LedgerEntry]
    rows: dict[Partition, int]
    rejected: int = 0

    def entries(self, dataset):
        return [entry for entry in self.ledger if entry.partition.dataset is dataset]

    def counts(self, dataset):
        return {partition: rows for partition, rows in self.rows.items() if partition.dataset is dataset}

    def count(self, month):
        return self.rows[month]

    def count_rejected(self, month):
        return self.rejected


def entry(month: Partition = JANUARY, loaded: int = 100, rejected: int = 0, source: str = PARQUET, status="loaded"):
    return made_up_entry(month, status, rows=loaded, rejected=rejected, source=source)


def found(**stores) -> list[tuple]:
    return [(d.store, d.partition, d.what, d.expected, d.actual) for d in verify(stores, [GREEN]).differences]


def test_no_difference():
    good = Counted([entry(), entry(FEBRUARY, 90, 10), entry(status="blocked", loaded=3)], {JANUARY: 100, FEBRUARY: 90})
    good.count_rejected = lambda month: {FEBRUARY: 10}.get(month, 0)
    later = entry(source="gs://taxi/data/x.parquet", loaded=100)
    assert found(postgres=good, bucket=good, bigquery=Counted([later], {JANUARY: 100})) == []
    assert found() == []


@pytest.mark.parametrize(
    ("store", "what", "expected", "is_found"),
    [
        (Counted([entry()], {JANUARY: 99}), "rows stored, against the ledger", 100, 99),
        (Counted([entry()], {}), "rows stored, against the ledger", 100, 0),
        (Counted([], {JANUARY: 99}), "rows stored, without a ledger entry", 0, 99),
        (Counted([entry(status="blocked")], {JANUARY: 99}), "rows stored, without a ledger entry", 0, 99),
        (Counted([entry()], {JANUARY: 100}, 1), "rejected rows stored, against the ledger", 0, 1),
        (Counted([entry(loaded=99)], {JANUARY: 99}), "rows read, against the published count", 100, 99),
        (Counted([entry(loaded=99, source="file:///x.csv")], {JANUARY: 99}), None, 0, 0),
        (Counted([entry(loaded=99, source="https://x.org/x.csv.gz")], {JANUARY: 99}), None, 0, 0),
        (Counted([entry(loaded=99, source="gs://taxi/data/x.parquet")], {JANUARY: 99}), None, 0, 0),
    ],
)
def test_each_difference(store, what, expected, is_found):
    assert found(postgres=store) == ([("postgres", JANUARY, what, expected, is_found)] if what else [])


def test_bigquery_behind_the_bucket():
    bucket = Counted([entry()], {JANUARY: 100})
    behind = Counted([entry(loaded=90, source="gs://taxi/data/x.parquet")], {JANUARY: 90})
    assert found(bucket=bucket, bigquery=behind) == [("bigquery", JANUARY, "rows read, against the bucket", 100, 90)]


@pytest.mark.parametrize("of_the_bucket", [{}, {FEBRUARY: 7}])
def test_a_month_that_the_bucket_has_lost(of_the_bucket):
    """Also where it was the last one there."""
    bucket = Counted([entry(month, rows, source=CSV) for month, rows in of_the_bucket.items()], of_the_bucket)
    loaded = Counted([entry(source="gs://taxi/data/x.parquet")], {JANUARY: 100})
    assert found(bucket=bucket, bigquery=loaded) == [("bigquery", JANUARY, "rows read, against the bucket", 0, 100)]


def test_a_difference_in_words():
    difference = Difference("postgres", JANUARY, "rows stored, against the ledger", 76518, 0)
    assert str(difference) == "postgres, green 2021-01: rows stored, against the ledger: expected 76,518, found 0"


class Broken(Counted):
    """A store some of which cannot be read: the ledger of fhv, all counts at once, the count of February."""

    def entries(self, dataset):
        if dataset is FHV:
            raise StoreFailed("fhv_ledger", "no such table")
        return super().entries(dataset)

    def counts(self, dataset):
        if dataset is FHV:
            return {}
        raise StoreFailed("trips", "no such column")

    def count(self, month):
        if month == FEBRUARY:
            raise StoreFailed("february", "not a table")
        return super().count(month)


class Down(Counted):
    def entries(self, dataset):
        raise StoreUnavailable("down", "no connection")


def test_an_unreadable_table_does_not_hide_the_others():
    broken = Broken([entry(source=CSV), entry(FEBRUARY, source=CSV)], {JANUARY: 99})
    verified = verify({"bigquery": broken, "down": Down([], {}), "postgres": Counted([], {JANUARY: 7})}, [FHV, GREEN])
    assert [str(difference) for difference in verified.differences] == [
        "bigquery: fhv_ledger: no such table",
        "bigquery, green 2021-01: rows stored, against the ledger: expected 100, found 99",
        "bigquery, green 2021-02: february: not a table",
        "down: down: no connection",
        "postgres, green 2021-01: rows stored, without a ledger entry: expected 0, found 7",
    ]
    assert verified.partitions == 2


class DownAfterItsLedger(Counted):
    def counts(self, dataset):
        raise StoreUnavailable("down", "no connection")

    def count_rejected(self, month):
        raise AssertionError("a store that is down was called again")


def test_an_unavailable_store_has_not_lost_its_months():
    """Neither it, nor the store that was loaded from it."""
    bucket = DownAfterItsLedger([entry()], {})
    loaded = Counted([entry(source="gs://taxi/data/x.parquet")], {JANUARY: 100})
    assert found(bucket=bucket, bigquery=loaded) == [("bucket", None, "down: no connection", None, None)]


def test_months_counted_are_those_with_rows_in_a_store():
    """Not those that are blocked or refused, which have no rows there."""
    store = Counted([entry(), entry(FEBRUARY, status="blocked")], {JANUARY: 100})
    assert verify({"postgres": store}, [GREEN]) == Verified(1, [])
