"""The DockerContainer block: its fields, the references to it, and its declared values."""

from __future__ import annotations

import socket

import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect_docker.worker import DockerWorkerJobConfiguration
from pydantic import ValidationError

from infra import docker_container
from infra.docker_container import DockerContainer, api_seen_from_containers, declared_container, job_variables
from infra.settings import Settings

IMAGE = "registry.example.com/taxiway@sha256:" + "0" * 64


@pytest.fixture(autouse=True)
def no_environment_file(monkeypatch):
    monkeypatch.setattr(docker_container, "read_environment", lambda: {"COMPOSE_PROFILES": "google"})


def test_every_field_is_a_job_variable_of_the_docker_worker():
    assert set(DockerContainer.model_fields) <= set(DockerWorkerJobConfiguration.model_fields)


def test_a_deployment_refers_to_every_field():
    variables = job_variables("taxi-docker")
    assert set(variables) == set(DockerContainer.model_fields)
    assert variables["env"] == "{{ prefect.blocks.docker-container.taxi-docker.env }}"


def test_the_blocks_values_configure_a_container():
    """The worker's configuration accepts the block's values in place of the references."""
    block = declared_container(IMAGE, Settings(_env_file=None))
    values = block.model_dump(exclude={"block_type_slug"}) | {"env": block.env.get_secret_value()}
    made = DockerWorkerJobConfiguration(**values)
    assert made.image == IMAGE
    assert made.networks == ["taxiway"]
    assert made.auto_remove and not made.privileged
    assert made.image_pull_policy == "IfNotPresent"
    assert made.container_create_kwargs["read_only"] is True


def test_containers_reach_the_stack_by_name():
    env = declared_container(IMAGE, Settings(_env_file=None)).env.get_secret_value()
    assert env["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert env["STORAGE_EMULATOR_HOST"] == "http://storage:9023"
    assert env["BIGQUERY_EMULATOR_HOST"] == "http://bigquery:9050"


def test_without_emulators_their_addresses_are_not_set(monkeypatch):
    monkeypatch.setattr(docker_container, "read_environment", dict)
    env = declared_container(IMAGE, Settings(_env_file=None)).env.get_secret_value()
    assert not [name for name in env if "EMULATOR" in name]


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.0.1.1", "127.1", "0.0.0.0", "[::1]", "[::]", "[::ffff:127.0.0.1]"),
        *("localhost", "LOCALHOST", "localhost.", "prefect.localhost", socket.gethostname()),
    ],
)
def test_an_address_of_this_machine_is_the_server_on_the_network(host):
    assert api_seen_from_containers(f"http://{host}:4300/api") == "http://prefect:4200/api"


@pytest.mark.parametrize("host", ["prefect.example.com", "192.0.2.7", "[2001:db8::7]", "host.docker.internal"])
def test_the_address_of_another_server_is_unchanged(host):
    assert api_seen_from_containers(f"https://{host}:4200/api") == f"https://{host}:4200/api"


def test_changed_names_are_passed_and_secrets_are_not():
    config = Settings(_env_file=None, bucket="elsewhere", postgres_url="postgresql://u:secret@h/d", google_key="{}")
    env = declared_container(IMAGE, config).env.get_secret_value()
    assert env["TAXIWAY_BUCKET"] == "elsewhere"
    assert "TAXIWAY_DATASET" not in env
    assert "secret" not in str(env) and "TAXIWAY_GOOGLE_KEY" not in env


def test_environment_values_are_hidden_in_the_ui():
    block = DockerContainer(image=IMAGE, env={"PASSWORD": "hunter2"})
    assert "hunter2" not in repr(block) + str(block.model_dump())


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"networks": ["a"], "network_mode": "host"}, "exclude each other"),
        ({"memswap_limit": "1g"}, "needs mem_limit"),
        ({"image_pull_policy": "Sometimes"}, "IfNotPresent"),
        ({"volumes": ["$(pwd):/x"]}, "volume"),
    ],
)
def test_invalid_combinations_are_refused(fields, expected):
    with pytest.raises(ValidationError, match=expected):
        DockerContainer(image=IMAGE, **fields)


def test_a_source_with_a_password_is_passed_as_a_secret():
    """And the link in a run's log works in a browser on this machine."""
    address = "https://me:hunter2@host/{year}-{month:02}.parquet"
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:4300/api"}):
        block = declared_container(IMAGE, Settings(_env_file=None, source_url=address))
    env = block.env.get_secret_value()
    assert env["TAXIWAY_SOURCE_URL"] == address
    assert env["PREFECT_UI_URL"] == "http://127.0.0.1:4300"
    assert "hunter2" not in repr(block) + str(block.model_dump())
