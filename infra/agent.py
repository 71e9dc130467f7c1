"""`make agent`: a worker in the foreground that runs each flow run of the pool in a container of its own.

Ctrl-C: no new runs are taken, those at work are watched to their end. A second Ctrl-C, or SIGTERM: their containers are
asked to stop as well, and put their runs back on the schedule. Either way no run is left unwatched. If the agent is
killed, the next one watches what it left.
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
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from copy import deepcopy
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import httpx
from docker.errors import APIError, DockerException, NotFound
from docker.models.containers import Container
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkPoolFilter,
    WorkPoolFilterId,
)
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.client.schemas.responses import WorkerFlowRunResponse
from prefect.events import Event
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.settings import PREFECT_API_URL
from prefect.utilities.asyncutils import run_sync_in_worker_thread
from prefect_docker.worker import DockerWorker, DockerWorkerJobConfiguration, DockerWorkerResult

import docker
from infra.server import ends_in_one_line, require_server
from infra.settings import Settings, settings
from infra.work_pool import declared_pool

POLL_SECONDS = 1.0
HEARTBEAT_SECONDS = 30.0
# What the longest retry waits while the server does not answer.
PATIENCE_SECONDS = 30.0
# How long a container gets to put its run back on the schedule.
GRACE_SECONDS = 60

# On a container: which flow run it is of.
RUN_LABEL = "io.prefect.flow-run-id"

# Of the worker's own settings, all that a container is given: how to reach the API and how loud to be. Prefect's worker
# hands on everything it has, be it a server's database password.
HANDED_ON = frozenset(
    {
        "PREFECT_API_URL",
        "PREFECT_API_AUTH_STRING",
        "PREFECT_API_KEY",
        "PREFECT_API_TLS_INSECURE_SKIP_VERIFY",
        "PREFECT_CLIENT_CUSTOM_HEADERS",
        "PREFECT_LOGGING_LEVEL",
    }
)


class AgentFailed(RuntimeError):
    """The agent cannot start; the message is one clear line."""


class ContainerConfiguration(DockerWorkerJobConfiguration):
    """The docker worker's, but a container is given no more than it needs, and the deployment's own environment."""

    @classmethod
    async def from_template_and_values(
        cls, base_job_template: dict[str, Any], values: dict[str, Any], client: PrefectClient | None = None
    ) -> ContainerConfiguration:
        """Put a deployment's values into the pool's template.

        As it comes, an environment that is one placeholder in the pool's defaults would win over the deployment's own.
        """
        template = deepcopy(base_job_template)
        environment = template["variables"]["properties"].get("env", {})
        if isinstance(environment.get("default"), str):
            values = {"env": environment.pop("default"), **values}
        return await super().from_template_and_values(template, values, client=client)

    def _base_environment(self) -> dict[str, str]:
        return {name: value for name, value in super()._base_environment().items() if name in HANDED_ON}


class Agent(DockerWorker):
    """The docker worker, but it learns how a container ended even if the container is removed at once."""

    # Known by a name of its own among the workers of this process; to the server it is of type docker.
    __dispatch_key__ = "taxiway-agent"
    job_configuration = ContainerConfiguration

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._watched: set[UUID] = set()

    async def run(self, flow_run: FlowRun, *args: Any, **options: Any) -> DockerWorkerResult:
        """Run the flow run in a container and watch it to its end."""
        self._watched.add(flow_run.id)
        try:
            return await super().run(flow_run, *args, **options)
        finally:
            self._watched.discard(flow_run.id)

    async def _get_scheduled_flow_runs(self) -> list[WorkerFlowRunResponse]:
        # A run that is back on the schedule before its container is gone has its turn afterwards: the stock worker
        # breaks on a second slot for one run.
        scheduled = await super()._get_scheduled_flow_runs()
        return [found for found in scheduled if found.flow_run.id not in self._watched]

    def _watch_container_safe(
        self, container: Container, configuration: DockerWorkerJobConfiguration, created_event: Event
    ) -> Container:
        # With auto_remove the stock worker looks for the exit code of a container that is gone, and takes a killed run
        # for a good one. Who waits beforehand is told.
        with ThreadPoolExecutor(1) as waiting:
            exit_code = waiting.submit(_exit_code, container)
            container = super()._watch_container_safe(container, configuration, created_event)
            container.attrs["State"]["ExitCode"] = exit_code.result()
        return container

    async def take_over(self) -> list[FlowRun]:
        """Watch the runs that an agent of this name began on this pool and, killed, did not see to their end.

        A run that was Pending and whose container was not started never began, and is Crashed. Gives the other runs.
        """
        # Of a run that was put back on the schedule, the newest container, which the engine lists first.
        containers = {container.labels[RUN_LABEL]: container for container in reversed(self.containers(ended=True))}
        began = []
        for flow_run in await self._unfinished_runs():
            container = containers.get(str(flow_run.id))
            if container and container.status == "created":
                container.remove()
                container = None
            if container:
                began.append(flow_run)
                self._watched.add(flow_run.id)
                if self._limiter:
                    with suppress(anyio.WouldBlock):  # a smaller RUNS_AT_ONCE than before
                        self._limiter.acquire_on_behalf_of_nowait(flow_run.id)
                self._runs_task_group.start_soon(self._watch_to_the_end, flow_run, container)
            elif flow_run.state.is_pending():
                await self._propose_crashed_state(flow_run, "The agent was killed before the run began.")
        return began

    async def _unfinished_runs(self) -> list[FlowRun]:
        unfinished = FlowRunFilterState(
            type=FlowRunFilterStateType(any_=[StateType.PENDING, StateType.RUNNING, StateType.CANCELLING])
        )
        in_pool = WorkPoolFilter(id=WorkPoolFilterId(any_=[self.work_pool.id]))
        found: list[FlowRun] = []
        while page := await self.client.read_flow_runs(
            flow_run_filter=FlowRunFilter(state=unfinished), work_pool_filter=in_pool, offset=len(found)
        ):
            found += page
        return [flow_run for flow_run in found if flow_run.labels.get("prefect.worker.name") == self.name]

    async def _watch_to_the_end(self, flow_run: FlowRun, container: Container) -> None:
        try:
            exit_code = await run_sync_in_worker_thread(_exit_code, container)
            now = await self.client.read_flow_run(flow_run.id)
            if now.state.is_cancelling():
                await self._mark_flow_run_as_cancelled(now, {"message": "The run's container is gone."})
            elif exit_code != 0 and (now.state.is_running() or now.state.is_pending()):
                await self._propose_crashed_state(now, f"The run's container ended with status {exit_code}.")
        except Exception as wrong:
            say(f"{flow_run.name} was not watched to its end ({type(wrong).__name__}: {wrong})")
        finally:
            self._watched.discard(flow_run.id)
            self._release_limit_slot(flow_run.id)

    def containers(self, *, ended: bool = False) -> list[Container]:
        """The containers of this agent's runs, on this pool of this server; with `ended`, also stopped ones."""
        client = docker.from_env(timeout=GRACE_SECONDS + 30)
        labels = [f"io.prefect.worker-name={self.name}", f"io.prefect.work-pool-id={self.work_pool.id}"]
        return client.containers.list(all=ended, filters={"label": labels})

    def stop_containers(self) -> None:
        """Ask the containers of this agent's runs to stop, all at once, and wait until they have."""
        ours = self.containers()
        with ThreadPoolExecutor(max(len(ours), 1)) as stopping:
            list(stopping.map(_stop, ours))


def _exit_code(container: Container) -> int:
    try:
        # The SDK's default timeout is a minute; a run takes as long as it takes.
        return container.client.api.wait(container.id, timeout=None)["StatusCode"]
    except NotFound:
        return -1


def _stop(container: Container) -> None:
    with suppress(APIError):  # ended meanwhile
        container.stop(timeout=GRACE_SECONDS)


async def run(config: Settings, limit: int | None) -> None:
    """Take runs from the pool until told to stop, then wait for those at work.

    Args:
        config: names the pool.
        limit: how many runs at once; None for any number.

    Raises:
        AgentFailed: no engine, no server, no login, or the pool is not one of containers.
    """
    name = f"agent-{socket.gethostname()}"
    with only_one(name, config.work_pool):
        require_docker()
        async with get_client() as client:
            await ensure_pool(client, config)
        agent = Agent(work_pool_name=config.work_pool, name=name, limit=limit, create_pool_if_not_found=False)
        async with agent:  # its end waits for the runs at work
            at_once = f", {limit} at once" if limit else ""
            if left := await agent.take_over():
                say(f"{len(left)} runs that a killed agent left go on, and are watched")
            say(f"{name} runs what pool {config.work_pool} has to run{at_once}; Ctrl-C stops it")
            stopping = asyncio.Event()
            listen(agent, stopping)
            await take_runs(agent, stopping)
    say(f"{name} stopped")


async def take_runs(agent: Agent, stopping: asyncio.Event) -> None:
    """Ask for runs every POLL_SECONDS until `stopping`; after a failure less often, up to PATIENCE_SECONDS."""
    loop = asyncio.get_running_loop()
    heartbeat, pause = loop.time() + HEARTBEAT_SECONDS, POLL_SECONDS
    while not stopping.is_set():
        try:
            if loop.time() >= heartbeat:
                await agent.sync_with_backend()
                heartbeat = loop.time() + HEARTBEAT_SECONDS
            await agent.get_and_submit_flow_runs()
            pause = POLL_SECONDS
        except Exception as wrong:
            # Whatever it is, who watches runs goes on watching.
            pause = min(pause * 2, PATIENCE_SECONDS)
            what = "the Prefect server does not answer" if isinstance(wrong, httpx.HTTPError) else "no runs were taken"
            say(f"{what} ({type(wrong).__name__}: {wrong}); next try in {pause:.0f} s")
        with suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), pause)


def listen(agent: Agent, stopping: asyncio.Event) -> None:
    """From now on a signal sets `stopping`; a second Ctrl-C, or SIGTERM, also stops the containers."""
    loop = asyncio.get_running_loop()

    def stop(sign: signal.Signals) -> None:
        if sign == signal.SIGINT and not stopping.is_set():
            say("no new runs; waiting for those at work. Ctrl-C again puts them back on the schedule")
        else:
            say("stopping the containers of the runs at work")
            loop.run_in_executor(None, agent.stop_containers)
        stopping.set()

    for sign in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(sign, stop, sign)


async def ensure_pool(client: PrefectClient, config: Settings) -> None:
    """Make the pool if it is missing: a worker would make one of its own, for processes on this host.

    Raises AgentFailed if the pool is of another type.
    """
    try:
        pool = await client.read_work_pool(config.work_pool)
    except ObjectNotFound:
        wanted = declared_pool(config.model_copy(update={"work_pool_type": "docker"}))
        missing = WorkPoolCreate(
            name=wanted.name,
            type=wanted.type,
            description=wanted.description,
            base_job_template=dict(wanted.base_job_template),
            concurrency_limit=wanted.concurrency_limit,
        )
        with suppress(ObjectAlreadyExists):  # a deploy was quicker
            await client.create_work_pool(missing)
        pool = await client.read_work_pool(config.work_pool)
    if pool.type != "docker":
        raise AgentFailed(
            f"pool {pool.name} is of type {pool.type}, the agent runs containers; set TAXIWAY_WORK_POOL to another name"
        )


def require_docker() -> None:
    """Return if a Docker engine answers. Raises AgentFailed otherwise."""
    try:
        client = docker.from_env()
        client.ping()
        client.close()
    except DockerException as wrong:
        what = (
            "this user may not use the Docker engine"
            if "Permission denied" in str(wrong)
            else "no Docker engine answers"
        )
        raise AgentFailed(f"{what}; the agent needs one for the runs' containers") from None


@contextmanager
def only_one(name: str, pool: str) -> Iterator[None]:
    """Hold the name for this pool of this server: two workers of one name take each other's runs for their own.

    Raises AgentFailed if another process of this machine holds it, or the lock cannot be opened.
    """
    what = hashlib.sha256(f"{PREFECT_API_URL.value()} {pool} {name}".encode()).hexdigest()[:16]
    path = Path(tempfile.gettempdir()) / f"taxiway-agent-{what}.lock"
    try:
        lock = path.open("w")
    except OSError as wrong:
        raise AgentFailed(
            f"{path} cannot be opened ({wrong.strerror}); if another user's agent made it and no longer runs, remove it"
        ) from None
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise AgentFailed(f"{name} runs already on this machine, on pool {pool}") from None
        yield


def limit_of(text: str) -> int | None:
    """The RUNS_AT_ONCE that was given; None for none. Raises AgentFailed unless it is a whole number from 1."""
    if not text:
        return None
    if not text.isdecimal() or int(text) < 1:
        raise AgentFailed(f"RUNS_AT_ONCE={text} is not a number of runs, 1 or more")
    return int(text)


def say(line: str) -> None:
    """A line to the person at the terminal."""
    print(f"taxiway: {line}", flush=True)


def main() -> Any:
    """Run the agent with the limit in RUNS_AT_ONCE; the exit status is 1 with one line if it cannot start."""
    with ends_in_one_line(AgentFailed):
        limit = limit_of(os.environ.get("RUNS_AT_ONCE", ""))
        require_server()
        asyncio.run(run(settings(), limit))
    return 0


if __name__ == "__main__":
    sys.exit(main())
