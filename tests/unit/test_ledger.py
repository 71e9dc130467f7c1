"""The ledger: counts that add up, JSON without loss, and when a month can be skipped."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from flows.datasets.tlc import GREEN
from flows.stores.ledger import LedgerEntry, LoadSource, unchanged
from tests.ledger_entries import AT, made_up_entry

ENTRY = made_up_entry(
    GREEN.partition(2021, 1),
    checksum="sha256:abc",
    rows=76_500,
    rejected=18,
    reasons={"zero_passengers": 17, "vendor_id: no integer": 1},
    checks=[{"name": "row_count", "value": 1.0, "limit": 1.0, "action": "warn", "passed": True}],
)


def test_an_entry_survives_json():
    assert LedgerEntry.from_dict(GREEN, ENTRY.to_dict()) == ENTRY
    assert LedgerEntry.from_json(GREEN, ENTRY.to_json()) == ENTRY
    assert json.loads(ENTRY.to_json())["started"] == "2021-03-01T12:00:00.123456+00:00"
    assert replace(ENTRY, source="file:///é").to_json().isascii()


def test_a_time_in_another_zone_is_the_same_moment():
    local = ENTRY.to_dict() | {"started": "2021-03-01T07:00:00.123456-05:00"}
    assert LedgerEntry.from_dict(GREEN, local) == ENTRY


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"rows_read": 76_519}, "green 2021-01: 76519 rows read, but 76500 loaded \\+ 18 rejected"),
        ({"reasons": {"zero_passengers": 17}}, "18 rows rejected, but reasons for 17"),
        ({"status": "lost"}, "none of loaded, blocked, refused"),
        ({"started": AT.replace(tzinfo=None)}, "a time without a zone"),
    ],
)
def test_invalid_entries(change, reason):
    with pytest.raises(ValueError, match=reason):
        replace(ENTRY, **change)
    with pytest.raises(TypeError, match="checksum"):
        LedgerEntry.from_dict(GREEN, {name: value for name, value in ENTRY.to_dict().items() if name != "checksum"})


def test_entries_of_an_older_and_of_a_newer_version_are_read():
    new = ("load_id", "source_etag", "source_modified", "message")
    assert LedgerEntry.from_dict(GREEN, {n: v for n, v in ENTRY.to_dict().items() if n not in new}) == ENTRY
    assert LedgerEntry.from_dict(GREEN, {**ENTRY.to_dict(), "of_a_newer_version": 1}) == ENTRY
    of_months = {n: v for n, v in ENTRY.to_dict().items() if n != "partition_key"} | {"month": "2021-01"}
    assert LedgerEntry.from_dict(GREEN, of_months) == ENTRY


@pytest.mark.parametrize(
    ("entry", "checksum", "version", "skip"),
    [
        (ENTRY, "sha256:abc", "1", True),
        (ENTRY, "sha256:abd", "1", False),
        (ENTRY, "sha256:abc", "another", False),
        (replace(ENTRY, status="blocked"), "sha256:abc", "1", True),
        (None, "sha256:abc", "1", False),
    ],
)
def test_when_a_source_is_unchanged(entry, checksum, version, skip):
    source = LoadSource("https://mirror.example.org/x.parquet", checksum, 1)
    assert unchanged(entry, source, version) is skip
