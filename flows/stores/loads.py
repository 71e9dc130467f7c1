"""Which ledger entries of a partition are valid, in a store that cannot write rows and ledger in one step.

Rows have the id of their load. A load writes its ledger entry before its rows replace the old ones, which is one atomic
step. So the load id in the rows names the valid entry at any time, with concurrent loads and after an interrupted one.
The entry of a load whose rows were never written, or were replaced, is not valid.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flows.stores.ledger import LedgerEntry, Status


@dataclass(frozen=True)
class Recorded:
    """A ledger entry, and when it was written: a load's entry is written again when its source is seen again."""

    entry: LedgerEntry
    at: dt.datetime


@dataclass(frozen=True)
class Found:
    """The load ids of a partition's loaded and blocked rows: None if there are no rows, "" for rows without an id."""

    loaded: str | None = None
    blocked: str | None = None


def valid_entries(
    ledger: Iterable[Recorded], found: Found, was_committed: Callable[[LedgerEntry], bool]
) -> list[LedgerEntry]:
    """The valid entries of one partition, at most one of each status.

    If the partition has no rows, there is no load id: then the latest committed load without rows is valid
    (`was_committed` is called only then). If there is none, the rows of the latest committed load have been lost: its
    entry is valid, so that reconciliation reports them. A blocked load is valid until a later load of the partition, a
    refused source until a later load or blocked load.
    """
    rows = sorted(ledger, key=lambda row: (row.entry.finished, row.at), reverse=True)

    def of(status: Status) -> list[LedgerEntry]:
        return [row.entry for row in rows if row.entry.status == status]

    def later(candidates: Iterable[LedgerEntry], *than: LedgerEntry) -> list[LedgerEntry]:
        first = next(iter(candidates), None)
        return [first] if first and all(first.finished > other.finished for other in than) else []

    if found.loaded is None:
        committed = [entry for entry in of("loaded") if was_committed(entry)]
        loaded = sorted(committed, key=lambda entry: entry.rows_loaded > 0)[:1]
    else:
        loaded = [entry for entry in of("loaded") if entry.load_id == found.loaded][:1]
    if found.blocked is None:
        blocked_entries = (entry for entry in of("blocked") if not entry.rows_loaded and was_committed(entry))
    else:
        blocked_entries = (entry for entry in of("blocked") if entry.load_id == found.blocked)
    blocked = later(blocked_entries, *loaded)
    return [*loaded, *blocked, *later(of("refused"), *loaded, *blocked)]


def resolved(ledger: Iterable[Recorded], found: Found) -> bool:
    """Whether the ledger has the loads that the partition's rows are of."""
    known = {(row.entry.status, row.entry.load_id) for row in ledger}
    wanted = {("loaded", found.loaded), ("blocked", found.blocked)}
    return all(load_id is None or (status, load_id) in known for status, load_id in wanted)
