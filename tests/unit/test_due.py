"""Which months a scheduled run finds due."""

from __future__ import annotations

import asyncio
import datetime as dt
from contextlib import asynccontextmanager

import pytest
from hypothesis import given
from hypothesis import strategies as st

from flows.datasets.tlc import GREEN, YELLOW
from flows.datasets.version import contract_version
from flows.datasets.zones import ZONES
from flows.errors import Forbidden, NotPublished, SourceUnavailable, TerminalError
from flows.pipeline import due as due_module
from flows.pipeline import offers
from flows.pipeline.due import Reason, by_partition, candidates, due, due_in_bucket, due_on_the_web, requested, waiting
from flows.pipeline.offers import Offer, modified_at, offers_in_bucket
from flows.reading.retry import RetryPolicy
from flows.stores.ledger import LedgerEntry
from tests.http_server import status, whole

NOW = contract_version(GREEN, "postgres")
BEFORE = "before"
NOON = dt.datetime(2026, 3, 1, 12, tzinfo=dt.UTC)
LATER = NOON + dt.timedelta(hours=1)
MONTHS = [GREEN.partition(2025, number) for number in range(1, 13)]
MONTH = MONTHS[0]
# Two of green 2023-01 to 12, which TLC's published counts know.
KNOWN = [GREEN.partition(2023, number) for number in range(1, 13)]


def entry(month=MONTH, *, status="loaded", contract=NOW, at=NOON, **fields) -> LedgerEntry:
    rows = 0 if status == "refused" else 1
    values = {
        "partition": month, "status": status, "source": "https://a.example/x",
        "checksum": "sha256:0", "bytes": 100, "rows_read": rows, "rows_loaded": rows, "rows_rejected": 0, "reasons": {},
        "contract_version": contract, "checks": [], "started": at, "finished": at + dt.timedelta(minutes=1),
        "load_id": "a", "source_etag": "e1", "source_modified": NOON,
    }  # fmt: skip
    return LedgerEntry(**(values | fields))


def offer(month=MONTH, **fields) -> Offer:
    return Offer(**({"partition": month, "modified": NOON, "bytes": 100, "etag": "e1"} | fields))


class Known:
    """A store with only a ledger."""

    name = "postgres"

    def __init__(self, ledger=()) -> None:
        self.ledger = ledger

    def entries(self, dataset):
        return [entry for entry in self.ledger if entry.partition.dataset is dataset]


NEVER = {"source_etag": None, "source_modified": None}
REFUSED = entry(status="refused", source_etag="e2", source_modified=LATER, at=LATER)


@pytest.mark.parametrize(
    ("offered", "known", "expected"),
    [
        (offer(), [], Reason.NEW),
        (offer(), [entry()], None),
        (offer(etag="e2"), [entry()], Reason.SOURCE),
        (offer(modified=LATER), [entry()], None),
        (offer(etag=None, modified=LATER), [entry()], Reason.SOURCE),
        (offer(etag=None), [entry()], None),
        (offer(etag=None, modified=None), [entry(**NEVER)], None),
        (offer(etag=None, modified=None, bytes=101), [entry(**NEVER)], Reason.SOURCE),
        (offer(modified=LATER), [entry(**NEVER)], Reason.SOURCE),
        (offer(), [entry(**NEVER)], None),
        (offer(etag=None, modified=None, bytes=None), [entry(**NEVER)], None),
        (offer(), [entry(contract=BEFORE)], Reason.CONTRACT),
        (offer(etag="e2"), [entry(contract=BEFORE)], Reason.SOURCE),
        (offer(), [entry(status="blocked")], None),
        (offer(), [entry(status="refused")], None),
        (offer(), [entry(status="refused", contract=BEFORE)], Reason.CONTRACT),
        (offer(etag="e2"), [entry(), REFUSED], None),
        (offer(), [entry(), REFUSED], None),
        (offer(etag="e3"), [entry(), REFUSED], Reason.SOURCE),
        (offer(), [entry(contract=BEFORE), entry(status="refused")], None),
    ],
    ids=[
        "new", "loaded", "another etag", "the etag counts first", "published anew", "the same date", "says no version",
        "another size", "later than an entry without a version", "an entry without a version", "says nothing",
        "another contract", "another contract and source", "blocked", "refused", "refused under another contract",
        "refused after a load", "as loaded, after a refusal", "changed after a refusal", "refused under this contract",
    ],
)  # fmt: skip
def test_why_a_month_is_due(offered, known, expected):
    assert [found.reason for found in due([offered], {MONTH: known}, NOW)] == ([expected] if expected else [])


@given(st.lists(st.tuples(st.sampled_from(MONTHS), st.sampled_from(["new", "changed", "old", "loaded"])), max_size=12))
def test_new_months_come_first_then_changed_ones_then_those_of_another_contract(drawn):
    kinds = dict(drawn)
    known = {"changed": {"source_etag": "e0"}, "old": {"contract": BEFORE}, "loaded": {}}
    ledger = {month: [entry(month, **known[kind])] for month, kind in kinds.items() if kind != "new"}
    found = [one.partition for one in due(map(offer, kinds), ledger, NOW)]
    of = {kind: sorted(month for month in kinds if kinds[month] == kind) for kind in ("new", "changed", "old")}
    assert found == [*of["new"], *of["changed"], *of["old"]]


def test_partitions_that_wait_for_their_source_are_reported():
    blocked, refused = entry(MONTHS[1], status="blocked"), entry(MONTHS[2], status="refused")
    ledger = by_partition([entry(), blocked, refused, entry(MONTHS[3]), entry(MONTHS[3], status="refused")])
    assert waiting(map(offer, MONTHS), ledger, NOW) == [blocked, refused]


def test_candidates_are_the_year_or_the_last_twelve_months():
    assert candidates(GREEN, 2025) == MONTHS
    recent = candidates(YELLOW, None)
    assert len(recent) == 12 and recent[-1].first_day <= dt.datetime.now(dt.UTC).date()
    assert candidates(GREEN, 2009) == []


def test_a_bucket_offers_what_it_has_loaded():
    loaded = entry(load_id="load 7")
    there = [loaded, entry(MONTHS[1], status="blocked"), entry(YELLOW.partition(2025, 3))]
    assert offers_in_bucket(there, MONTHS) == [Offer(MONTH, loaded.finished, etag="load 7")]


def test_a_reloaded_month_of_the_bucket_is_due_outside_the_window_too():
    """A load of the bucket is a version of its own; what the ledger has outside the window counts as well."""
    old = GREEN.partition(2019, 5)
    ledger = [entry(old, source_etag="load 1")]
    found = asyncio.run(due_in_bucket(Known(ledger), Known([entry(old, load_id="load 2")]), GREEN, None))
    assert [(one.partition, one.reason) for one in found.due] == [(old, Reason.SOURCE)]
    same = asyncio.run(due_in_bucket(Known(ledger), Known([entry(old, load_id="load 1")]), GREEN, None))
    assert same.due == []


def test_a_month_needs_its_year():
    found = requested(GREEN, 2025, 1)
    assert [(one.partition, one.reason) for one in found.due] == [(MONTH, Reason.REQUESTED)]
    with pytest.raises(TerminalError, match="month 3: missing required parameter: year"):
        requested(GREEN, None, 3)
    with pytest.raises(TerminalError, match="2021-01: zones: a partition is named by no date"):
        requested(ZONES, 2021, 1)


def test_http_dates():
    assert modified_at("Sun, 01 Mar 2026 12:00:00 GMT") == NOON
    assert modified_at("yesterday") is None and modified_at(None) is None


@pytest.fixture
def hasty(monkeypatch):
    monkeypatch.setattr(
        offers, "POLICY", RetryPolicy(attempts=2, first_wait=0.01, connect_timeout=2, read_timeout=2, total_timeout=5)
    )


@asynccontextmanager
async def no_slot():
    yield


def found_on(server, answers, ledger=(), year=2023, slot=no_slot, otherwise=404):
    """What is due of a server that answers for a month by its number, and for others with `otherwise`."""
    for month in due_module.candidates(GREEN, year):
        server.url(f"/{month.key}", answers.get(month.start.month, status(otherwise)))
    template = f"http://127.0.0.1:{server.server_port}/{{year}}-{{month:02}}"
    return asyncio.run(due_on_the_web(Known(ledger), template, GREEN, year, slot))


def test_what_the_web_has_is_due(server, hasty):
    found = found_on(server, {1: whole(b"x", ETAG="e1"), 2: whole(b"x"), 3: status(200)}, [entry(KNOWN[0])])
    assert [one.partition for one in found.due] == KNOWN[1:3]
    assert not found.failures


@pytest.mark.parametrize(("code", "error"), [(403, Forbidden), (404, NotPublished), (503, SourceUnavailable)])
def test_a_source_that_refuses_every_request_is_an_error(server, hasty, code, error):
    with pytest.raises(error, match=f"/2023-01: .*{code if code != 404 else ''}.*; none of the 12 partitions"):
        found_on(server, {}, otherwise=code)


def test_a_known_month_that_is_refused_does_not_hide_the_others(server, hasty):
    found = found_on(server, {1: whole(b"x"), 2: status(403), 3: status(503), 5: status(401)})
    assert [one.partition for one in found.due] == KNOWN[:1]
    assert {month.start.month: type(error).__name__ for month, error in found.failures.items()} == {
        2: "Forbidden", 3: "SourceUnavailable", 5: "Refused",
    }  # fmt: skip


def test_the_newest_months_that_are_refused_are_not_published_yet(server, hasty):
    """Nobody has seen a month of 2025 after May: 403 says nothing about it. Of one before, it does."""
    found = found_on(server, {3: whole(b"x"), 4: status(404)}, [entry(MONTHS[4])], year=2025, otherwise=403)
    assert [one.partition for one in found.due] == [MONTHS[2]]
    assert sorted(found.failures) == [MONTHS[0], MONTHS[1], MONTHS[4]]


def test_every_request_holds_a_download_slot(server, hasty):
    held = [0]

    @asynccontextmanager
    async def slot():
        held.append(held[-1] + 1)
        yield
        held.append(held[-1] - 1)
        if held[-1] == 0:
            held.append(len(server.seen))

    found_on(server, {1: whole(b"x")}, slot=slot)
    # 12 months by HEAD, and 11 of them by GET as well, before the last slot is given back.
    assert (max(held[:-1]), held[-2:]) == (offers.AT_ONCE, [0, 23])


def test_months_of_another_contract_are_due_outside_the_window_too(server, hasty, monkeypatch):
    """Without a year, every partition of the ledger; other entries and services are unchanged."""
    monkeypatch.setattr(due_module, "candidates", lambda service, year: KNOWN)
    ledger = [
        entry(MONTHS[0], contract=BEFORE), entry(MONTHS[1]), entry(KNOWN[0], contract=BEFORE),
        entry(YELLOW.partition(2025, 3), contract=BEFORE),
        entry(MONTHS[3], contract=BEFORE), entry(MONTHS[3], status="refused"),
    ]  # fmt: skip
    found = found_on(server, {1: whole(b"x", ETAG="e1"), 2: whole(b"x")}, ledger, year=None)
    assert list(map(str, found.due)) == [
        "green 2023-02 (new)", "green 2023-01 (contract changed)", "green 2025-01 (contract changed)",
    ]  # fmt: skip
