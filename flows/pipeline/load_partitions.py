"""Load the partitions that are due, one after the other, up to a limit; one line is the result of the run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import partial
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.datasets.dataset import Dataset, Partition
from flows.errors import Refused
from flows.pipeline.due import Due, Found, due_on_the_web, requested
from flows.pipeline.load_partition import Fetch, PartitionResult, fetch_from_web, load_partition
from flows.pipeline.parameters import template
from flows.stores.store import Store

GIVE_UP = 3
"""The run ends after this many partitions in a row that failed because a source or a store could not be reached."""

NAMED = 20
"""A log line or a result names at most this many partitions."""


async def load_from_web(
    store: Store,
    dataset: Dataset,
    source_url: str | None,
    *,
    year: int | None,
    month: int | None,
    limit: int,
    force: bool,
    dry_run: bool,
) -> State[Any]:
    """Load a month from the web; without a month, what is due. The parameters are those of the flows."""
    source = template(dataset, source_url)
    try:
        found = requested(dataset, year, month) if month else await due_on_the_web(store, source, dataset, year)
    except ValueError as wrong:
        raise Refused(str(dataset), str(wrong)) from None

    fetch = partial(fetch_from_web, template=source)
    return await load_partitions(store, found, fetch, limit=limit, force=force, dry_run=dry_run)


async def load_partitions(
    store: Store, found: Found, fetch: Fetch, *, limit: int, force: bool, dry_run: bool
) -> State[Any]:
    """Load what is due, see `load_partition`, until `limit` partitions are loaded; failed and skipped ones are extra.

    The run's state is Completed or Failed, with one line about each partition. A dry run only lists what is due.
    """
    get_run_logger().info("due: %s", listed(found.due) or "nothing")
    if dry_run:
        return await _list(store, found, limit)
    results = [PartitionResult(partition, False, str(failure)) for partition, failure in found.failures.items()]
    tried = 0
    for due in found.due:
        if sum(result.loaded for result in results) == limit or _unreachable(results):
            break
        results.append(await load_partition(store, due, fetch, force=force))
        tried += 1
    return combined(results, nothing=_nothing(found), left=found.due[tried:])


def combined(results: Sequence[PartitionResult], *, nothing: str = "", left: Sequence[Due] = ()) -> State[Any]:
    """The state of a run from the results of its partitions: one line, which names each failed one and why.

    `nothing` is the message of a run without partitions, `left` what is due and was not tried.
    """
    failed = [str(result) for result in results if not result.completed]
    of_many = [f"{len(failed)} of {len(results)} partitions failed"] if failed and len(results) > 1 else []
    shown = failed or [str(result) for result in results]
    later = [f"left for later runs: {counted(left)}"] if left else []
    message = ": ".join([*of_many, "; ".join(shown[:NAMED] + more(len(shown)) + later) or nothing])
    return Failed(message=message) if failed else Completed(message=message)


def listed(partitions: Sequence[Due]) -> str:
    """The partitions by name and reason."""
    return ", ".join([*map(str, partitions[:NAMED]), *more(len(partitions))])


def counted(partitions: Iterable[Due]) -> str:
    """How many, and why: `12 (2 new, 10 contract changed)`."""
    reasons = Counter(due.reason for due in partitions)
    return f"{reasons.total()} ({', '.join(f'{count} {reason}' for reason, count in reasons.items())})"


def more(count: int) -> list[str]:
    """How many of `count` partitions are not named: a list of one text, or of none."""
    return [f"and {count - NAMED} more"] if count > NAMED else []


def _unreachable(results: Sequence[PartitionResult]) -> bool:
    return len(results) >= GIVE_UP and all(result.transient for result in results[-GIVE_UP:])


def _nothing(found: Found) -> str:
    if not found.waiting:
        return "nothing new: every published partition that was checked is loaded"
    waiting = [f"{entry.partition} ({entry.status})" for entry in found.waiting]
    shown = ", ".join([*waiting[:NAMED], *more(len(waiting))])
    return f"nothing new; not loaded until their sources change: {shown}"


async def _list(store: Store, found: Found, limit: int) -> State[Any]:
    """Show what is due on the run's page and in its state, and load nothing."""
    rows: list[tuple[Partition, str, str | None]] = [(due.partition, "due", due.reason) for due in found.due]
    rows += [(partition, "failed", failure.reason) for partition, failure in found.failures.items()]
    rows += [(entry.partition, entry.status, entry.message) for entry in found.waiting]
    table = [{"partition": str(partition), "state": state, "reason": reason} for partition, state, reason in rows]
    await acreate_table_artifact(table, key=f"{store.name}-due", description=f"What is due in {store.name}")
    failed = [str(PartitionResult(partition, False, str(failure))) for partition, failure in found.failures.items()]
    due = f"due are {counted(found.due)}, up to {limit} in a run: {listed(found.due)}" if found.due else _nothing(found)
    message = f"dry run, nothing is loaded: {'; '.join([due, *failed])}"
    return Failed(message=message) if failed else Completed(message=message)
