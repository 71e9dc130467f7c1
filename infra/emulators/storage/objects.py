"""Objects that are there: listed, read, patched, copied, composed, deleted."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Any

from gcp_storage_emulator.handlers import objects as package_objects
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from infra.emulators.media import Spool
from infra.emulators.rest import json_body, not_found, only_known
from infra.emulators.storage import preconditions
from infra.emulators.storage.disk import Disk
from infra.emulators.storage.downloads import download
from infra.emulators.storage.package import call
from infra.emulators.storage.paging import COMMON, PAGING, page
from infra.emulators.storage.uploads import SETTABLE, new_object

# Listing versions lists the live ones: no others are kept.
_LISTING = {"versions", "delimiter", "matchGlob", "startOffset", "endOffset"}
_RESOURCE = {"kind", "name", "bucket", "id"}
_ONE = COMMON | preconditions.OF_OBJECT | {"generation"}


class Objects:
    """The endpoint `/storage/v1/b/BUCKET/o`."""

    def __init__(self, disk: Disk, spool: Spool) -> None:
        self._disk, self._spool = disk, spool

    def list(self, request: Request, bucket: str) -> Response:
        """List a bucket: by prefix, folder (`delimiter`), glob, or range of names."""
        query = request.query_params
        only_known(dict(query), COMMON | PAGING | _LISTING, "the listing of objects")
        found = call(package_objects.ls, self._disk, request, {"bucket_name": bucket})
        start, end = query.get("startOffset", ""), query.get("endOffset", "")
        items = [item for item in found["items"] if item["name"] >= start and (not end or item["name"] < end)]
        return JSONResponse(page(request, "storage#objects", items, found["prefixes"]))

    def get(self, request: Request, bucket: str, name: str) -> Response:
        """Read an object's resource, or with `alt=media` its bytes."""
        if request.query_params.get("alt") == "media":
            return self.download(request, bucket, name)
        return JSONResponse(self._live(request, bucket, name, reading=True))

    def download(self, request: Request, bucket: str, name: str) -> Response:
        """Read an object's bytes."""
        resource = self._live(request, bucket, name, reading=True)
        return download(request, resource, self._disk.content(resource))

    async def patch(self, request: Request, bucket: str, name: str) -> Response:
        """Merge the given metadata into the object's; null removes. The metageneration goes up by one."""
        asked = await json_body(request)
        only_known(asked, SETTABLE | _RESOURCE, "the object's metadata")
        resource = self._live(request, bucket, name)
        _merge(resource, {key: value for key, value in asked.items() if key in SETTABLE})
        resource["metageneration"] = str(int(resource["metageneration"]) + 1)
        resource["updated"] = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        resource["etag"] = f"{resource['generation']}/{resource['metageneration']}"
        self._disk.save()
        return JSONResponse(resource)

    def delete(self, request: Request, bucket: str, name: str) -> Response:
        """Delete an object."""
        self._live(request, bucket, name)
        self._disk.remove(bucket, name)
        return Response(status_code=204)

    async def copy(
        self, request: Request, source: tuple[str, str], target: tuple[str, str], rewriting: bool
    ) -> Response:
        """Copy an object, in one step of any size: a generation's file never changes, so a link to it is a copy."""
        asked = await json_body(request)
        only_known(asked, SETTABLE | _RESOURCE | {"storageClass"}, "the copy's metadata")
        query = dict(request.query_params)
        only_known(query, COMMON | preconditions.OF_OBJECT | preconditions.OF_SOURCE | {"sourceGeneration"}, "the copy")
        original = self._generation(*source, query.get("sourceGeneration"))
        preconditions.check(query, original, prefix="ifSource")
        self._admit(query, *target)
        changes = {key: value for key, value in asked.items() if key in SETTABLE}
        metadata = {key: original[key] for key in SETTABLE if original.get(key)} | changes
        size, crc32c, md5 = int(original["size"]), original["crc32c"], original.get("md5Hash")
        link = self._spool.file()
        link.unlink()
        os.link(self._disk.content(original), link)
        made = self._disk.adopt(new_object(request, *target, metadata, size, crc32c, md5), link)
        if not rewriting:
            return JSONResponse(made)
        done = {"kind": "storage#rewriteResponse", "done": True, "objectSize": made["size"], "resource": made}
        return JSONResponse(done | {"totalBytesRewritten": made["size"]})

    async def compose(self, request: Request, bucket: str, name: str) -> Response:
        """Join objects of the bucket into one. The package does this in memory."""
        asked = await json_body(request)
        only_known(asked, {"kind", "sourceObjects", "destination"}, "the composition")
        destination = asked.setdefault("destination", {})
        only_known(destination, SETTABLE | _RESOURCE, "the composed object's metadata")
        query = dict(request.query_params)
        only_known(query, COMMON | preconditions.OF_OBJECT, "the composition")
        for source in asked["sourceObjects"]:
            only_known(source, {"name", "generation", "objectPreconditions"}, "a source of the composition")
            original = self._generation(bucket, source["name"], source.get("generation"))
            wanted = (source.get("objectPreconditions") or {}).get("ifGenerationMatch")
            preconditions.check({} if wanted is None else {"ifGenerationMatch": str(wanted)}, original)
        self._admit(query, bucket, name)
        names = {"bucket_name": bucket, "object_id": name}
        return JSONResponse(call(package_objects.compose, self._disk, request, names, asked))

    def _live(self, request: Request, bucket: str, name: str, *, reading: bool = False) -> dict[str, Any]:
        query = dict(request.query_params)
        only_known(query, _ONE, "a request for an object")
        resource = self._generation(bucket, name, query.get("generation"))
        preconditions.check(query, resource, reading=reading)
        return resource

    def _generation(self, bucket: str, name: str, generation: str | int | None) -> dict[str, Any]:
        """The live object, which is the only generation that is kept."""
        resource = self._disk.live(bucket, name)
        if resource is None or (generation is not None and str(generation) != resource["generation"]):
            raise not_found(f"No such object: {bucket}/{name}" + (f"#{generation}" if generation else ""))
        return resource

    def _admit(self, query: dict[str, str], bucket: str, name: str) -> None:
        if bucket not in self._disk.buckets:
            raise not_found("The specified bucket does not exist.")
        preconditions.check(query, self._disk.live(bucket, name))


def _merge(resource: dict[str, Any], changes: dict[str, Any]) -> None:
    for key, value in changes.items():
        if value is None:
            resource.pop(key, None)
        elif isinstance(value, dict):
            _merge(resource.setdefault(key, {}), value)
        else:
            resource[key] = value
