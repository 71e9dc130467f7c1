"""Which months are due: published at the source, and not in the ledger or changed since.

This is what a schedule needs. TLC publishes about two months late and on no fixed day, so a scheduled run is told no
month: it asks.
"""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from flows.stores.ledger import LedgerEntry
from flows.trips.catalog import months_until, source_url
from flows.trips.download import probe
from flows.trips.month import Month, Service

# Without a year, this many months back from now are asked for.
WINDOW = 12


@dataclass(frozen=True, order=True)
class Offer:
    """A month that a source has, and what it says of its version; None where it does not say."""

    month: Month
    modified: dt.datetime | None = None
    bytes: int | None = None


def due(
    offers: Iterable[Offer], ledger: Mapping[Month, LedgerEntry], limit: int, contract_version: str | None = None
) -> list[Month]:
    """The oldest `limit` months of the offers that are new or have changed since the ledger's row of them."""
    return [offer.month for offer in sorted(offers) if is_due(offer, ledger.get(offer.month), contract_version)][:limit]


def is_due(offer: Offer, entry: LedgerEntry | None, contract_version: str | None = None) -> bool:
    """Whether the month is not in the ledger, was read under another contract, or another file is offered now.

    `contract_version` is that of the service and the store now; None stands for any version.
    A blocked month counts as read: its checks would block it again, until the source publishes it anew.
    """
    if entry is None or contract_version not in (None, entry.contract_version):
        return True
    resized = offer.bytes is not None and offer.bytes != entry.bytes
    return resized or (offer.modified is not None and offer.modified > entry.started)


def latest(entries: Iterable[LedgerEntry]) -> dict[Month, LedgerEntry]:
    """Each month's last row: a month may have one that is loaded and, beside it, one that is blocked."""
    return {entry.of_month: entry for entry in sorted(entries, key=lambda entry: entry.finished)}


def candidates(service: Service, year: int | None) -> list[Month]:
    """The months to ask for: those of the year that have begun, else the last WINDOW ones."""
    begun = list(months_until(service, dt.datetime.now(dt.UTC).date()))
    return begun[-WINDOW:] if year is None else [month for month in begun if month.year == year]


async def months_from_web(
    entries: Callable[[], Iterable[LedgerEntry]],
    template: str,
    service: Service,
    year: int | None,
    month: int | None,
    limit: int,
) -> list[Month]:
    """The one month that was asked for; without one, what the web has and the store's ledger lacks.

    Raises:
        Refused: the web cannot be asked.
        StoreFailed: the ledger cannot be read.
        ValueError: one line: a month without its year, a wrong template.
    """
    if month is not None:
        return [asked_for(service, year, month)]
    offers = await offers_on_the_web(candidates(service, year), template)
    return due(offers, latest(await asyncio.to_thread(entries)), limit)


async def months_from_bucket(
    entries: Callable[[], Iterable[LedgerEntry]],
    bucket_entries: Callable[[], Iterable[LedgerEntry]],
    service: Service,
    year: int | None,
    month: int | None,
    limit: int,
) -> list[Month]:
    """The one month that was asked for; without one, what the bucket has and the store's ledger lacks.

    Raises:
        StoreFailed: a ledger cannot be read.
        ValueError: a month without its year.
    """
    if month is not None:
        return [asked_for(service, year, month)]
    offers = offers_in_bucket(await asyncio.to_thread(bucket_entries), candidates(service, year))
    return due(offers, latest(await asyncio.to_thread(entries)), limit)


def asked_for(service: Service, year: int | None, month: int) -> Month:
    """The month by its numbers. Raises ValueError if the year is missing."""
    if year is None:
        raise ValueError(f"month {month} of which year? Give both, or neither")
    return Month(service, year, month)


async def offers_on_the_web(months: Sequence[Month], template: str) -> list[Offer]:
    """Ask the web for each month, several at once. Months that are not published (403, 404) are left out.

    Raises:
        Refused: the server cannot be asked.
        ValueError: the template is wrong.
    """
    places = asyncio.Semaphore(4)

    async def one(month: Month) -> Offer | None:
        async with places:
            found = await asyncio.to_thread(probe, source_url(template, month))
        return found and Offer(month, modified_at(found.last_modified), found.bytes)

    return [offer for offer in await asyncio.gather(*map(one, months)) if offer]


def offers_in_bucket(entries: Iterable[LedgerEntry], months: Sequence[Month]) -> list[Offer]:
    """The months that the bucket's ledger has, as offers to the warehouse."""
    return [
        Offer(entry.of_month, entry.finished)
        for entry in entries
        if entry.status == "loaded" and entry.of_month in months
    ]


def modified_at(http_date: str | None) -> dt.datetime | None:
    """An HTTP date as a UTC datetime; None for what is not one."""
    try:
        found = parsedate_to_datetime(http_date) if http_date else None
    except ValueError:
        return None
    return found and found.replace(tzinfo=found.tzinfo or dt.UTC)
