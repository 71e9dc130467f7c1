"""Buckets: create and read."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.rest import GoogleError, json_body, only_known
from infra.emulators.storage.object_files import ObjectFiles, timestamp

COMMON = {"fields", "prettyPrint", "projection", "project", "userProject"}
_SETTABLE = {"name", "location", "billing"}


class Buckets:
    """The endpoint `/storage/v1/b`."""

    def __init__(self, files: ObjectFiles) -> None:
        self._files = files

    def require_payer(self, request: Request, name: str) -> None:
        """Raise 400 if the requester pays for the bucket and the request names no project.

        The chunks of a resumable upload need none.
        """
        billing = self._files.buckets.get(name, {}).get("billing") or {}
        if billing.get("requesterPays") and not request.query_params.keys() & {"userProject", "upload_id"}:
            reason = "Bucket is a requester pays bucket but no user project provided."
            raise GoogleError(400, "required", reason)

    async def create(self, request: Request) -> Response:
        """Create a bucket; raise 409 if it exists."""
        only_known(request.query_params, COMMON, "buckets.insert")
        settings = await json_body(request)
        only_known(settings, _SETTABLE, "buckets.insert")
        name = settings["name"]
        if name in self._files.buckets:
            raise GoogleError(409, "conflict", "You already own this bucket. Please select another name.")
        now = timestamp()
        bucket: dict[str, Any] = {
            "kind": "storage#bucket",
            "id": name,
            "location": "US",
            "storageClass": "STANDARD",
            "metageneration": "1",
            "timeCreated": now,
            "updated": now,
            # Google keeps deleted objects for seven days; this emulator does not.
            "softDeletePolicy": {"retentionDurationSeconds": "0"},
        }
        self._files.add_bucket(bucket | settings)
        return JSONResponse(self._files.buckets[name])

    def get(self, request: Request, name: str) -> Response:
        """Read a bucket's resource."""
        only_known(request.query_params, COMMON, "buckets.get")
        return JSONResponse(self._files.bucket(name))
