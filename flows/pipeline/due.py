"""Which partitions are due, and why: new at the source, changed there, or loaded under another contract.

Scheduled runs need this. TLC publishes about two months late and on no fixed day, so a scheduled run has no month: it
checks the source. The ledger has the last version seen of each source, so that a partition that was refused, or blocked
by a check, waits until its source or the contract changes.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from flows.datasets.dataset import Dataset, Partition, Partitioning
from flows.datasets.version import contract_version
from flows.errors import TaxiwayError, TerminalError
from flows.pipeline.download_slot import download_slot
from flows.pipeline.offers import Offer, Slot, offers_in_bucket, offers_on_the_web
from flows.stores.ledger import LedgerEntry
from flows.stores.store import Store

# Without a year, this many of the latest partitions are checked.
WINDOW = 12

Ledger = Mapping[Partition, Sequence[LedgerEntry]]


class Reason(StrEnum):
    """Why a partition is loaded, the most urgent reason first."""

    REQUESTED = "requested"
    NEW = "new"
    SOURCE = "source changed"
    CONTRACT = "contract changed"


@dataclass(frozen=True)
class Due:
    """A partition to load; `offer` is what the source has, if it was checked."""

    partition: Partition
    reason: Reason
    offer: Offer | None = None

    def __str__(self) -> str:
        return f"{self.partition} ({self.reason})"


@dataclass(frozen=True)
class Found:
    """Which partitions to load, the most urgent first.

    `failures` are the partitions that could not be checked, and why; `waiting` the ledger entries of partitions that
    are refused or blocked until their source changes.
    """

    due: list[Due]
    failures: Mapping[Partition, TaxiwayError] = field(default_factory=dict)
    waiting: list[LedgerEntry] = field(default_factory=list)


def due(offers: Iterable[Offer], ledger: Ledger, contract: str) -> list[Due]:
    """The offers that are new, changed, or loaded under another contract: in the order of Reason, oldest first."""
    reasons = ((offer, reason_of(offer, ledger.get(offer.partition, ()), contract)) for offer in offers)
    return in_order(Due(offer.partition, reason, offer) for offer, reason in reasons if reason)


def in_order(found: Iterable[Due]) -> list[Due]:
    """By reason, then the oldest partition first."""
    return sorted(found, key=lambda one: (list(Reason).index(one.reason), one.partition))


def reason_of(offer: Offer, entries: Sequence[LedgerEntry], contract: str) -> Reason | None:
    """Why the offered partition is due; None if an entry of any status is of this version and this contract.

    A partition that was blocked or refused would be blocked or refused again.
    """
    seen = [entry for entry in entries if offer.is_of(entry)]
    if any(entry.contract_version == contract for entry in seen):
        return None
    if seen:
        return Reason.CONTRACT
    return Reason.SOURCE if entries else Reason.NEW


def waiting(offers: Iterable[Offer], ledger: Ledger, contract: str) -> list[LedgerEntry]:
    """The entries of the partitions whose offered version was blocked or refused."""
    found = []
    for offer in offers:
        seen = [e for e in ledger.get(offer.partition, ()) if e.contract_version == contract and offer.is_of(e)]
        if seen and all(entry.status != "loaded" for entry in seen):
            found.append(max(seen, key=lambda entry: entry.finished))
    return found


def by_partition(entries: Iterable[LedgerEntry]) -> Ledger:
    """The entries of each partition."""
    ledger: dict[Partition, list[LedgerEntry]] = defaultdict(list)
    for entry in entries:
        ledger[entry.partition].append(entry)
    return ledger


def candidates(dataset: Dataset, year: int | None) -> list[Partition]:
    """The partitions to check: those of the year that have begun; without a year, the last WINDOW ones."""
    begun = list(dataset.partitions_until(dt.datetime.now(dt.UTC).date()))
    if year is None or dataset.partitioning is Partitioning.WHOLE:
        return begun[-WINDOW:]
    return [partition for partition in begun if partition.start.year == year]


async def due_on_the_web(
    store: Store, template: str, dataset: Dataset, year: int | None, slot: Slot = download_slot
) -> Found:
    """What the web has and the store's ledger lacks.

    Without a year, partitions of the ledger outside the window are due as well if the contract has changed. Whether the
    web still has them is not checked before they are loaded.

    Raises:
        TaxiwayError: the source or the ledger cannot be read.
        ValueError: the template is invalid.
    """
    contract = contract_version(dataset, store.name)
    ledger = by_partition(await asyncio.to_thread(store.entries, dataset))
    partitions = candidates(dataset, year)
    loaded = [partition for partition, known in ledger.items() if any(entry.status != "refused" for entry in known)]
    checked = await offers_on_the_web(partitions, template, loaded, slot)
    found = due(checked.offers, ledger, contract)
    for partition, entries in ledger.items() if year is None else ():
        if partition not in partitions and all(entry.contract_version != contract for entry in entries):
            found.append(Due(partition, Reason.CONTRACT))
    return Found(in_order(found), checked.failures, waiting(checked.offers, ledger, contract))


async def due_in_bucket(store: Store, bucket: Store, dataset: Dataset, year: int | None) -> Found:
    """What the bucket has and the store's ledger lacks; without a year, of the window or in the ledger."""
    contract = contract_version(dataset, store.name)
    ledger = by_partition(await asyncio.to_thread(store.entries, dataset))
    partitions = [*candidates(dataset, year), *(ledger if year is None else ())]
    offers = offers_in_bucket(await asyncio.to_thread(bucket.entries, dataset), partitions)
    return Found(due(offers, ledger, contract), waiting=waiting(offers, ledger, contract))


def requested(dataset: Dataset, year: int | None, month: int) -> Found:
    """The month of a run's parameters. Raises TerminalError without a year, or if the dataset has no months."""
    if year is None:
        raise TerminalError(f"month {month}", "missing required parameter: year")
    try:
        return Found([Due(dataset.partition(year, month), Reason.REQUESTED)])
    except ValueError as wrong:
        raise TerminalError(f"{year}-{month:02}", str(wrong)) from None
