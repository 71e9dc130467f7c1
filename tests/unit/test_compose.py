"""What is said of a stack that does not come up, and of one that does."""

from __future__ import annotations

import json

import pytest

from infra import compose


@pytest.fixture
def stack(monkeypatch):
    """Services by name: health, state, and what they logged."""
    services: dict[str, tuple[str, str, str]] = {}

    def answer(command: str, *arguments: str) -> str:
        if command == "logs":
            return services[arguments[-1]][2]
        listed = ({"Service": name, "Health": health, "State": state} for name, (health, state, _) in services.items())
        return "\n".join(json.dumps(service) for service in listed)

    monkeypatch.setattr(compose, "compose", answer)
    return services


def test_the_ill_one_is_named_before_those_that_wait_for_it(stack):
    stack["pgadmin"] = ("", "created", "")
    stack["prefect"] = ("starting", "running", "")
    stack["postgres"] = ("unhealthy", "running", "one\nno space left\n\n")
    assert compose.first_unhealthy() == "postgres is unhealthy; the last it said: no space left"


def test_passwords_that_the_volumes_do_not_have_are_named(stack):
    stack["postgres"] = ("unhealthy", "running", 'FATAL: password authentication failed for user "trips"\nDETAIL: x\n')
    assert "made with other passwords than those in .env; make destroy" in compose.first_unhealthy()


def test_a_silent_one_is_named_as_well(stack):
    stack["storage"] = ("", "exited", "")
    assert compose.first_unhealthy() == "storage is exited; the last it said: nothing"


def test_a_healthy_stack_has_none(stack):
    stack["postgres"] = ("healthy", "running", "")
    assert compose.first_unhealthy() == ""


def test_addresses_have_users_and_no_passwords():
    values = {"PREFECT_API_AUTH_STRING": "me:hidden", "PREFECT_PORT": "4300", "PGADMIN_PASSWORD": "hidden"}
    shown = compose.addresses(values)
    assert "http://127.0.0.1:4300" in shown and "me, PREFECT_API_AUTH_STRING" in shown
    assert "hidden" not in shown
