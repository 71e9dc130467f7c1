"""Which of a month's ledger entries are valid, by the load ids of its rows."""

from __future__ import annotations

import datetime as dt

import pytest

from flows.datasets.tlc import GREEN
from flows.stores.loads import Found, Recorded, resolved, valid_entries
from tests.ledger_entries import AT, made_up_entry

JANUARY = GREEN.partition(2021, 1)


def row(load_id: str, finished: int, status: str = "loaded", rows: int = 5, recorded: int = 0, etag: str | None = None):
    """A row of the ledger, its times in minutes."""
    at = AT + dt.timedelta(minutes=finished)
    entry = made_up_entry(JANUARY, status, rows=rows, finished=at, load_id=load_id, source_etag=etag)
    return Recorded(entry, AT + dt.timedelta(minutes=recorded or finished))


OLD, NEW = row("old", 1), row("new", 2)
BLOCKED, REFUSED = row("kept", 3, "blocked"), row("", 4, "refused", rows=0)
EMPTY, EMPTY_BLOCKED = row("empty", 1, rows=0), row("kept", 3, "blocked", rows=0)


@pytest.mark.parametrize(
    ("ledger", "found", "committed", "counts"),
    [
        ([], Found(), "", []),
        ([OLD, NEW], Found("old"), "", [OLD]),
        ([NEW, OLD], Found("new"), "", [NEW]),
        ([OLD], Found("a person's"), "", []),
        ([row("", 1), NEW], Found(""), "", [row("", 1)]),
        ([row("a", 1), row("a", 1, recorded=9, etag="2")], Found("a"), "", [row("a", 1, recorded=9, etag="2")]),
        # no rows: a first load that never came, rows that were lost, loads of no rows
        ([OLD], Found(), "", []),
        ([OLD, NEW], Found(), "old", [OLD]),
        ([OLD, NEW], Found(), "old new", [NEW]),
        ([EMPTY, NEW], Found(), "empty new", [EMPTY]),
        ([EMPTY, NEW], Found(), "", []),
        # blocked, until a later load
        ([OLD, BLOCKED], Found("old", "kept"), "", [OLD, BLOCKED]),
        ([OLD, BLOCKED], Found("old"), "kept", [OLD]),
        ([OLD, BLOCKED, row("last", 5)], Found("last", "kept"), "", [row("last", 5)]),
        ([OLD, EMPTY_BLOCKED], Found("old"), "kept", [OLD, EMPTY_BLOCKED]),
        ([OLD, EMPTY_BLOCKED], Found("old"), "", [OLD]),
        # refused, until a later load of either kind
        ([REFUSED], Found(), "", [REFUSED]),
        ([REFUSED, row("", 6, "refused", rows=0)], Found(), "", [row("", 6, "refused", rows=0)]),
        ([OLD, BLOCKED, REFUSED], Found("old", "kept"), "", [OLD, BLOCKED, REFUSED]),
        ([REFUSED, row("last", 5)], Found("last"), "", [row("last", 5)]),
        ([REFUSED, row("last", 5)], Found(), "", [REFUSED]),
        ([REFUSED, row("last", 5, "blocked")], Found(None, "last"), "", [row("last", 5, "blocked")]),
    ],
)
def test_valid_entries(ledger, found, committed, counts):
    given = valid_entries(ledger, found, lambda entry: entry.load_id in committed.split())
    assert given == [each.entry for each in counts]
    assert given == valid_entries(reversed(ledger), found, lambda entry: entry.load_id in committed.split())


def test_when_the_ledger_has_to_be_read_again():
    assert resolved([OLD, BLOCKED], Found("old", "kept")) and resolved([OLD], Found())
    assert not resolved([OLD], Found("new")) and not resolved([OLD], Found("old", "kept"))
