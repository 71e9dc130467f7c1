"""How a run loads the months that are due: as many as it may, whatever becomes of a single one, told in one line."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Iterable, Sequence
from typing import Any

from prefect import get_run_logger
from prefect.artifacts import acreate_table_artifact
from prefect.client.schemas.objects import State
from prefect.states import Completed, Failed

from flows.errors import TaxiwayError
from flows.pipeline.due import Due, Found
from flows.pipeline.load_partition import Bring, MonthEnd, Store, load_month

GIVE_UP = 3
"""So many months in a row that a source or a store could not be reached for end a run: the next one tries again."""

NAMED = 20
"""So many months are named in one line of a log or an end."""


async def load_months(
    name: str, store: Store, found: Awaitable[Found], bring: Bring, *, limit: int, force: bool, dry_run: bool
) -> State[Any]:
    """Load the months that are due, one after the other, each unless the ledger knows that very file already.

    A month that fails, or turns out unchanged, takes no other month's turn: `limit` months are really loaded.

    Args:
        name: the store's name in the table of rules: `postgres`, `bucket` or `warehouse`.
        store: where to.
        found: which, in the end.
        bring: puts a month's source file in a directory.
        limit: how many at most.
        force: load what the ledger knows as well.
        dry_run: only list what is due.

    Returns:
        The run's end: Completed or Failed, with one line that says what became of each month.
    """
    try:
        what = await found
    except (TaxiwayError, ValueError) as failure:
        return Failed(message=str(failure))
    get_run_logger().info("due: %s", listed(what.due) or "nothing")
    if dry_run:
        return await _list(name, what, limit)
    ends = [MonthEnd(month, False, str(failure)) for month, failure in what.failures.items()]
    tried = 0
    for due in what.due:
        if sum(end.loaded for end in ends) == limit or _unreachable(ends):
            break
        ends.append(await load_month(name, store, due, bring, force=force))
        tried += 1
    return ending(ends, nothing=_nothing(what), left=what.due[tried:])


def ending(ends: Sequence[MonthEnd], *, nothing: str = "", left: Sequence[Due] = ()) -> State[Any]:
    """The end of a run from the ends of its months: one line, which names every month that failed, and why.

    `nothing` is what a run without a month has to say, `left` what is due and was not tried.
    """
    failed = [str(end) for end in ends if not end.completed]
    of_many = [f"{len(failed)} of {len(ends)} months failed"] if failed and len(ends) > 1 else []
    shown = failed or [str(end) for end in ends]
    later = [f"left for later runs: {counted(left)}"] if left else []
    message = ": ".join([*of_many, "; ".join(shown[:NAMED] + more(len(shown)) + later) or nothing])
    return Failed(message=message) if failed else Completed(message=message)


def listed(months: Sequence[Due]) -> str:
    """The months by name and reason."""
    return ", ".join([*map(str, months[:NAMED]), *more(len(months))])


def counted(months: Iterable[Due]) -> str:
    """How many, and why: `12 (2 new, 10 contract changed)`."""
    reasons = Counter(due.reason for due in months)
    return f"{reasons.total()} ({', '.join(f'{count} {reason}' for reason, count in reasons.items())})"


def more(count: int) -> list[str]:
    """How many of `count` are not named, in a list that may be empty."""
    return [f"and {count - NAMED} more"] if count > NAMED else []


def _unreachable(ends: Sequence[MonthEnd]) -> bool:
    return len(ends) >= GIVE_UP and all(end.transient for end in ends[-GIVE_UP:])


def _nothing(what: Found) -> str:
    if not what.waiting:
        return "nothing new: every published month that was asked for is loaded"
    waiting = [f"{entry.of_month} ({entry.status})" for entry in what.waiting]
    shown = ", ".join([*waiting[:NAMED], *more(len(waiting))])
    return f"nothing new; not loaded until their sources change: {shown}"


async def _list(name: str, what: Found, limit: int) -> State[Any]:
    """Show what is due on the run's page and in its end, and load nothing."""
    rows = [(due.month, "due", due.reason) for due in what.due]
    rows += [(month, "failed", failure.reason) for month, failure in what.failures.items()]
    rows += [(entry.of_month, entry.status, entry.message) for entry in what.waiting]
    table = [{"month": str(month), "state": state, "reason": reason} for month, state, reason in rows]
    await acreate_table_artifact(table, key=f"{name}-due", description=f"What is due in the {name}")
    failed = [str(MonthEnd(month, False, str(failure))) for month, failure in what.failures.items()]
    due = f"due are {counted(what.due)}, up to {limit} in a run: {listed(what.due)}" if what.due else _nothing(what)
    message = f"dry run, nothing is loaded: {'; '.join([due, *failed])}"
    return Failed(message=message) if failed else Completed(message=message)
