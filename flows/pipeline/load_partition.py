"""Load one partition: download its file, skip it if it is already loaded, load it into a store, report the result."""

from __future__ import annotations

import asyncio
import datetime as dt
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar, get_args

from prefect import get_run_logger, task
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.runtime import flow_run

from flows.datasets.cleaning import Cleaning
from flows.datasets.dataset import Partition
from flows.datasets.outcome import Outcome
from flows.datasets.version import contract_version
from flows.errors import NotPublished, Refused, SourceUnavailable, TaxiwayError, TransientError
from flows.pipeline.download_slot import download_slot
from flows.pipeline.due import Due, Reason
from flows.pipeline.offers import modified_at
from flows.reading.download import fetch
from flows.stores.ledger import LedgerEntry, LoadSource, Status, unchanged
from flows.stores.store import Store
from infra.settings import settings

RETRIES: list[float] = [2, 10, 60]

P = ParamSpec("P")
R = TypeVar("R")


# Puts a partition's file in a folder. Returns its path, and the source for the ledger.
Fetch = Callable[[Partition, Path], Awaitable[tuple[Path, LoadSource]]]


async def is_transient(_task: Any, _run: Any, state: State[Any]) -> bool:
    """Whether a task failed with a transient error, so that a retry can help."""
    return isinstance(await state.aresult(raise_on_failure=False), TransientError)


def partition_task(run_name: str) -> Callable[[Callable[P, Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Make a function a task with retries, which are safe: loading a partition again replaces it."""
    return task(
        task_run_name=run_name,
        retries=len(RETRIES),
        retry_delay_seconds=RETRIES,
        retry_condition_fn=is_transient,
        persist_result=False,
    )


# No retries: `fetch` retries and resumes a download, and a retried task would start from the beginning.
@task(task_run_name="fetch {partition}", persist_result=False)
async def fetch_from_web(partition: Partition, directory: Path, template: str) -> tuple[Path, LoadSource]:
    """Download the partition's file into the folder, see `Fetch`. Raises as `fetch` does."""
    started = dt.datetime.now(dt.UTC)
    try:
        url = partition.url(template)
    except ValueError as wrong:
        raise Refused(str(partition), str(wrong)) from None
    async with download_slot():
        spooled = await asyncio.to_thread(fetch, url, directory)
    get_run_logger().info("%s: %s, %.1f MB", partition, spooled.url, spooled.bytes / 1e6)
    return spooled.path, LoadSource(
        spooled.url,
        f"sha256:{spooled.sha256}",
        spooled.bytes,
        flow_run_id=flow_run.get_id(),
        started=started,
        etag=spooled.etag,
        modified=modified_at(spooled.last_modified),
    )


@partition_task("load {partition}")
async def load_file(store: Store, partition: Partition, file: Path, source: LoadSource) -> Outcome:
    """Replace the partition's rows in the store by those of the file."""
    rejected = file.with_name(f"{partition.stem}.rejected.parquet")
    rules = partition.dataset.rules.get(store.name, ())
    with local_disk(partition):
        cleaning = Cleaning(file, partition, rules, rejected, subject=source.url)
        return await asyncio.to_thread(store.replace, cleaning, source, work_dir=file.parent)


@contextmanager
def local_disk(partition: Partition) -> Iterator[None]:
    """Raise an error of the local disk as SourceUnavailable: a full disk may have room later."""
    try:
        yield
    except OSError as error:  # sources and stores raise a TaxiwayError
        raise SourceUnavailable(str(partition), f"failed on the local disk: {error}") from None


@dataclass(frozen=True)
class PartitionResult:
    """How the load of a partition ended, with one line about it; `loaded` is false if it was skipped."""

    partition: Partition
    completed: bool
    message: str
    loaded: bool = False
    transient: bool = False

    def __str__(self) -> str:
        start = f"{self.partition}: "
        return self.message if self.message.startswith(start) else start + self.message


async def load_partition(store: Store, due: Due, fetch: Fetch, *, force: bool) -> PartitionResult:
    """Fetch a partition and load it; without `force`, only if the ledger does not have that file. Never raises."""
    partition = due.partition
    try:
        spool = settings().spool_dir
        with local_disk(partition), tempfile.TemporaryDirectory(dir=spool, prefix="taxiway-") as directory:
            file, source = await _fetched(store, due, fetch, Path(directory))
            known = None if force else await asyncio.to_thread(_known, store, partition, source)
            if known:
                return await _record_seen_again(store, known, source, due)
            try:
                outcome = await load_file(store, partition, file, _as_offered(source, due))
            except Refused as refused:
                await asyncio.to_thread(store.record, _refused_entry(store, partition, source, refused))
                raise
        await report(store, partition, outcome)
    except TaxiwayError as failure:
        return PartitionResult(partition, False, str(failure), transient=isinstance(failure, TransientError))
    except Exception as fault:
        get_run_logger().exception("%s: an unexpected error", partition)
        message = " ".join(f"unexpected {type(fault).__name__}: {fault}".split())[:500]
        return PartitionResult(partition, False, message)
    if outcome.blocking:
        return PartitionResult(partition, False, _blocked_by(outcome.blocking))
    counts = f"{outcome.rows_read} rows read, {outcome.rows_loaded} loaded, {outcome.rows_rejected} rejected"
    again = f" ({due.reason})" if due.reason in (Reason.SOURCE, Reason.CONTRACT) else ""
    return PartitionResult(partition, True, counts + again, loaded=True)


async def _fetched(store: Store, due: Due, fetch: Fetch, directory: Path) -> tuple[Path, LoadSource]:
    """The partition's file and its source. Records a source that no longer has a partition of the ledger as refused."""
    try:
        return await fetch(due.partition, directory)
    except NotPublished as missing:
        # Without an entry under this contract it would be due in every run.
        if due.reason is Reason.CONTRACT:
            source = LoadSource(missing.subject, "", 0, flow_run_id=flow_run.get_id())
            await asyncio.to_thread(store.record, _refused_entry(store, due.partition, source, missing))
        raise


def _as_offered(source: LoadSource, due: Due) -> LoadSource:
    """The source with the version that was offered, which the next run compares, unless another version was received.

    A cache may still serve an older version: then the partition is due again. This does not apply to a refused source:
    the offered file may be valid, and the received one the error page of a proxy.
    """
    offer = due.offer
    if offer is None or (offer.modified and source.modified and offer.modified != source.modified):
        return source
    return replace(source, etag=offer.etag, modified=offer.modified)


def _known(store: Store, partition: Partition, source: LoadSource) -> LedgerEntry | None:
    """The entry of these bytes under this contract, if there is one."""
    contract = contract_version(partition.dataset, store.name)
    entries = (store.entry(partition, status) for status in get_args(Status))
    return next((entry for entry in entries if unchanged(entry, source, contract)), None)


async def _record_seen_again(store: Store, entry: LedgerEntry, source: LoadSource, due: Due) -> PartitionResult:
    """Record the source's new version of the same bytes. The result is that of the earlier load."""
    seen = source if entry.status == "refused" else _as_offered(source, due)
    again = replace(entry, source_etag=seen.etag, source_modified=seen.modified)
    if again != entry:
        await asyncio.to_thread(store.record, again)
    since = f"unchanged since {entry.finished:%F %T} UTC, skipped"
    if entry.status == "loaded":
        return PartitionResult(entry.partition, True, since)
    blocking = [check["name"] for check in entry.checks if check["action"] == "block" and not check["passed"]]
    reason = _blocked_by(blocking) if entry.status == "blocked" else str(entry.message)
    return PartitionResult(entry.partition, False, f"{reason}; {since}")


def _refused_entry(store: Store, partition: Partition, source: LoadSource, refused: Refused) -> LedgerEntry:
    """The ledger entry of a source that is not loaded."""
    no_rows = Outcome(0, 0, {}, (), contract_version(partition.dataset, store.name))
    return replace(LedgerEntry.of(partition, no_rows, source, load_id=""), status="refused", message=str(refused))


def _blocked_by(checks: Iterable[str]) -> str:
    return f"blocked by {', '.join(checks)}; existing data unchanged"


async def report(store: Store, partition: Partition, outcome: Outcome) -> None:
    """Show the outcome on the run's page: counts, reasons, and checks that failed."""
    rows = [{"what": "read", "rows": outcome.rows_read}, {"what": "loaded", "rows": outcome.rows_loaded}]
    rows += [{"what": f"rejected: {reason}", "rows": count} for reason, count in sorted(outcome.reasons.items())]
    rows += [
        {"what": f"check {check.action}: {check.name}", "rows": check.value}
        for check in outcome.checks
        if not check.passed
    ]
    key = f"{store.name}-{partition}".replace(" ", "-").lower()
    await acreate_table_artifact(rows, key=key, description=f"{partition} in {store.name}")
    counts = f"{outcome.rows_read} rows read = {outcome.rows_loaded} loaded + {outcome.rows_rejected} rejected"
    get_run_logger().info("%s: %s", partition, counts)
