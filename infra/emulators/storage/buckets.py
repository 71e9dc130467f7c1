"""Buckets: created, listed, read, patched and deleted by the package, which sees only what it honours."""

from __future__ import annotations

from typing import Any

from gcp_storage_emulator.handlers import buckets as package_buckets
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.rest import GoogleError, json_body, not_found, only_known, unsupported
from infra.emulators.storage import preconditions
from infra.emulators.storage.disk import Disk
from infra.emulators.storage.package import call, reply
from infra.emulators.storage.paging import COMMON, PAGING, page

# Everything that would change what happens to objects (versioning, lifecycle, retention, access) is refused.
_SETTABLE = {"name", "location", "storageClass", "labels", "iamConfiguration", "softDeletePolicy", "billing"}
_OF_BUCKET = {"ifMetagenerationMatch", "ifMetagenerationNotMatch"}


class Buckets:
    """The endpoint `/storage/v1/b`."""

    def __init__(self, disk: Disk) -> None:
        self._disk = disk

    def require_payer(self, request: Request, name: str) -> None:
        """Raise 400 where the bucket's requester pays, and names no project. The chunks of an upload need none."""
        billing = self._disk.buckets.get(name, {}).get("billing") or {}
        if billing.get("requesterPays") and not request.query_params.keys() & {"userProject", "upload_id"}:
            reason = "Bucket is a requester pays bucket but no user project provided."
            raise GoogleError(400, "required", reason)

    def list(self, request: Request) -> Response:
        """List the buckets, by name."""
        only_known(dict(request.query_params), COMMON | PAGING, "the listing of buckets")
        everything = call(package_buckets.ls, self._disk, request, {})["items"]
        return JSONResponse(page(request, "storage#buckets", sorted(everything, key=lambda bucket: bucket["name"])))

    async def create(self, request: Request) -> Response:
        """Create a bucket, and then set what the package's own creation leaves out."""
        only_known(dict(request.query_params), COMMON, "the creation of a bucket")
        asked = _settings(await json_body(request))
        bucket = call(package_buckets.insert, self._disk, request, {}, asked)
        # Nothing is kept after a delete here, so a new bucket must not promise Google's seven days.
        bucket |= asked | {"softDeletePolicy": {"retentionDurationSeconds": "0"}, "metageneration": "1"}
        self._disk.save()
        return JSONResponse(bucket)

    def get(self, request: Request, name: str) -> Response:
        """Read a bucket."""
        self._check(request, name, reading=True)
        return JSONResponse(call(package_buckets.get, self._disk, request, {"bucket_name": name}))

    async def patch(self, request: Request, name: str) -> Response:
        """Change a bucket's labels, storage class or location."""
        asked = _settings(await json_body(request))
        self._check(request, name)
        return JSONResponse(call(package_buckets.patch, self._disk, request, {"bucket_name": name}, asked))

    def delete(self, request: Request, name: str) -> Response:
        """Delete an empty bucket."""
        self._check(request, name)
        if self._disk.objects.get(name):
            raise GoogleError(409, "conflict", "The bucket you tried to delete is not empty.")
        return reply(call(package_buckets.delete, self._disk, request, {"bucket_name": name}))

    def _check(self, request: Request, name: str, *, reading: bool = False) -> None:
        query = dict(request.query_params)
        only_known(query, COMMON | _OF_BUCKET, "a request for a bucket")
        if name not in self._disk.buckets:
            raise not_found("The specified bucket does not exist.")
        preconditions.check(query, self._disk.buckets[name] | {"generation": "0"}, reading=reading)


def _settings(body: dict[str, Any]) -> dict[str, Any]:
    only_known(body, _SETTABLE, "a bucket")
    if int((body.get("softDeletePolicy") or {}).get("retentionDurationSeconds", 0)):
        raise unsupported("soft delete")
    return body
