"""`make agent`: a worker in the foreground that runs each flow run of the pool in its own container.

After Ctrl-C it takes no new runs and waits for the current ones. After a second Ctrl-C, or SIGTERM, it also stops the
containers, which reschedule their runs. If the agent is killed, the next one watches its runs.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import os
import signal
import socket
import sys
import tempfile
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
from docker.client import DockerClient
from docker.errors import DockerException
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL

from infra.docker_worker import ContainerWorker
from infra.server import ends_in_one_line, require_server
from infra.settings import Settings, settings
from infra.work_pool import declared_pool

POLL_SECONDS = 1.0
# The longest pause between two attempts after errors.
MAX_PAUSE_SECONDS = 30.0


class AgentFailed(RuntimeError):
    """The agent cannot start; the message is one clear line."""


async def run(config: Settings, limit: int | None) -> None:
    """Run the pool's flow runs, at most `limit` at once, until a signal. Then wait for the current ones.

    Raises AgentFailed if no Docker engine answers, another agent has this name, or the pool has another type.
    """
    name = f"agent-{socket.gethostname()}"
    with only_one(name, config.work_pool):
        require_docker()
        async with get_client() as client:
            await ensure_pool(client, config)
        worker = ContainerWorker(
            work_pool_name=config.work_pool, name=name, limit=limit or sys.maxsize, create_pool_if_not_found=False
        )
        async with worker:  # waits at its end for the current runs
            if taken := await worker.take_over():
                say(f"watching {len(taken)} runs of an agent that was killed")
            at_most = f", at most {limit} runs at once" if limit else ""
            say(f"{name} polls work pool {config.work_pool}{at_most}; Ctrl-C stops it")
            stopping = asyncio.Event()
            handle_signals(worker, stopping)
            await asyncio.gather(
                repeat(worker.get_and_submit_flow_runs, POLL_SECONDS, stopping),
                repeat(worker.sync_with_backend, worker.heartbeat_interval_seconds, stopping),
            )
    say(f"{name} stopped")


async def repeat(work: Callable[[], Awaitable[Any]], seconds: float, stopping: asyncio.Event) -> None:
    """Call `work` every `seconds` until `stopping`; after an error less often, up to MAX_PAUSE_SECONDS.

    Prefect's `Worker.start` gives up after repeated errors and then abandons the current runs.
    """
    pause = seconds
    while not stopping.is_set():
        try:
            await work()
            pause = seconds
        except Exception as error:
            pause = min(pause * 2, max(seconds, MAX_PAUSE_SECONDS))
            what = "no answer from the Prefect server" if isinstance(error, httpx.HTTPError) else "error"
            say(f"{what} ({type(error).__name__}: {error}); next attempt in {pause:.0f} s")
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause)


def handle_signals(worker: ContainerWorker, stopping: asyncio.Event) -> None:
    """Make a signal set `stopping`; a second Ctrl-C, or SIGTERM, also stops the containers.

    Prefect's worker abandons the current runs on either signal.
    """
    loop = asyncio.get_running_loop()

    def stop(received: signal.Signals) -> None:
        if received == signal.SIGINT and not stopping.is_set():
            say("no new runs; waiting for the current ones. Ctrl-C again reschedules them")
        else:
            say("stopping the containers of the current runs")
            loop.run_in_executor(None, worker.stop_containers)
        stopping.set()

    for handled in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(handled, stop, handled)


async def ensure_pool(client: PrefectClient, config: Settings) -> None:
    """Create the pool if it is missing. Raises AgentFailed if it has another type."""
    try:
        pool = await client.read_work_pool(config.work_pool)
    except ObjectNotFound:
        declared = declared_pool(config.model_copy(update={"work_pool_type": "docker"}))
        with suppress(ObjectAlreadyExists):  # a deploy has just created it
            await client.create_work_pool(WorkPoolCreate.model_validate(vars(declared)))
        pool = await client.read_work_pool(config.work_pool)
    if pool.type != "docker":
        raise AgentFailed(
            f"work pool {pool.name} is of type {pool.type}, but the agent needs docker; set TAXIWAY_WORK_POOL to "
            "another name"
        )


def require_docker() -> None:
    """Return if a Docker engine answers. Raises AgentFailed otherwise."""
    try:
        with closing(DockerClient.from_env()) as client:
            client.ping()
    except DockerException as error:
        denied = "Permission denied" in str(error)
        what = "this user may not use the Docker engine" if denied else "no Docker engine answers"
        raise AgentFailed(f"{what}; the agent needs one for the runs' containers") from None


@contextmanager
def only_one(name: str, pool: str) -> Iterator[None]:
    """Lock the name for this pool of this server: two workers with one name would both watch the same runs.

    Raises AgentFailed if another process of this machine holds the lock, or the lock file cannot be opened.
    """
    key = hashlib.sha256(f"{PREFECT_API_URL.value()} {pool} {name}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"taxiway-agent-{key}.lock"
    try:
        lock = path.open("w")
    except OSError as error:
        raise AgentFailed(
            f"{path} cannot be opened ({error.strerror}); if another user's agent made it and no longer runs, remove it"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AgentFailed(f"{name} already runs on this machine, on pool {pool}") from None
        yield


def parse_limit(text: str) -> int | None:
    """The value of RUNS_AT_ONCE; None if it is empty. Raises AgentFailed unless it is a whole number from 1."""
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise AgentFailed(f"RUNS_AT_ONCE={text} is not a number of runs, 1 or more")
    return int(text)


def say(line: str) -> None:
    """Print a line for the user, at once."""
    print(f"taxiway: {line}", flush=True)


def main() -> None:
    """Run the agent with the limit in RUNS_AT_ONCE; exit with status 1 and one line if it cannot start."""
    with ends_in_one_line(AgentFailed):
        limit = parse_limit(os.environ.get("RUNS_AT_ONCE", ""))
        require_server()
        asyncio.run(run(settings(), limit))


if __name__ == "__main__":
    main()
