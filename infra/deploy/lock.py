"""One deploy at a time: a Prefect variable is the lock.

Creating a variable fails if one of that name exists, and deleting it by id fails if it has been replaced; so two
deploys never hold it together. The holder changes its value every few seconds. A deploy that was killed does not, and a
waiting one takes the lock over; it measures the time with its own clock, so that clocks need not agree.

Prefect's own concurrency limits do not do: they lease a slot for 60 seconds at least, which the next deploy after a
killed one would have to wait for, and do not say who holds it.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import getpass
import os
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import httpx
from prefect.client.orchestration import PrefectClient

CONFLICT, GONE = httpx.codes.CONFLICT, httpx.codes.NOT_FOUND


class Locked(Exception):
    """Another deploy is at work, or the lock's name is taken; the message says by whom. Nothing was changed."""


class LockLost(Exception):
    """Another deploy took the lock over, because this one was silent for too long."""


@dataclass(frozen=True)
class Pace:
    """How long things take, in seconds.

    Attributes:
        renew: between two signs of life of the holder.
        silent: without a sign of life for this long, a holder is taken for dead.
        patience: how long a second deploy waits for a live one.
        poll: how often it looks.
    """

    renew: float = 5.0
    silent: float = 20.0
    patience: float = 60.0
    poll: float = 0.5


class Lock:
    """The lock while it is held. `check()` raises LockLost once it is not."""

    def __init__(self, client: PrefectClient, variable_id: str, holder: dict[str, Any]) -> None:
        self._client, self._id, self._holder = client, variable_id, holder
        self._lost = False

    def check(self) -> None:
        """Raises LockLost where another deploy has taken over."""
        if self._lost:
            raise LockLost("another deploy took over because this one was silent for too long; run it again")

    async def renew_every(self, seconds: float) -> None:
        """Give signs of life until cancelled, or until the lock is lost."""
        for beat in range(1, 1_000_000):
            await asyncio.sleep(seconds)
            value = self._holder | {"beat": beat}
            try:
                await self._client.request(
                    "PATCH", "/variables/{id}", path_params={"id": self._id}, json={"value": value}
                )
            except httpx.HTTPStatusError as refused:
                if refused.response.status_code == GONE:
                    self._lost = True
                    return
            except httpx.HTTPError:
                continue  # the next one may get through before anyone takes us for dead

    async def release(self) -> None:
        """Let go; if the server cannot be told, the next deploy waits until it takes us for dead."""
        with suppress(httpx.HTTPError):
            await self._client.request("DELETE", "/variables/{id}", path_params={"id": self._id})


@asynccontextmanager
async def deploy_lock(client: PrefectClient, tag: str, pace: Pace | None = None) -> AsyncIterator[Lock]:
    """Hold the lock of everything that carries the tag. Raises Locked after waiting for `pace.patience` seconds."""
    pace = pace or Pace()
    lock = await _take(client, lock_name(tag), pace)
    renewing = asyncio.create_task(lock.renew_every(pace.renew))
    try:
        yield lock
    finally:
        renewing.cancel()
        await asyncio.shield(lock.release())


def lock_name(tag: str) -> str:
    """The variable's name."""
    return f"{tag.replace('-', '_').lower()}_deploy_lock"


async def _take(client: PrefectClient, name: str, pace: Pace) -> Lock:
    holder = {
        "holder": f"{getpass.getuser()}@{socket.gethostname()} (pid {os.getpid()})",
        "since": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "beat": 0,
    }
    started = changed = time.monotonic()
    seen: Any = None
    alive = False
    while True:
        variable_id = await _create(client, name, holder)
        if variable_id is not None:
            return Lock(client, variable_id, holder)
        other = await client.read_variable_by_name(name)
        now = time.monotonic()
        if other is None:
            continue  # it has just let go
        if not _is_lock(other.value):
            raise Locked(f"the variable {name} is not a lock of ours; rename or delete it. Nothing was changed")
        if (other.id, other.value) != seen:
            alive = seen is not None
            seen, changed = (other.id, other.value), now
        elif now - changed > pace.silent:
            with suppress(httpx.HTTPStatusError):  # another waiting deploy was quicker
                await client.request("DELETE", "/variables/{id}", path_params={"id": other.id})
            continue
        if alive and now - started > pace.patience:
            raise Locked(f"another deploy is at work: {_described(other.value)}; nothing was changed")
        await asyncio.sleep(pace.poll)


async def _create(client: PrefectClient, name: str, holder: dict[str, Any]) -> str | None:
    """The new variable's id, None where there is one already."""
    try:
        response = await client.request("POST", "/variables/", json={"name": name, "value": holder, "tags": []})
    except httpx.HTTPStatusError as refused:
        if refused.response.status_code == CONFLICT:
            return None
        raise
    return response.json()["id"]


def _is_lock(value: Any) -> bool:
    """Whether a deploy has written the value; one that a person made is never deleted."""
    return isinstance(value, dict) and value.keys() == {"holder", "since", "beat"}


def _described(value: Any) -> str:
    return f"{value['holder']} since {value['since']}"
