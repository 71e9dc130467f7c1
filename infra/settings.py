"""The project's names and defaults. Each can be set as TAXIWAY_<NAME> in the environment or in `.env`."""

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
    """Names and addresses. Secrets have no defaults: they come from the environment or `.env`."""

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
    tag: str = Field("taxiway", description="the tag of all deployments; each tag has its own release record")
    work_pool_limit: int | None = Field(None, ge=0, description="how many runs of the pool at once, over all workers")
    process_command: str | None = Field(
        None, description="the command of a run on a process pool; None: Prefect's own, which takes longer"
    )
    downloads_at_once: int = Field(4, ge=1, description="how many partitions are downloaded at once, over all runs")
    image: str | None = Field(None, description="the flow image to deploy, as repository:tag or repository@sha256:...")
    revision: str | None = Field(None, description="the version of the deployments; None: the git revision")

    # This machine
    spool_dir: Path | None = Field(None, description="the folder for runs' temporary files; None: the system's")
    state_dir: Path = Field(ROOT / ".taxiway", description="the folder for the embedded stack's data")

    @field_validator("postgres_url")
    @classmethod
    def _as_libpq_url(cls, url: SecretStr | None) -> SecretStr | None:
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
    """The settings of this process, read once. Exits with one line if any of them is invalid."""
    try:
        return Settings()
    except ValidationError as error:
        # Modules read settings when they are imported, where no caller could catch the error.
        sys.exit(f"taxiway: {one_line(error)}")


def one_line(invalid: ValidationError) -> str:
    """Each invalid setting by its name in the environment, with the reason and without its value."""
    return "; ".join(
        f"TAXIWAY_{'.'.join(map(str, error['loc'])).upper()}: {error['msg'].removeprefix('Value error, ')}"
        for error in invalid.errors(include_input=False, include_url=False)
    )
