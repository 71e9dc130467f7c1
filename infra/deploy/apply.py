"""Apply a plan to the server, action by action. After a failure the next plan has the actions that are left."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress

import httpx
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound

from infra.deploy.kinds import KINDS
from infra.deploy.lock import LockLost
from infra.deploy.model import Action, Verb
from infra.deploy.object_kind import NotOurs, Server
from infra.deploy.plan import changing
from infra.deploy.record import Record
from infra.server import reason


class Stopped(Exception):
    """A deploy that could not be finished.

    Attributes:
        done: the actions that were applied before.
        failed: the action that failed; it may be applied in part.
    """

    def __init__(self, done: Sequence[Action], failed: Action, wrong: Exception) -> None:
        self.done, self.failed = list(done), failed
        applied = "; ".join(map(str, done)) or "nothing"
        super().__init__(f"stopped at {failed}: {reason(wrong)}. Applied before it: {applied}. Run it again to finish.")


async def apply_actions(
    client: PrefectClient,
    actions: Sequence[Action],
    record: Record,
    *,
    before_each: Callable[[], None] = lambda: None,
    on_done: Callable[[Action], None] = lambda action: None,
) -> list[Action]:
    """Apply the actions that change something, in their order.

    Args:
        client: the server's client.
        actions: a whole plan, with the unchanged objects to which others refer.
        record: the record on this server; it is updated with each action.
        before_each: called before each action; it raises to stop.
        on_done: called with each action after it is applied.

    Returns:
        The applied actions.

    Raises:
        Stopped: an action failed, or `before_each` raised.
    """
    server = Server(client, actions)
    for kind in KINDS.values():
        kind.prepare([action for action in actions if action.kind == kind.name and action.desired])
    done: list[Action] = []
    for action in changing(actions):
        try:
            before_each()
            await record.before_action(action)
            record.after_action(action, await _apply_one(server, action))
        except asyncio.CancelledError:  # a Ctrl-C
            with suppress(httpx.HTTPError):
                await record.write()
            raise
        except Exception as wrong:
            if _refused(wrong):
                record.not_created(action)
            # After a lost lock another deploy writes the record. If there is no record, writing it has just failed.
            if record.exists and not isinstance(wrong, LockLost):
                with suppress(httpx.HTTPError):
                    await record.write()
            raise Stopped(done, action, wrong) from wrong
        done.append(action)
        on_done(action)
    return done


def _refused(wrong: Exception) -> bool:
    """Whether it is certain that the server did not create the object. Without an answer it may have."""
    if isinstance(wrong, httpx.HTTPStatusError):
        return wrong.response.is_client_error
    return isinstance(wrong, (NotOurs, ObjectAlreadyExists))


async def _apply_one(server: Server, action: Action) -> str:
    """Apply one action. Returns the object's id, empty for one that was deleted already."""
    try:
        created = await KINDS[action.kind].write(server, action)
    except (ObjectNotFound, httpx.HTTPStatusError) as wrong:
        missing = isinstance(wrong, ObjectNotFound) or wrong.response.status_code == httpx.codes.NOT_FOUND
        if not (action.verb is Verb.DELETE and missing):
            raise
        created = None
    if created:
        server.ids[action.kind, action.name] = str(created)
    return str(created or (action.actual.id if action.actual else ""))
