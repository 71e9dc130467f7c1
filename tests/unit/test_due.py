"""Which months a scheduled run finds due."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.due import Offer, asked_for, candidates, due, latest, modified_at, offers_in_bucket
from flows.stores.ledger import LedgerEntry
from flows.trips.month import Month, Service

NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
MONTHS = [Month(Service.GREEN, 2025, number) for number in range(1, 13)]


def entry(month, *, status="loaded", size=100, started=NOON, contract="1") -> LedgerEntry:
    return LedgerEntry(
        service=str(month.service), month=month.label, status=status, source="https://a.example/x", checksum="sha256:0",
        bytes=size, rows_read=1, rows_loaded=1, rows_rejected=0, reasons={}, contract_version=contract, checks=[],
        started=started, finished=started + dt.timedelta(minutes=1),
    )  # fmt: skip


def offer(month: Month, *, size=100, modified=NOON - dt.timedelta(days=9)) -> Offer:
    return Offer(month, modified, size)


@pytest.mark.parametrize(
    ("offered", "known", "expected"),
    [
        (offer(MONTHS[0]), None, True),
        (offer(MONTHS[0]), entry(MONTHS[0]), False),
        (offer(MONTHS[0], size=101), entry(MONTHS[0]), True),
        (offer(MONTHS[0], modified=NOON + dt.timedelta(seconds=1)), entry(MONTHS[0]), True),
        (offer(MONTHS[0], size=None, modified=None), entry(MONTHS[0]), False),
        (offer(MONTHS[0]), entry(MONTHS[0], status="blocked"), False),
        (offer(MONTHS[0]), entry(MONTHS[0], contract="0"), True),
    ],
    ids=["new", "known", "another size", "published anew", "says nothing", "blocked", "older contract"],
)
def test_due(offered, known, expected):
    ledger = {MONTHS[0]: known} if known else {}
    assert due([offered], ledger, 3, "1") == ([MONTHS[0]] if expected else [])


@given(st.sets(st.sampled_from(MONTHS)), st.sets(st.sampled_from(MONTHS)), st.integers(1, 12))
def test_the_oldest_missing_months_first_up_to_the_limit(offered, known, limit):
    found = due(map(offer, offered), {month: entry(month) for month in known}, limit, "1")
    assert found == sorted(offered - known)[:limit]


def test_the_last_row_of_a_month_counts():
    first, second = entry(MONTHS[0]), entry(MONTHS[0], status="blocked", started=NOON + dt.timedelta(days=1))
    assert latest([second, first]) == {MONTHS[0]: second}


def test_candidates_are_the_year_or_the_last_twelve_months():
    assert candidates(Service.GREEN, 2025) == MONTHS
    recent = candidates(Service.YELLOW, None)
    assert len(recent) == 12 and recent[-1].first <= dt.datetime.now(dt.UTC).date()
    assert candidates(Service.GREEN, 2009) == []


def test_a_bucket_offers_what_it_has_loaded():
    entries = [entry(MONTHS[0]), entry(MONTHS[1], status="blocked"), entry(Month(Service.YELLOW, 2025, 3))]
    assert offers_in_bucket(entries, MONTHS) == [Offer(MONTHS[0], entries[0].finished)]


def test_a_month_needs_its_year():
    assert asked_for(Service.GREEN, 2025, 1) == MONTHS[0]
    with pytest.raises(ValueError, match="month 3 of which year"):
        asked_for(Service.GREEN, None, 3)


def test_dates_of_http():
    assert modified_at("Sun, 01 Mar 2026 12:00:00 GMT") == NOON
    assert modified_at("yesterday") is None and modified_at(None) is None
