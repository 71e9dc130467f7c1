"""gs:// addresses: read and written with the real client, on the storage emulator."""

from __future__ import annotations

import fnmatch
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING

from infra.emulators.rest import invalid, not_found, unsupported

if TYPE_CHECKING:
    from google.cloud.storage import Bucket


def fetch(uris: list[str], folder: Path) -> list[Path]:
    """Download the objects that `uris` name (a `*` stands for any run of characters) into `folder`."""
    found = [blob for uri in uris for blob in _matching(uri)]
    paths = [folder / f"{number}.source" for number in range(len(found))]
    for blob, path in zip(found, paths, strict=True):
        blob.download_to_filename(str(path))
    return paths


def store(path: Path, uri: str) -> None:
    """Upload a file to `uri`, over whatever is there."""
    bucket, name = _parse(uri)
    bucket.blob(name).upload_from_filename(str(path), content_type="application/octet-stream")


def _matching(uri: str) -> list:
    bucket, pattern = _parse(uri)
    prefix = pattern.split("*")[0]
    names = fnmatch.translate(pattern.replace("[", "[[]").replace("?", "[?]"))
    blobs = [blob for blob in bucket.client.list_blobs(bucket, prefix=prefix) if re.match(names, blob.name)]
    if not blobs:
        raise not_found(f"Not found: URI {uri}")
    return blobs


def _parse(uri: str) -> tuple[Bucket, str]:
    from google.auth.credentials import AnonymousCredentials  # half a second of imports, for those who load from gs://
    from google.cloud.storage import Client

    if not os.environ.get("STORAGE_EMULATOR_HOST"):
        raise unsupported("gs:// without STORAGE_EMULATOR_HOST in the environment of the BigQuery emulator")
    scheme, _, rest = uri.partition("://")
    bucket, _, name = rest.partition("/")
    if scheme != "gs" or not bucket or not name:
        raise invalid(f"Invalid source URI: {uri}")
    return Client(project="emulator", credentials=AnonymousCredentials()).bucket(bucket), name
