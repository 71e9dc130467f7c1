"""Which of the loads that are recorded for a partition counts, where rows and ledger cannot be written in one step.

Rows carry the id of their load. A load is recorded in the ledger before its rows replace the old ones, which is one
atomic step; so the load id that is found in the rows names the ledger's entry at any time, whoever else loads, and
wherever a load is interrupted. A load whose rows never came, or were replaced, does not count.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from flows.stores.ledger import LedgerEntry, Status


@dataclass(frozen=True)
class Recorded:
    """A row of the ledger.

    Attributes:
        entry: what it says.
        at: when it was written. The same load is written again when its source is seen again.
    """

    entry: LedgerEntry
    at: dt.datetime


@dataclass(frozen=True)
class Found:
    """The ids of the loads that a partition's rows are of: None where there are no rows, "" for rows without an id."""

    loaded: str | None = None
    blocked: str | None = None


def counting(
    ledger: Iterable[Recorded], found: Found, was_committed: Callable[[LedgerEntry], bool]
) -> list[LedgerEntry]:
    """The entries of one partition that count, at most one of each status.

    Loads of no rows leave nothing to be found; so where there are no rows, the latest load of none that was committed
    counts. Without such a load, the rows of the latest one that was committed have been lost: it counts, so that
    reconciliation names them. A blocked load counts until a later load of the partition, a refused source until a later
    load of either kind.

    Args:
        ledger: the partition's rows of the ledger.
        found: what the partition's rows are of.
        was_committed: whether a load has put its rows in place. Asked only where there are no rows.
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
    """Whether the rows that were found are of loads that this reading of the ledger has."""
    known = {(row.entry.status, row.entry.load_id) for row in ledger}
    wanted = {("loaded", found.loaded), ("blocked", found.blocked)}
    return all(load_id is None or (status, load_id) in known for status, load_id in wanted)
