"""Settings from the environment, and errors that do not show secrets."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from infra.blocks import BlocksUnavailable, postgres_block
from infra.settings import Settings


def test_the_environment_overrides_defaults(monkeypatch):
    monkeypatch.setenv("TAXIWAY_BUCKET", "other-trips")
    monkeypatch.setenv("TAXIWAY_POSTGRES_URL", "postgresql://taxi:hunter2@db/trips")
    config = Settings(_env_file=None)
    assert config.bucket == "other-trips"
    assert "hunter2" not in repr(config) and "hunter2" not in str(config.model_dump())
    connector = postgres_block(config)
    assert "hunter2" not in repr(connector)


def test_an_unknown_pool_type_is_refused(monkeypatch):
    monkeypatch.setenv("TAXIWAY_WORK_POOL_TYPE", "carrier-pigeon")
    with pytest.raises(ValidationError, match="work_pool_type"):
        Settings(_env_file=None)


def test_a_missing_database_is_reported_in_one_line(monkeypatch):
    monkeypatch.delenv("TAXIWAY_POSTGRES_URL", raising=False)
    with pytest.raises(BlocksUnavailable, match="TAXIWAY_POSTGRES_URL is not set"):
        postgres_block(Settings(_env_file=None))
