"""How every pipeline loads a month: bring its file, skip it if it is known, clean it into a store, report on it.

The pipelines name the source and the store; retries, the spool and the ledger's question are here.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Protocol, get_args

from prefect import get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run
from prefect_gcp import GcsBucket

from flows.datasets.cleaning import Cleaning
from flows.datasets.partition import Month
from flows.datasets.rule import RULES_OF
from flows.datasets.source_address import source_url
from flows.datasets.version import contract_version
from flows.errors import NotPublished, Refused, SourceUnavailable, TaxiwayError, TransientError
from flows.pipeline.download_slot import download_slot
from flows.pipeline.due import Due, Reason
from flows.pipeline.offers import modified_at
from flows.reading.download import fetch
from flows.stores.bucket import BucketStore
from flows.stores.ledger import LedgerEntry, LoadSource, Status, unchanged
from infra.settings import settings

RETRIES = [2, 10, 60]


class Store(Protocol):
    """What a month is loaded into."""

    def entry(self, month: Month, status: Status = "loaded") -> LedgerEntry | None:
        """The ledger's entry of the month and status."""

    def record(self, entry: LedgerEntry) -> None:
        """Write the entry without touching any row of data."""

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path) -> LedgerEntry:
        """Put the month in the place of what was there, whole or not at all."""


def bucket_store(block: GcsBucket) -> BucketStore:
    """The store in the block's bucket and folder. Nothing is asked of Google yet, as `get_bucket` would."""
    client = block.gcp_credentials.get_cloud_storage_client()
    return BucketStore(client.bucket(block.bucket, user_project=settings().user_project), block.bucket_folder)


# A month's file on local disk and where it came from, given the directory to put it in.
Bring = Callable[[Month, Path], Awaitable[tuple[Path, LoadSource]]]


async def worth_a_retry(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether another try can help: after a transient error alone."""
    return isinstance(await state.aresult(raise_on_failure=False), TransientError)


# A replaced month may be replaced again, so every one of these tasks may be tried again.
month_task = partial(
    task,
    retries=len(RETRIES),
    retry_delay_seconds=RETRIES,
    retry_condition_fn=worth_a_retry,
    persist_result=False,
)


# A download tries again by itself, and goes on where it ended: a task that tries again would begin anew.
@task(task_run_name="fetch {month}", persist_result=False)
async def fetch_month(month: Month, template: str, directory: Path) -> tuple[Path, LoadSource]:
    """Download the month's file into the directory. Gives its path, and the source as the ledger records it.

    Raises:
        NotPublished: the source does not have the month.
        Refused: the template is wrong, or the source cannot be asked for.
        SourceUnavailable: the source cannot be read now.
    """
    started = dt.datetime.now(dt.UTC)
    try:
        url = source_url(template, month)
    except ValueError as wrong:
        raise Refused(str(month), str(wrong)) from None
    async with download_slot():
        spooled = await asyncio.to_thread(fetch, url, directory)
    get_run_logger().info("%s: %s, %.1f MB", month, spooled.url, spooled.bytes / 1e6)
    return spooled.path, LoadSource(
        spooled.url,
        f"sha256:{spooled.sha256}",
        spooled.bytes,
        flow_run_id=flow_run.get_id(),
        started=started,
        etag=spooled.etag,
        modified=modified_at(spooled.last_modified),
    )


def fetcher(template: str) -> Bring:
    """Brings months from the addresses that the template makes."""
    return lambda month, directory: fetch_month(month, template, directory)


@month_task(task_run_name="load {month}")
async def load_file(store: Store, rules: str, month: Month, file: Path, source: LoadSource) -> LedgerEntry:
    """Clean the file by the named rules and put the month in the store. Gives the ledger's new row."""
    rejected = file.with_name(f"{month.stem}.rejected.parquet")
    with local_disk(month):
        cleaning = Cleaning(file, month, RULES_OF[rules], rejected, subject=source.url)
        return await asyncio.to_thread(store.replace, cleaning, source, work_dir=file.parent)


@contextmanager
def local_disk(month: Month) -> Iterator[None]:
    """Raise SourceUnavailable where the disk fails that the month's files are on: a full one may have room later."""
    try:
        yield
    except OSError as error:  # sources and stores have errors of their own
        raise SourceUnavailable(str(month), f"failed on the local disk: {error}") from None


@dataclass(frozen=True)
class MonthEnd:
    """What became of a month, in one line.

    Attributes:
        month: the month.
        completed: whether it is as it should be.
        message: what became of it, or why it failed.
        loaded: whether it was loaded now.
        transient: whether it failed for a reason that may go away by itself.
    """

    month: Month
    completed: bool
    message: str
    loaded: bool = False
    transient: bool = False

    def __str__(self) -> str:
        start = f"{self.month}: "
        return self.message if self.message.startswith(start) else start + self.message


async def load_month(name: str, store: Store, due: Due, bring: Bring, *, force: bool) -> MonthEnd:
    """Bring a month and load it, unless the ledger knows that very file already. Nothing is raised.

    Args:
        name: the store's name in the table of rules: `postgres`, `bucket` or `warehouse`.
        store: where to.
        due: which month.
        bring: puts a month's source file in a directory.
        force: load it even if the ledger knows it.
    """
    month = due.month
    try:
        spool = settings().spool_dir
        with local_disk(month), tempfile.TemporaryDirectory(dir=spool, prefix="taxiway-") as directory:
            file, source = await _brought(name, store, due, bring, Path(directory))
            known = None if force else await asyncio.to_thread(_known, name, store, month, source)
            if known:
                return await _seen_again(store, known, source, due)
            try:
                entry = await load_file(store, name, month, file, _as_offered(source, due))
            except Refused as refused:
                await asyncio.to_thread(store.record, _refusal(name, month, source, refused))
                raise
        await report(name, entry)
        if entry.status == "blocked":
            return MonthEnd(month, False, f"{_kept_aside(entry)}; what was there before stays")
    except TaxiwayError as failure:
        return MonthEnd(month, False, str(failure), transient=isinstance(failure, TransientError))
    except Exception as fault:
        get_run_logger().exception("%s: an unexpected error", month)
        return MonthEnd(month, False, " ".join(f"unexpected {type(fault).__name__}: {fault}".split())[:500])
    counts = f"{entry.rows_read} rows read, {entry.rows_loaded} loaded, {entry.rows_rejected} rejected"
    again = f" ({due.reason})" if due.reason in (Reason.SOURCE, Reason.CONTRACT) else ""
    return MonthEnd(month, True, counts + again, loaded=True)


async def _brought(name: str, store: Store, due: Due, bring: Bring, directory: Path) -> tuple[Path, LoadSource]:
    """The month's file and its source. One that the contract alone made due, and that is gone, is noted as refused."""
    try:
        return await bring(due.month, directory)
    except NotPublished as missing:
        # Of the ledger, and no longer at the source: without a note it would be due for ever.
        if due.reason is Reason.CONTRACT:
            source = LoadSource(missing.subject, "", 0, flow_run_id=flow_run.get_id())
            await asyncio.to_thread(store.record, _refusal(name, due.month, source, missing))
        raise


def _as_offered(source: LoadSource, due: Due) -> LoadSource:
    """The source under the version that was offered, with which the next run compares, unless another version came.

    A cache on the way may still answer with an older version: the month is due again then. Not for a refused source:
    what was offered is good, perhaps, and what came is a page of a proxy on the way.
    """
    offer = due.offer
    if offer is None or (offer.modified and source.modified and offer.modified != source.modified):
        return source
    return replace(source, etag=offer.etag, modified=offer.modified)


def _known(name: str, store: Store, month: Month, source: LoadSource) -> LedgerEntry | None:
    """The entry that says what became of these bytes under this contract; None if there is none."""
    contract = contract_version(month.service, name)
    entries = (store.entry(month, status) for status in get_args(Status))
    return next((entry for entry in entries if unchanged(entry, source, contract)), None)


async def _seen_again(store: Store, entry: LedgerEntry, source: LoadSource, due: Due) -> MonthEnd:
    """Note that the source has another version of the same bytes: the month ends as it did before."""
    seen = source if entry.status == "refused" else _as_offered(source, due)
    again = replace(entry, source_etag=seen.etag, source_modified=seen.modified)
    if again != entry:
        await asyncio.to_thread(store.record, again)
    since = f"unchanged since {entry.finished:%F %T} UTC, skipped"
    if entry.status == "loaded":
        return MonthEnd(entry.of_month, True, since)
    why = _kept_aside(entry) if entry.status == "blocked" else str(entry.message)
    return MonthEnd(entry.of_month, False, f"{why}; {since}")


def _refusal(name: str, month: Month, source: LoadSource, refused: Refused) -> LedgerEntry:
    """The entry of a source that is not loaded."""
    return LedgerEntry(
        service=str(month.service),
        month=month.label,
        status="refused",
        source=source.url,
        checksum=source.checksum,
        bytes=source.bytes,
        rows_read=0,
        rows_loaded=0,
        rows_rejected=0,
        reasons={},
        contract_version=contract_version(month.service, name),
        checks=[],
        started=source.started,
        finished=dt.datetime.now(dt.UTC),
        flow_run_id=source.flow_run_id,
        source_etag=source.etag,
        source_modified=source.modified,
        message=str(refused),
    )


def _kept_aside(entry: LedgerEntry) -> str:
    blocking = [check["name"] for check in entry.checks if check["action"] == "block" and not check["passed"]]
    return f"kept aside by {', '.join(blocking)}"


async def report(name: str, entry: LedgerEntry) -> None:
    """Show what became of the month's rows on the run's page: counts, reasons, and checks that did not pass."""
    rows = [{"what": "read", "rows": entry.rows_read}, {"what": "loaded", "rows": entry.rows_loaded}]
    rows += [{"what": f"rejected: {reason}", "rows": count} for reason, count in sorted(entry.reasons.items())]
    rows += [
        {"what": f"check {check['action']}: {check['name']}", "rows": check["value"]}
        for check in entry.checks
        if not check["passed"]
    ]
    await acreate_table_artifact(
        rows, key=f"{name}-{entry.service}-{entry.month}", description=f"{entry.service} {entry.month} in the {name}"
    )
    get_run_logger().info(
        "%s %s: %d rows read = %d loaded + %d rejected",
        entry.service,
        entry.month,
        entry.rows_read,
        entry.rows_loaded,
        entry.rows_rejected,
    )
