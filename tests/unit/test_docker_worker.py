"""The private names of Prefect that the worker builds on still exist and are still called as it expects."""

from __future__ import annotations

import inspect

import pytest
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_SERVER_DATABASE_PASSWORD, temporary_settings
from prefect_docker.worker import DockerWorker, DockerWorkerJobConfiguration

from infra.docker_worker import PASSED_SETTINGS, ContainerConfiguration

CALLED = {
    "_watch_container_safe": ["self", "container", "configuration", "created_event"],
    "_propose_crashed_state": ["self", "flow_run", "message", "client"],
    "_mark_flow_run_as_cancelled": ["self", "flow_run", "state_updates"],
    "_release_limit_slot": ["self", "flow_run_id"],
}


@pytest.mark.parametrize("name", CALLED)
def test_methods_of_prefects_worker_have_their_parameters(name):
    assert list(inspect.signature(getattr(DockerWorker, name)).parameters) == CALLED[name]


def test_attributes_of_prefects_worker_are_set():
    worker = DockerWorker("pool", limit=1)
    assert {"_runs_task_group", "_logger"} <= set(vars(worker))


def test_prefects_worker_reads_the_exit_code_from_the_watched_container():
    assert 'container.attrs["State"].get("ExitCode")' in inspect.getsource(DockerWorker.run)


def test_a_container_is_given_only_the_settings_it_needs():
    """Prefect's own configuration would pass all of them."""
    settings = {PREFECT_SERVER_DATABASE_PASSWORD: "secret", PREFECT_API_AUTH_STRING: "user:password"}
    with temporary_settings(settings):
        stock = DockerWorkerJobConfiguration(image="i")._base_environment()
        passed = ContainerConfiguration(image="i")._base_environment()
    assert "PREFECT_SERVER_DATABASE_PASSWORD" in stock
    assert set(passed) <= PASSED_SETTINGS
    assert passed["PREFECT_API_AUTH_STRING"] == "user:password"
