"""Reconciliation names every difference, and none where there is none."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass

import pytest

from flows.stores.ledger import LedgerEntry
from flows.stores.verify import Difference, verify
from flows.trips.month import Month, Service

JANUARY, FEBRUARY = Month(Service.GREEN, 2021, 1), Month(Service.GREEN, 2021, 2)
PARQUET = "https://example.org/green_tripdata_2021-01.parquet"
AT = dt.datetime(2021, 3, 1, tzinfo=dt.UTC)


@dataclass
class Counted:
    ledger: list[LedgerEntry]
    rows: dict[Month, int]
    rejected: int = 0

    def entries(self):
        return self.ledger

    def counts(self):
        return self.rows

    def count_rejected(self, month):
        return self.rejected


def entry(month: Month = JANUARY, loaded: int = 100, rejected: int = 0, source: str = PARQUET, status="loaded"):
    reasons = {"zero_passengers": rejected}
    read = loaded + rejected
    return LedgerEntry(
        str(month.service), month.label, status, source, "sha256:1", 9, read, loaded, rejected, reasons, "1", [], AT, AT
    )


def found(published=lambda month: 100, **stores) -> list[tuple]:
    return [(d.store, d.month, d.what, d.expected, d.found) for d in verify(stores, published)]


def test_no_difference():
    good = Counted([entry(), entry(FEBRUARY, 90, 10), entry(status="blocked", loaded=3)], {JANUARY: 100, FEBRUARY: 90})
    good.count_rejected = lambda month: {FEBRUARY: 10}.get(month, 0)
    later = entry(source="gs://taxi/data/x.parquet", loaded=100)
    assert found(postgres=good, bucket=good, warehouse=Counted([later], {JANUARY: 100})) == []
    assert found(lambda month: None, postgres=good) == []
    assert found() == []


@pytest.mark.parametrize(
    ("store", "what", "expected", "is_found"),
    [
        (Counted([entry()], {JANUARY: 99}), "rows stored, against the ledger", 100, 99),
        (Counted([entry()], {}), "rows stored, against the ledger", 100, 0),
        (Counted([], {JANUARY: 99}), "rows stored, without a ledger entry", 0, 99),
        (Counted([entry(status="blocked")], {JANUARY: 99}), "rows stored, without a ledger entry", 0, 99),
        (Counted([entry()], {JANUARY: 100}, 1), "rejected rows stored, against the ledger", 0, 1),
        (Counted([entry(loaded=99)], {JANUARY: 99}), "rows read, against TLC's count", 100, 99),
        (Counted([entry(loaded=99, source="file:///x.csv")], {JANUARY: 99}), None, 0, 0),
        (Counted([entry(loaded=99, source="https://x.org/x.csv.gz")], {JANUARY: 99}), None, 0, 0),
        (Counted([entry(loaded=99, source="gs://taxi/data/x.parquet")], {JANUARY: 99}), None, 0, 0),
    ],
)
def test_each_difference(store, what, expected, is_found):
    assert found(postgres=store) == ([("postgres", JANUARY, what, expected, is_found)] if what else [])


def test_a_warehouse_that_is_behind_the_bucket():
    bucket = Counted([entry()], {JANUARY: 100})
    behind = Counted([entry(loaded=90, source="gs://taxi/data/x.parquet")], {JANUARY: 90})
    assert found(bucket=bucket, warehouse=behind) == [("warehouse", JANUARY, "rows read, against the bucket", 100, 90)]


def test_a_difference_in_words():
    difference = Difference("postgres", JANUARY, "rows stored, against the ledger", 76518, 0)
    assert str(difference) == "postgres, green 2021-01: rows stored, against the ledger: expected 76,518, found 0"
