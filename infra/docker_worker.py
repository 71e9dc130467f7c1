"""Prefect's Docker worker, with corrections of Prefect 3.9.1 and prefect-docker 0.7.

Each correction overrides or calls private names of Prefect, so all of them are here; tests/unit/test_docker_worker.py
fails when one of those names changes. A correction can be removed when the test named beside it passes without it.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from copy import deepcopy
from typing import Any

import anyio
from docker.client import DockerClient
from docker.errors import APIError, NotFound
from docker.models.containers import Container
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.filters import FlowRunFilter, WorkPoolFilter
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.events import Event
from prefect.utilities.asyncutils import run_sync_in_worker_thread
from prefect_docker.worker import DockerWorker, DockerWorkerJobConfiguration

# How long a stopped container gets to reschedule its run.
STOP_SECONDS = 60

# The label that the worker puts on a container: the id of its flow run.
RUN_LABEL = "io.prefect.flow-run-id"

# The settings of the worker's process that a container needs: the API's address and login, and the log level.
PASSED_SETTINGS = frozenset(
    {
        "PREFECT_API_URL",
        "PREFECT_API_AUTH_STRING",
        "PREFECT_API_KEY",
        "PREFECT_API_TLS_INSECURE_SKIP_VERIFY",
        "PREFECT_CLIENT_CUSTOM_HEADERS",
        "PREFECT_LOGGING_LEVEL",
    }
)


class ContainerConfiguration(DockerWorkerJobConfiguration):  # type: ignore[misc]  # prefect-docker has no types
    """The configuration of a run's container."""

    @classmethod
    async def from_template_and_values(
        cls, base_job_template: dict[str, Any], values: dict[str, Any], client: PrefectClient | None = None
    ) -> ContainerConfiguration:
        """Apply a deployment's values to the pool's template.

        Prefect lets a default environment that is a placeholder replace the deployment's own
        (test_a_deployment_of_prefects_own_command_runs_in_our_image).
        """
        template = deepcopy(base_job_template)
        environment = template["variables"]["properties"].get("env", {})
        if isinstance(environment.get("default"), str):
            values = {"env": environment.pop("default"), **values}
        return await super().from_template_and_values(template, values, client=client)

    def _base_environment(self) -> dict[str, str]:
        """Prefect passes every setting of the worker's process, such as the password of a server's database
        (test_a_container_knows_no_secret_of_the_server_or_the_stack).
        """
        return {name: value for name, value in super()._base_environment().items() if name in PASSED_SETTINGS}


class ContainerWorker(DockerWorker):  # type: ignore[misc]  # prefect-docker has no types
    """The Docker worker, with correct exit codes, and able to watch and to stop containers of an earlier process.

    Needs a limit: a run that was rescheduled keeps its slot until its container has ended, and does not start twice.
    """

    # Prefect registers worker classes under this name. To the server the type is docker.
    __dispatch_key__ = "taxiway-agent"
    job_configuration = ContainerConfiguration

    def _watch_container_safe(
        self, container: Container, configuration: DockerWorkerJobConfiguration, created_event: Event
    ) -> Container:
        """With auto_remove Prefect reads the exit code of a container that no longer exists, and takes a killed run for
        a successful one (test_a_killed_container_is_a_crashed_run).
        """
        with ThreadPoolExecutor(1) as waiting:
            exit_code = waiting.submit(_wait_for_exit, container)
            container = super()._watch_container_safe(container, configuration, created_event)
            container.attrs["State"]["ExitCode"] = exit_code.result()
        return container

    async def take_over(self) -> list[FlowRun]:
        """Watch the runs that a killed worker of the same name left unfinished, and return them.

        Prefect's worker ignores them (test_the_next_agent_watches_runs_of_a_killed_one). A pending run whose
        container was not started is marked Crashed.
        """
        # A rescheduled run can have two containers. The engine lists the newest first, which replaces the older.
        containers = {container.labels[RUN_LABEL]: container for container in reversed(self.containers(ended=True))}
        taken = []
        for flow_run in await self._unfinished_runs():
            container = containers.get(str(flow_run.id))
            if container and container.status == "created":
                container.remove()
                container = None
            if container:
                taken.append(flow_run)
                with suppress(anyio.WouldBlock):  # the limit is lower than before
                    self.limiter.acquire_on_behalf_of_nowait(flow_run.id)
                self._runs_task_group.start_soon(self._watch_until_end, flow_run, container)
            elif flow_run.state and flow_run.state.is_pending():
                await self._propose_crashed_state(flow_run, "The agent was killed before the run began.")
        return taken

    async def _unfinished_runs(self) -> list[FlowRun]:
        types = [StateType.PENDING, StateType.RUNNING, StateType.CANCELLING]
        unfinished = FlowRunFilter.model_validate({"state": {"type": {"any_": types}}})
        in_pool = WorkPoolFilter.model_validate({"id": {"any_": [self.work_pool.id]}})
        runs: list[FlowRun] = []
        while page := await self.client.read_flow_runs(
            flow_run_filter=unfinished, work_pool_filter=in_pool, offset=len(runs)
        ):
            runs += page
        return [flow_run for flow_run in runs if flow_run.labels.get("prefect.worker.name") == self.name]

    async def _watch_until_end(self, flow_run: FlowRun, container: Container) -> None:
        try:
            exit_code = await run_sync_in_worker_thread(_wait_for_exit, container)
            ended = await self.client.read_flow_run(flow_run.id)
            if ended.state and ended.state.is_cancelling():
                await self._mark_flow_run_as_cancelled(ended, {"message": "The run's container ended."})
            elif exit_code != 0 and ended.state and (ended.state.is_running() or ended.state.is_pending()):
                await self._propose_crashed_state(ended, f"The run's container ended with status {exit_code}.")
        except Exception:
            self._logger.exception("Cannot watch flow run %s of an earlier agent to its end", flow_run.name)
        finally:
            self._release_limit_slot(flow_run.id)

    def containers(self, *, ended: bool = False) -> list[Container]:
        """The running containers of this worker's runs on this pool; with `ended`, also those that are not running."""
        client = DockerClient.from_env(timeout=STOP_SECONDS + 30)
        labels = [f"io.prefect.worker-name={self.name}", f"io.prefect.work-pool-id={self.work_pool.id}"]
        return client.containers.list(all=ended, filters={"label": labels})

    def stop_containers(self) -> None:
        """Stop the containers of this worker's runs, all at once, and wait until they have ended.

        Prefect's worker leaves them running (test_ctrl_c_waits_for_the_run_and_a_second_one_reschedules_it).
        """
        containers = self.containers()
        with ThreadPoolExecutor(max(len(containers), 1)) as stopping:
            list(stopping.map(_stop, containers))


def _wait_for_exit(container: Container) -> int:
    try:
        # A run may take longer than the Docker SDK's default timeout of a minute.
        return container.client.api.wait(container.id, timeout=None)["StatusCode"]
    except NotFound:
        return -1


def _stop(container: Container) -> None:
    with suppress(APIError):  # it has already ended
        container.stop(timeout=STOP_SECONDS)
