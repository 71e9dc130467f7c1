"""The Google resources that must exist before a run: the bucket and the dataset."""

from __future__ import annotations

from google.api_core.exceptions import Conflict, GoogleAPIError
from google.auth.exceptions import GoogleAuthError
from google.cloud import bigquery
from prefect_gcp import GcpCredentials
from requests import RequestException

from infra.blocks import BlocksUnavailable, credentials_block
from infra.server import ends_in_one_line
from infra.settings import Settings, settings


def ensure_resources(config: Settings, credentials: GcpCredentials) -> list[str]:
    """Create the bucket and the dataset if they are missing. Returns the addresses of the created ones."""
    created = []
    storage = credentials.get_cloud_storage_client()
    bucket = storage.bucket(config.bucket, user_project=config.user_project)
    if not bucket.exists():
        storage.create_bucket(bucket, location=config.location)
        created.append(f"gs://{config.bucket}")
    dataset = bigquery.Dataset(f"{config.project}.{config.dataset}")
    dataset.location = config.location
    try:
        credentials.get_bigquery_client().create_dataset(dataset)
        created.append(f"{config.project}.{config.dataset}")
    except Conflict:
        pass
    return created


if __name__ == "__main__":
    with ends_in_one_line(BlocksUnavailable, GoogleAPIError, GoogleAuthError, RequestException):
        resources = ensure_resources(settings(), credentials_block(settings()))
    print(f"taxiway: created {', '.join(resources)}" if resources else "taxiway: bucket and dataset exist already")
