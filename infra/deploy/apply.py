"""Carrying a plan out on the server, action by action. What a failure leaves undone, the next run's plan has again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from infra.deploy.kinds import KINDS
from infra.deploy.kinds.context import NotOurs, Server
from infra.deploy.lock import LockLost
from infra.deploy.model import Action, Verb
from infra.deploy.plan import changing
from infra.deploy.record import Record
from infra.server import reason


class Stopped(Exception):
    """A deploy that could not be finished.

    Attributes:
        done: what was carried out before.
        failed: what was not, or not wholly.
    """

    def __init__(self, done: Sequence[Action], failed: Action, wrong: Exception) -> None:
        self.done, self.failed = list(done), failed
        applied = "; ".join(map(str, done)) or "nothing"
        super().__init__(f"stopped at {failed}: {reason(wrong)}. Applied before it: {applied}. Run it again to finish.")


async def carry_out(
    client: PrefectClient,
    actions: Sequence[Action],
    record: Record,
    *,
    before_each: Callable[[], None] = lambda: None,
    on_done: Callable[[Action], None] = lambda action: None,
) -> list[Action]:
    """Carry out the actions that change something, in their order.

    Args:
        client: the server's.
        actions: a whole plan; what is unchanged or kept in it is not touched, but others may refer to it.
        record: what is ours on this server; kept up to date, so that it is right wherever this stops.
        before_each: may raise to stop before the next action.
        on_done: told each action after it is done.

    Returns:
        What was done.

    Raises:
        Stopped: an action failed, or `before_each` raised.
    """
    server = Server(client, actions)
    for kind in KINDS.values():
        kind.prepare([action for action in actions if action.kind is kind.kind])
    done: list[Action] = []
    for action in changing(actions):
        try:
            before_each()
            await record.before(action)
            record.after(action, await _carry_out(server, action))
        except asyncio.CancelledError:  # a Ctrl-C
            with suppress(httpx.HTTPError):
                await record.write()
            raise
        except Exception as wrong:
            if _refused(wrong):
                record.refused(action)
            # After a lost lock the record is another deploy's to write; if there is none, writing it has just failed.
            if record.exists and not isinstance(wrong, LockLost):
                with suppress(httpx.HTTPError):
                    await record.write()
            raise Stopped(done, action, wrong) from wrong
        done.append(action)
        on_done(action)
    return done


def _refused(wrong: Exception) -> bool:
    """Whether the server has certainly not created what it was asked for; without an answer it may have."""
    if isinstance(wrong, httpx.HTTPStatusError):
        return wrong.response.is_client_error
    return isinstance(wrong, (NotOurs, ObjectAlreadyExists))


async def _carry_out(server: Server, action: Action) -> str:
    """Carry out one action. Returns the object's id, empty for one that is gone."""
    try:
        created = await KINDS[action.kind].write(server, action)
    except (ObjectNotFound, httpx.HTTPStatusError) as wrong:
        gone = isinstance(wrong, ObjectNotFound) or wrong.response.status_code == httpx.codes.NOT_FOUND
        if not (action.verb is Verb.DELETE and gone):
            raise
        created = None
    return str(created or (action.actual.id if action.actual else ""))
