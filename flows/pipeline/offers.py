"""What a source has: its months and their versions, without reading them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from flows.datasets.partition import Month
from flows.datasets.source_address import public, published_rows, source_url
from flows.errors import Forbidden, NotPublished, TaxiwayError
from flows.reading.download import probe
from flows.reading.retry import RetryPolicy
from flows.stores.ledger import LedgerEntry

# A scheduled run comes again: it does not wait long for a source that does not answer.
PATIENCE = RetryPolicy(attempts=4, total_timeout=120.0)

AT_ONCE = 4
"""So many months are asked for at the same time."""

# TLC publishes about two months late. A month that began this long ago is there, if the source has anything at all.
OVERDUE = dt.timedelta(days=180)

Slot = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Offer:
    """A month that a source has, and what it says of its version; None where it does not say."""

    month: Month
    modified: dt.datetime | None = None
    bytes: int | None = None
    etag: str | None = None

    def is_of(self, entry: LedgerEntry) -> bool:
        """Whether the entry is about the version that is offered, as far as both tell."""
        if self.etag and entry.source_etag:
            return self.etag == entry.source_etag
        if self.modified and entry.source_modified:
            return self.modified == entry.source_modified
        # An entry from before versions were recorded: a later change, or another size, is another version.
        later = self.modified is not None and self.modified > entry.started
        return not later and self.bytes in (None, entry.bytes)


@dataclass(frozen=True)
class Asked:
    """What came of asking a source for months: its offers, and what failed, by month."""

    offers: list[Offer]
    failures: dict[Month, TaxiwayError]


async def offers_on_the_web(months: Sequence[Month], template: str, known: Iterable[Month], slot: Slot) -> Asked:
    """Ask the web for each month, several at once.

    A month that the server does not have is left out, and so is one that it refuses by 403 if it is newer than every
    month that anyone has seen: S3 answers so for what is not published yet.

    Args:
        months: which to ask for, ascending.
        template: the URL template.
        known: months that were loaded once.
        slot: held while months are asked for.

    Raises:
        TaxiwayError: not one month can be read, though there should be some; what the first of them said.
        ValueError: the template is wrong.
    """
    addresses = [(month, source_url(template, month)) for month in months]
    shares = await asyncio.gather(*(_ask_share(addresses[start::AT_ONCE], slot) for start in range(AT_ONCE)))
    found = {month: answer for share in shares for month, answer in share.items()}
    offers = [answer for answer in found.values() if isinstance(answer, Offer)]
    missing = {month: found[month] for month in months if not isinstance(found[month], Offer)}
    seen = [*known, *(offer.month for offer in offers), *(month for month in months if published_rows(month))]
    newest = max(seen, default=None)
    expected = {month for month in missing if newest and month <= newest}
    overdue = dt.datetime.now(dt.UTC).date() - OVERDUE
    absent = [month for month in missing if month in expected or month.first < overdue]
    if absent and not offers:
        first = missing[absent[0]]
        raise type(first)(first.subject, f"{first.reason}; none of the {len(months)} months asked for can be read")
    failures = {
        month: answer
        for month, answer in missing.items()
        if not isinstance(answer, NotPublished) and not (isinstance(answer, Forbidden) and month not in expected)
    }
    return Asked(offers, failures)


async def _ask_share(addresses: Sequence[tuple[Month, str]], slot: Slot) -> dict[Month, Offer | TaxiwayError]:
    """Ask for a share of the months, one after the other, under one slot."""
    if not addresses:
        return {}
    try:
        async with slot():
            return {month: await asyncio.to_thread(_ask, month, url) for month, url in addresses}
    except TaxiwayError as failure:
        return {month: failure for month, _ in addresses}


def _ask(month: Month, url: str) -> Offer | TaxiwayError:
    try:
        found = probe(url, policy=PATIENCE)
    except TaxiwayError as failure:
        return failure
    if found is None:
        return NotPublished(public(url), "is not there")
    return Offer(month, modified_at(found.last_modified), found.bytes, found.etag)


def offers_in_bucket(entries: Iterable[LedgerEntry], months: Iterable[Month]) -> list[Offer]:
    """The months that the bucket has, as offers to BigQuery: a load of the bucket is a version."""
    wanted = set(months)
    return [
        Offer(entry.of_month, entry.finished, etag=entry.load_id or None)
        for entry in entries
        if entry.status == "loaded" and entry.of_month in wanted
    ]


def modified_at(http_date: str | None) -> dt.datetime | None:
    """An HTTP date as a UTC datetime; None for what is not one."""
    try:
        found = parsedate_to_datetime(http_date) if http_date else None
    except ValueError:
        return None
    return found and found.replace(tzinfo=found.tzinfo or dt.UTC)
