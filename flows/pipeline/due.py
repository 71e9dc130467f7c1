"""Which months are due, and why: new at the source, changed there, or loaded under another contract.

This is what a schedule needs. TLC publishes about two months late and on no fixed day, so a scheduled run is told no
month: it asks. What was seen of a source is in the ledger, so that a month which was refused, or kept out by a check,
waits until its source or the contract changes.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from flows.datasets.partition import Month, Service
from flows.datasets.source_address import months_until
from flows.errors import TaxiwayError
from flows.pipeline.download_slot import download_slot
from flows.pipeline.offers import Offer, Slot, offers_in_bucket, offers_on_the_web
from flows.stores.ledger import LedgerEntry

# Without a year, this many months back from now are asked for.
WINDOW = 12

Ledger = Mapping[Month, Sequence[LedgerEntry]]


class Reason(StrEnum):
    """Why a month is loaded, in the order in which they are taken."""

    ASKED = "asked for"
    NEW = "new"
    SOURCE = "source changed"
    CONTRACT = "contract changed"


@dataclass(frozen=True)
class Due:
    """A month to load; `offer` is what its source said, if it was asked."""

    month: Month
    reason: Reason
    offer: Offer | None = None

    def __str__(self) -> str:
        return f"{self.month} ({self.reason})"


@dataclass(frozen=True)
class Found:
    """What is to be done.

    Attributes:
        due: months to load, the most urgent first.
        failures: months that the source could not be asked for, and why.
        waiting: the entries of months that are refused or blocked until their source changes.
    """

    due: list[Due]
    failures: Mapping[Month, TaxiwayError] = field(default_factory=dict)
    waiting: list[LedgerEntry] = field(default_factory=list)


def due(offers: Iterable[Offer], ledger: Ledger, contract: str) -> list[Due]:
    """The offers that are new, changed, or known under another contract alone: in the order of Reason, oldest first."""
    reasons = ((offer, reason_of(offer, ledger.get(offer.month, ()), contract)) for offer in offers)
    return in_order(Due(offer.month, reason, offer) for offer, reason in reasons if reason)


def in_order(found: Iterable[Due]) -> list[Due]:
    """By reason, then the oldest month first."""
    return sorted(found, key=lambda one: (list(Reason).index(one.reason), one.month))


def reason_of(offer: Offer, entries: Sequence[LedgerEntry], contract: str) -> Reason | None:
    """Why the offered month is due; None if an entry of it is about this version and this contract, whatever it says.

    A month that a check blocks, or a source that is refused, would be so again.
    """
    seen = [entry for entry in entries if offer.is_of(entry)]
    if any(entry.contract_version == contract for entry in seen):
        return None
    if seen:
        return Reason.CONTRACT
    return Reason.SOURCE if entries else Reason.NEW


def waiting(offers: Iterable[Offer], ledger: Ledger, contract: str) -> list[LedgerEntry]:
    """The entries of the months that are offered, not due and not loaded from what is offered."""
    found = []
    for offer in offers:
        seen = [e for e in ledger.get(offer.month, ()) if e.contract_version == contract and offer.is_of(e)]
        if seen and all(entry.status != "loaded" for entry in seen):
            found.append(max(seen, key=lambda entry: entry.finished))
    return found


def outdated(ledger: Ledger, contract: str) -> set[Month]:
    """The months that no entry knows under this contract."""
    return {month for month, entries in ledger.items() if all(entry.contract_version != contract for entry in entries)}


def by_month(entries: Iterable[LedgerEntry], service: Service) -> Ledger:
    """The entries of each month of the service."""
    ledger: dict[Month, list[LedgerEntry]] = defaultdict(list)
    for entry in entries:
        if entry.service == service:
            ledger[entry.of_month].append(entry)
    return ledger


def candidates(service: Service, year: int | None) -> list[Month]:
    """The months to ask for: those of the year that have begun, else the last WINDOW ones."""
    begun = list(months_until(service, dt.datetime.now(dt.UTC).date()))
    return begun[-WINDOW:] if year is None else [month for month in begun if month.year == year]


async def due_on_the_web(
    entries: Callable[[], Iterable[LedgerEntry]],
    template: str,
    service: Service,
    year: int | None,
    contract: str,
    slot: Slot = download_slot,
) -> Found:
    """What the web has and the store's ledger lacks.

    Without a year, months of the ledger that are outside the window are due under a changed contract, too: whether the
    web still has them shows when they are loaded.

    Raises:
        TaxiwayError: the web cannot be asked, or the ledger not be read.
        ValueError: one line: a wrong template.
    """
    ledger = by_month(await asyncio.to_thread(entries), service)
    months = candidates(service, year)
    loaded = [month for month, known in ledger.items() if any(entry.status != "refused" for entry in known)]
    asked = await offers_on_the_web(months, template, loaded, slot)
    others = outdated(ledger, contract).difference(months) if year is None else ()
    found = [*due(asked.offers, ledger, contract), *(Due(month, Reason.CONTRACT) for month in others)]
    return Found(in_order(found), asked.failures, waiting(asked.offers, ledger, contract))


async def due_in_bucket(
    entries: Callable[[], Iterable[LedgerEntry]],
    bucket_entries: Callable[[], Iterable[LedgerEntry]],
    service: Service,
    year: int | None,
    contract: str,
) -> Found:
    """What the bucket has and the store's ledger lacks; without a year, all months that either the window or the ledger
    has.

    Raises:
        TaxiwayError: a ledger cannot be read.
    """
    ledger = by_month(await asyncio.to_thread(entries), service)
    months = [*candidates(service, year), *(ledger if year is None else ())]
    offers = offers_in_bucket(await asyncio.to_thread(bucket_entries), months)
    return Found(due(offers, ledger, contract), waiting=waiting(offers, ledger, contract))


async def asked_for(service: Service, year: int | None, month: int) -> Found:
    """The month by its numbers. Raises ValueError if the year is missing."""
    if year is None:
        raise ValueError(f"month {month} of which year? Give both, or neither")
    return Found([Due(Month(service, year, month), Reason.ASKED)])
