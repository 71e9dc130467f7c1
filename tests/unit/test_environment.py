"""`make env`, and the settings for containers."""

from __future__ import annotations

import json
import stat

import pytest

from infra.environment import (
    NoEnvironment,
    read_environment,
    settings_for_containers,
    uses_emulators,
    write_environment,
)
from infra.settings import Settings

DEFAULTS = Settings(_env_file=None)
RANDOM = (
    "POSTGRES_PASSWORD",
    "TRIPS_PASSWORD",
    "PREFECT_DATABASE_PASSWORD",
    "PGADMIN_PASSWORD",
    "PREFECT_API_AUTH_STRING",
)


@pytest.fixture
def clean(monkeypatch):
    for name in (*RANDOM, "COMPOSE_PROFILES", "EMULATOR_KEY", "PREFECT_API_URL"):
        monkeypatch.delenv(name, raising=False)


def test_the_file_is_written_once_and_is_private(tmp_path, clean):
    file = tmp_path / ".env"
    assert write_environment(file, DEFAULTS)
    before = file.read_text()
    assert not write_environment(file, DEFAULTS)
    assert file.read_text() == before
    assert stat.S_IMODE(file.stat().st_mode) == 0o600


def test_passwords_are_random_and_different(tmp_path, clean):
    written = []
    for name in ("one", "two"):
        write_environment(tmp_path / name, DEFAULTS)
        written += [read_environment(tmp_path / name)[password] for password in RANDOM]
    assert len({value.rpartition(":")[2] for value in written}) == 2 * len(RANDOM)
    assert all(len(value.rpartition(":")[2]) == 32 for value in written)


def test_the_emulators_key_can_be_read_from_the_file(tmp_path, clean):
    write_environment(tmp_path / ".env", DEFAULTS)
    key = json.loads(read_environment(tmp_path / ".env")["EMULATOR_KEY"])
    assert key["private_key"].startswith("-----BEGIN PRIVATE KEY-----\n")
    assert key["token_uri"] == "http://storage:9023/token"


def test_the_process_environment_overrides_the_file(tmp_path, clean, monkeypatch):
    write_environment(tmp_path / ".env", DEFAULTS)
    monkeypatch.setenv("TRIPS_PASSWORD", "mine")
    assert read_environment(tmp_path / ".env")["TRIPS_PASSWORD"] == "mine"


def test_containers_get_the_database_and_the_account_of_the_stack():
    values = {"TRIPS_PASSWORD": "pw", "COMPOSE_PROFILES": "google", "EMULATOR_KEY": "{}"}
    seen = settings_for_containers(DEFAULTS, values)
    assert seen.postgres_url.get_secret_value() == "postgresql://trips:pw@postgres:5432/trips"
    assert seen.google_key.get_secret_value() == "{}"


def test_explicit_settings_are_kept():
    config = Settings(_env_file=None, postgres_url="postgresql://elsewhere/trips", google_key='{"real": 1}')
    assert settings_for_containers(config, {"COMPOSE_PROFILES": "google"}) == config


def test_without_emulators_there_is_no_emulator_key():
    values = {"TRIPS_PASSWORD": "pw", "COMPOSE_PROFILES": "", "EMULATOR_KEY": "{}"}
    assert settings_for_containers(DEFAULTS, values).google_key is None
    assert not uses_emulators(values)


def test_a_missing_file_is_reported_with_the_command_that_writes_it():
    with pytest.raises(NoEnvironment, match="TRIPS_PASSWORD not set; `make env` writes"):
        settings_for_containers(DEFAULTS, {})
