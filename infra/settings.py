"""Every name and default of the project, in one place; any of them can be set as TAXIWAY_<NAME> or in `.env`."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from infra.postgres_url import libpq_url

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """Where things are and what they are called. Secrets come from the environment or `.env`, never from here."""

    model_config = SettingsConfigDict(
        env_prefix="TAXIWAY_", env_file=ROOT / ".env", extra="ignore", hide_input_in_errors=True
    )

    # Source
    source_url: SecretStr | None = Field(
        None, description="URL template with {service}, {year}, {month:02}; None: where each dataset is published"
    )

    # Stores
    postgres_url: SecretStr | None = Field(None, description="postgresql://user:password@host:port/database for trips")
    google_key: SecretStr | None = Field(None, description="a Google service account's key: JSON, base64 or a path")
    project: str = "taxiway-local"
    bucket: str = "taxi-trips"
    dataset: str = "trips"
    location: str = "US"
    user_project: str | None = Field(None, description="the project that pays for requests to a requester-pays bucket")

    # Blocks (names in Prefect)
    postgres_block: str = "taxi-postgres"
    credentials_block: str = "taxi-gcp"
    bucket_block: str = "taxi-bucket"
    container_block: str = "taxi-docker"
    registry_block: str = "taxi-registry"

    # Deployments
    work_pool: str = "taxi"
    work_pool_type: Literal["process", "docker"] = "docker"
    tag: str = Field(
        "taxiway", description="what every deployment carries; each tag has a record of what its deploys made"
    )
    work_pool_limit: int | None = Field(None, ge=0, description="how many runs at once on the pool, over all workers")
    process_command: str | None = Field(
        None, description="what starts a run on a pool of processes; None: Prefect's own command, which takes longer"
    )
    downloads_at_once: int = Field(4, ge=1, description="how many months are downloaded at once, over all runs")
    image: str | None = Field(None, description="the flow image to deploy, as repository:tag or repository@sha256:...")
    revision: str | None = Field(None, description="what is deployed as the version; None: the git revision")

    # This machine
    spool_dir: Path | None = Field(None, description="where runs keep their files while they work; None: the system's")
    state_dir: Path = Field(ROOT / ".taxiway", description="what the embedded stack and the demo keep")

    @field_validator("postgres_url")
    @classmethod
    def _as_libpq_takes_it(cls, url: SecretStr | None) -> SecretStr | None:
        return SecretStr(libpq_url(url.get_secret_value())) if url else None

    @field_validator("google_key")
    @classmethod
    def _none_where_empty(cls, key: SecretStr | None) -> SecretStr | None:
        return key if key and key.get_secret_value().strip(" \t\r\n'\"") else None

    @property
    def downloads_limit(self) -> str:
        """The name of the global concurrency limit on downloads."""
        return f"{self.tag}-downloads"


@cache
def settings() -> Settings:
    """The settings of this process, read once. Ends the process, with one line, if any of them is wrong."""
    try:
        return Settings()
    except ValidationError as wrong:
        # At import, where no caller could catch it.
        sys.exit(f"taxiway: {one_line(wrong)}")


def one_line(wrong: ValidationError) -> str:
    """Each wrong setting by its name in the environment, and what is wrong with it; never its value."""
    return "; ".join(
        f"TAXIWAY_{'.'.join(map(str, error['loc'])).upper()}: {error['msg'].removeprefix('Value error, ')}"
        for error in wrong.errors(include_input=False, include_url=False)
    )
