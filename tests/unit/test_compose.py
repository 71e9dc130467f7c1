"""Messages about a stack that started, and about one that did not."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys

import pytest
import yaml

from infra import compose
from infra.local.processes import free_port
from infra.local.stack import SERVER_SETTINGS
from infra.settings import ROOT
from tests.http_server import status


@pytest.fixture
def stack(monkeypatch):
    """Services by name: health, state and log."""
    services: dict[str, tuple[str, str, str]] = {}

    def answer(command: str, *arguments: str) -> str:
        if command == "logs":
            return services[arguments[-1]][2]
        listed = ({"Service": name, "Health": health, "State": state} for name, (health, state, _) in services.items())
        return "\n".join(json.dumps(service) for service in listed)

    monkeypatch.setattr(compose, "compose", answer)
    return services


def test_a_failed_service_is_reported_before_those_that_wait_for_it(stack):
    stack["pgadmin"] = ("", "created", "")
    stack["prefect"] = ("starting", "running", "")
    stack["postgres"] = ("unhealthy", "running", "one\nno space left\n\n")
    assert compose.first_unhealthy() == "postgres is unhealthy; last log line: no space left"


@pytest.mark.parametrize(
    ("log", "expected"),
    [
        ('FATAL: password authentication failed for user "trips"\nDETAIL: Connection matched', "restore the old one"),
        (
            'FATAL: password authentication failed for user "trips"\nDETAIL: Role "trips" does not exist.',
            "no role trips: its first start was interrupted. make destroy removes it with all its data",
        ),
        (
            "ls: cannot open directory '/docker-entrypoint-initdb.d/': Permission denied",
            "last log line: ls: cannot",
        ),
    ],
)
def test_a_refused_postgres_login_is_explained_from_the_log(stack, log, expected):
    stack["postgres"] = ("unhealthy", "running", log)
    assert expected in compose.first_unhealthy()


@pytest.mark.parametrize(
    ("output", "expected"),
    [
        (
            "Error response from daemon: driver failed programming external connectivity on endpoint x (ab): "
            "Bind for 127.0.0.1:4300 failed: port is already allocated",
            "port 4300 of this machine is taken; set PREFECT_PORT and PREFECT_API_URL in .env to another",
        ),
        (
            "Error starting userland proxy: listen tcp4 127.0.0.1:5432: bind: address already in use",
            "port 5432 of this machine is taken; set POSTGRES_PORT in .env to another",
        ),
        ("listen tcp4 127.0.0.1:1: bind: address already in use", ""),
        ("container x is unhealthy", ""),
    ],
)
def test_a_taken_port_is_reported_with_its_setting(output, expected):
    assert compose.taken_port(output, {"PREFECT_PORT": "4300"}) == expected


def test_the_embedded_server_and_the_one_in_compose_have_the_same_settings():
    """So that the tests and the demo also hold for Compose."""
    file = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    in_compose = file["services"]["prefect"]["environment"]
    assert {name: in_compose[name] for name in SERVER_SETTINGS} == SERVER_SETTINGS


@pytest.mark.parametrize("service", ["pgadmin", "prefect", "storage", "bigquery"])
def test_a_health_check_does_not_use_a_proxy(service, server):
    """Docker's configuration may set one in every container, without an exception for 127.0.0.1."""
    file = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    *_, code = file["services"][service]["healthcheck"]["test"]
    [(address, path)] = re.findall(r"(http://127\.0\.0\.1(?::\d+)?)(/[\w/]+)", code)
    here = code.replace(address + path, server.url(path, status(200)))
    env = os.environ | {"http_proxy": f"http://127.0.0.1:{free_port()}", "no_proxy": ""}
    done = subprocess.run([sys.executable, "-c", here], env=env, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_failed_service_without_a_log_is_reported(stack):
    stack["storage"] = ("", "exited", "")
    assert compose.first_unhealthy() == "storage is exited; last log line: none"


def test_a_healthy_stack_has_no_unhealthy_service(stack):
    stack["postgres"] = ("healthy", "running", "")
    assert compose.first_unhealthy() == ""


def test_addresses_show_users_but_no_passwords():
    values = {"PREFECT_API_AUTH_STRING": "me:hidden", "PREFECT_PORT": "4300", "PGADMIN_PASSWORD": "hidden"}
    shown = compose.addresses(values)
    assert "http://127.0.0.1:4300" in shown and "me, PREFECT_API_AUTH_STRING" in shown
    assert "hidden" not in shown
