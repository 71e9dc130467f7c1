"""Which partitions a source has, and their versions, without downloading them."""

from __future__ import annotations

import asyncio
import datetime as dt
from collections.abc import Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from flows.datasets.dataset import Partition
from flows.errors import Forbidden, NotPublished, TaxiwayError
from flows.reading.address import public
from flows.reading.download import probe
from flows.reading.retry import RetryPolicy
from flows.stores.ledger import LedgerEntry

# A scheduled run is repeated, so it does not wait long for a source that does not answer.
POLICY = RetryPolicy(attempts=4, total_timeout=120.0)

AT_ONCE = 4
"""How many partitions are checked at the same time."""

# TLC publishes about two months late. A source that has any data has the partitions that began this long ago.
OVERDUE = dt.timedelta(days=180)

Slot = Callable[[], AbstractAsyncContextManager[None]]


@dataclass(frozen=True)
class Offer:
    """A partition that a source has, and its version as far as the source gives it."""

    partition: Partition
    modified: dt.datetime | None = None
    bytes: int | None = None
    etag: str | None = None

    def is_of(self, entry: LedgerEntry) -> bool:
        """Whether the entry is of the offered version, by what both have."""
        if self.etag and entry.source_etag:
            return self.etag == entry.source_etag
        if self.modified and entry.source_modified:
            return self.modified == entry.source_modified
        # An entry without a version: a later change, or another size, is another version.
        later = self.modified is not None and self.modified > entry.started
        return not later and self.bytes in (None, entry.bytes)


@dataclass(frozen=True)
class Checked:
    """The result of checking a source: its offers, and the errors by partition."""

    offers: list[Offer]
    failures: dict[Partition, TaxiwayError]


async def offers_on_the_web(
    partitions: Sequence[Partition], template: str, known: Iterable[Partition], slot: Slot
) -> Checked:
    """Check the web for each partition (in ascending order), several at once, holding a download slot.

    Partitions that the server does not have are left out. So are those with a 403 that are newer than all known or
    offered ones: S3 answers 403 for what is not published yet.

    Raises:
        TaxiwayError: no partition can be read, though some must exist: the error of the first of them.
        ValueError: the template is invalid.
    """
    addresses = [(partition, partition.url(template)) for partition in partitions]
    shares = await asyncio.gather(*(_check_share(addresses[start::AT_ONCE], slot) for start in range(AT_ONCE)))
    found = {partition: answer for share in shares for partition, answer in share.items()}
    offers = [answer for answer in found.values() if isinstance(answer, Offer)]
    missing = {each: answer for each in partitions if not isinstance(answer := found[each], Offer)}
    seen = [*known, *(offer.partition for offer in offers), *(each for each in partitions if each.published_rows)]
    newest = max(seen, default=None)
    expected = {partition for partition in missing if newest and partition <= newest}
    overdue = dt.datetime.now(dt.UTC).date() - OVERDUE
    absent = [partition for partition in missing if partition in expected or partition.first_day < overdue]
    if absent and not offers:
        first, checked = missing[absent[0]], len(partitions)
        among = f"; none of the {checked} partitions checked can be read" if checked > 1 else ""
        raise type(first)(first.subject, first.reason + among)
    failures = {
        partition: answer
        for partition, answer in missing.items()
        if not isinstance(answer, NotPublished) and not (isinstance(answer, Forbidden) and partition not in expected)
    }
    return Checked(offers, failures)


async def _check_share(addresses: Sequence[tuple[Partition, str]], slot: Slot) -> dict[Partition, Offer | TaxiwayError]:
    """Check some of the partitions, one after the other, with one slot."""
    if not addresses:
        return {}
    try:
        async with slot():
            return {partition: await asyncio.to_thread(_check, partition, url) for partition, url in addresses}
    except TaxiwayError as failure:
        return {partition: failure for partition, _ in addresses}


def _check(partition: Partition, url: str) -> Offer | TaxiwayError:
    try:
        found = probe(url, policy=POLICY)
    except TaxiwayError as failure:
        return failure
    if found is None:
        return NotPublished(public(url), "does not exist")
    return Offer(partition, modified_at(found.last_modified), found.bytes, found.etag)


def offers_in_bucket(entries: Iterable[LedgerEntry], partitions: Iterable[Partition]) -> list[Offer]:
    """The partitions that the bucket has, as offers to BigQuery; the version is the bucket's load."""
    wanted = set(partitions)
    return [
        Offer(entry.partition, entry.finished, etag=entry.load_id or None)
        for entry in entries
        if entry.status == "loaded" and entry.partition in wanted
    ]


def modified_at(http_date: str | None) -> dt.datetime | None:
    """An HTTP date as a UTC datetime; None if it is not one."""
    try:
        found = parsedate_to_datetime(http_date) if http_date else None
    except ValueError:
        return None
    return found and found.replace(tzinfo=found.tzinfo or dt.UTC)
