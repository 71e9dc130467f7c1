"""Buckets and objects on disk: one index of resources, and one file per generation of an object."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from infra.emulators.media import Digest
from infra.emulators.rest import not_found

Resource = dict[str, Any]


class ObjectFiles:
    """Everything the emulator stores.

    The bytes of an object are never overwritten, and the index is replaced as a whole. So a reader of an object that
    is replaced reads the old bytes to the end, and after a crash the index names only complete files.
    """

    def __init__(self, state: Path) -> None:
        self._root = state / ".cloudstorage"
        self._root.mkdir(parents=True, exist_ok=True)
        self._index = self._root / ".meta"
        known = json.loads(self._index.read_text()) if self._index.exists() else {}
        self.buckets: dict[str, Resource] = known.get("buckets", {})
        self.objects: dict[str, dict[str, Resource]] = known.get("objects", {})
        generations = (int(each["generation"]) for objects in self.objects.values() for each in objects.values())
        self._last_generation = max(generations, default=0)

    def bucket(self, name: str) -> Resource:
        """Return the bucket's resource; raise 404 if it does not exist."""
        if name not in self.buckets:
            raise not_found("The specified bucket does not exist.")
        return self.buckets[name]

    def add_bucket(self, resource: Resource) -> None:
        """Store a new bucket."""
        (self._root / resource["name"]).mkdir(exist_ok=True)
        self.buckets[resource["name"]] = resource
        self.save()

    def live(self, bucket: str, name: str) -> Resource | None:
        """Return the object's resource, or None."""
        return self.objects.get(bucket, {}).get(name)

    def content(self, resource: Resource) -> Path:
        """Return the file with the bytes of one generation."""
        return self._root / resource["bucket"] / resource["generation"]

    def put(self, bucket: str, name: str, metadata: Resource, digest: Digest, body: Path) -> Resource:
        """Make the file `body` the object's newest generation and return its resource. The file is moved."""
        previous = self.live(bucket, name)
        # Microseconds, as in Cloud Storage, and never twice the same.
        self._last_generation = generation = max(time.time_ns() // 1000, self._last_generation + 1)
        now = timestamp()
        resource = {
            "kind": "storage#object",
            "id": f"{bucket}/{name}/{generation}",
            "bucket": bucket,
            "name": name,
            "generation": str(generation),
            "metageneration": "1",
            "etag": f"{generation}/1",
            "size": str(digest.size),
            "md5Hash": digest.md5,
            "crc32c": digest.crc32c,
            "storageClass": "STANDARD",
            "timeCreated": now,
            "updated": now,
        } | metadata
        body.replace(self.content(resource))
        self.objects.setdefault(bucket, {})[name] = resource
        self.save()
        if previous:
            self.content(previous).unlink(missing_ok=True)
        return resource

    def remove(self, bucket: str, name: str) -> None:
        """Delete the object. There is no soft delete here."""
        resource = self.objects[bucket].pop(name)
        self.save()
        self.content(resource).unlink(missing_ok=True)

    def save(self) -> None:
        """Write the index, after a change to a resource in it."""
        part = self._index.with_suffix(".part")
        part.write_text(json.dumps({"buckets": self.buckets, "objects": self.objects}))
        part.replace(self._index)


def timestamp() -> str:
    """Return the current time as Cloud Storage writes it."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
