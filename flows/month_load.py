"""How every pipeline loads a month: bring its file, skip it if unchanged, clean it into a store, tell what it became.

The pipelines name the source and the store; retries, the spool, the ledger's question and the run's report are here.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Protocol

from prefect import get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.concurrency.asyncio import concurrency
from prefect.runtime import flow_run
from prefect.states import Completed, Failed
from prefect_gcp import GcsBucket

from flows.errors import Refused, StoreFailed
from flows.stores.bucket import BucketStore
from flows.stores.ledger import LedgerEntry, LoadSource, unchanged
from flows.trips.catalog import source_url
from flows.trips.clean import Cleaning
from flows.trips.download import fetch
from flows.trips.month import Month
from flows.trips.rules import RULES_OF
from flows.trips.version import contract_version
from infra.settings import settings

RETRIES = [2, 10, 60]


class Store(Protocol):
    """What a month is loaded into."""

    def entry(self, month: Month) -> LedgerEntry | None:
        """The ledger's row of the month."""

    def replace(self, cleaning: Cleaning, source: LoadSource, *, work_dir: Path) -> LedgerEntry:
        """Put the month in the place of what was there, whole or not at all."""


def bucket_store(block: GcsBucket) -> BucketStore:
    """The store in the block's bucket. Nothing is asked of Google yet, as `get_bucket` would."""
    return BucketStore(block.gcp_credentials.get_cloud_storage_client().bucket(block.bucket))


# A month's file on local disk and where it came from, given the directory to put it in.
Bring = Callable[[Month, Path], Awaitable[tuple[Path, LoadSource]]]


async def worth_a_retry(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether another try can help: not where a source was refused, which it would be again."""
    try:
        await state.aresult()
    except Refused:
        return False
    except Exception:
        return True
    return False


# A replaced month may be replaced again, so every one of these tasks may be tried again.
month_task = partial(
    task,
    retries=len(RETRIES),
    retry_delay_seconds=RETRIES,
    retry_condition_fn=worth_a_retry,
    persist_result=False,
)


@month_task(task_run_name="fetch {month}")
async def fetch_month(month: Month, template: str, directory: Path) -> tuple[Path, LoadSource]:
    """Download the month's file into the directory. Gives its path, and the source as the ledger records it.

    Raises:
        NotPublished: the source does not have the month.
        Refused: the template is wrong, what came is not a data file, or the server cannot be reached.
    """
    started = dt.datetime.now(dt.UTC)
    try:
        url = source_url(template, month)
    except ValueError as wrong:
        raise Refused(template, str(wrong)) from None
    # TLC's server answers 403 to who asks too often: the limit holds over all runs, and is created by the deploy.
    async with concurrency(settings().downloads_limit):
        spooled = await asyncio.to_thread(fetch, url, directory)
    get_run_logger().info("%s: %s, %.1f MB", month, spooled.url, spooled.bytes / 1e6)
    return spooled.path, LoadSource(
        spooled.url, f"sha256:{spooled.sha256}", spooled.bytes, flow_run_id=flow_run.get_id(), started=started
    )


def fetcher(template: str) -> Bring:
    """Brings months from the addresses that the template makes."""
    return lambda month, directory: fetch_month(month, template, directory)


@month_task(task_run_name="load {month}")
async def load_file(store: Store, rules: str, month: Month, file: Path, source: LoadSource) -> LedgerEntry:
    """Clean the file by the named rules and put the month in the store. Gives the ledger's new row."""
    rejected = file.with_name(f"{month.stem}.rejected.parquet")
    cleaning = Cleaning(file, month, RULES_OF[rules], rejected, subject=source.url)
    return await asyncio.to_thread(store.replace, cleaning, source, work_dir=file.parent)


async def load_months(
    name: str, store: Store, due: Awaitable[Sequence[Month]], bring: Bring, *, force: bool
) -> State[Any]:
    """Load months into a store, one after the other, each unless the ledger says that it holds that very file already.

    Args:
        name: the store's name in the table of rules: `postgres`, `bucket` or `warehouse`.
        store: where to.
        due: which, in the end.
        bring: puts a month's source file in a directory.
        force: load it even if it has not changed.

    Returns:
        The run's end: Completed or Failed, with one line that says what became of each month.
    """
    try:
        months = await due
    except (Refused, StoreFailed, ValueError) as failure:
        return Failed(message=str(failure))
    if not months:
        return Completed(message="nothing new: every published month that was asked for is loaded")
    return ending(months, [await load_month(name, store, month, bring, force=force) for month in months])


async def load_month(name: str, store: Store, month: Month, bring: Bring, *, force: bool) -> State[Any]:
    """Load one month as `load_months` does."""
    try:
        with tempfile.TemporaryDirectory(dir=settings().spool_dir, prefix="taxiway-") as directory:
            file, source = await bring(month, Path(directory))
            entry = await asyncio.to_thread(store.entry, month)
            if entry and not force and unchanged(entry, source, contract_version(month.service, name)):
                return Completed(message=f"unchanged since {entry.finished:%F %T} UTC, skipped")
            entry = await load_file(store, name, month, file, source)
    except (Refused, StoreFailed) as failure:
        return Failed(message=str(failure))
    await report(name, entry)
    if entry.status == "blocked":
        blocking = [check["name"] for check in entry.checks if check["action"] == "block" and not check["passed"]]
        return Failed(message=f"kept aside by {', '.join(blocking)}; what was there before stays")
    counts = f"{entry.rows_read} rows read, {entry.rows_loaded} loaded, {entry.rows_rejected} rejected"
    return Completed(message=counts)


def ending(months: Sequence[Month], states: Sequence[State[Any]]) -> State[Any]:
    """The end of the whole from the ends of its months: one line that names every month that failed, and why."""
    ends = [(state.is_completed(), named(month, state.message)) for month, state in zip(months, states, strict=True)]
    failed = [message for completed, message in ends if not completed]
    if not failed:
        return Completed(message="; ".join(message for _, message in ends))
    of_many = f"{len(failed)} of {len(months)} months failed: " if len(months) > 1 else ""
    return Failed(message=of_many + "; ".join(failed))


def named(month: Month, message: str | None) -> str:
    """The message of a month's end, the month first, once."""
    return str(message) if str(message).startswith(f"{month}: ") else f"{month}: {message}"


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
