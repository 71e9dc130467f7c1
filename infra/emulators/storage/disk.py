"""Objects on disk: the package's store, made safe against crashes and flat in memory."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gcp_storage_emulator import storage as package
from gcp_storage_emulator.exceptions import NotFound

# Real generations are microseconds as well. The package numbers by nanoseconds, and from the clock alone.
_GENERATIONS_PER_SECOND = 1_000_000


class Disk(package.Storage):
    """The package's `Storage` with one file for each generation of an object, and an index replaced whole.

    An object's bytes are therefore never written over: a reader of an overwritten object reads on to its end, and
    after a crash the index names only files that are complete.
    """

    def __init__(self, state: Path) -> None:
        super().__init__(data_dir=str(state))
        self.root = state / package.STORAGE_DIR
        self._last_generation = max(
            (int(o["generation"]) for b in self.objects.values() for o in b.values()), default=0
        )

    def live(self, bucket: str, name: str) -> dict[str, Any] | None:
        """The object's resource, or None."""
        return self.objects.get(bucket, {}).get(name)

    def content(self, resource: dict[str, Any]) -> Path:
        """The file with the bytes of one generation."""
        return self.root / resource["bucket"] / resource["generation"]

    def adopt(self, resource: dict[str, Any], body: Path) -> dict[str, Any]:
        """Make the file `body` the object's newest generation; the file is moved, not copied. Gives the resource."""
        bucket, name = resource["bucket"], resource["name"]
        if bucket not in self.buckets:
            raise NotFound(f"The specified bucket does not exist: {bucket}")
        before = self.live(bucket, name)
        self._number(resource)
        body.replace(self.content(resource))
        self.objects.setdefault(bucket, {})[name] = resource
        self._write_config_to_file()
        if before:
            self.content(before).unlink(missing_ok=True)
        return resource

    def remove(self, bucket: str, name: str) -> None:
        """Delete the object for good: there is no soft delete here."""
        resource = self.objects[bucket].pop(name)
        self._write_config_to_file()
        self.content(resource).unlink(missing_ok=True)

    def create_file(
        self, bucket_name: str, file_name: str, content: bytes, file_obj: dict[str, Any], file_id: str | None = None
    ) -> None:
        """What the package's own handlers write through."""
        body = self.root / f"{file_obj['generation']}.body"
        body.write_bytes(content)
        file_obj |= {"bucket": bucket_name, "name": file_name, "size": str(len(content))}
        self.adopt(file_obj, body)

    def get_file(self, bucket_name: str, file_name: str, show_error: bool = True) -> bytes:
        """What the package's own handlers read through."""
        return self.content(self.get_file_obj(bucket_name, file_name)).read_bytes()

    def save(self) -> None:
        """Write the index, after a change to a resource in it."""
        self._write_config_to_file()

    def _write_config_to_file(self) -> None:
        index = {
            "buckets": self.buckets,
            "objects": self.objects,
            "resumable": self.resumable,
            "bucket_iam_policies": self.bucket_iam_policies,
            "soft_deleted": self.soft_deleted,
        }
        part = self.root / ".meta.part"
        part.write_text(json.dumps(index))
        part.replace(self.root / ".meta")

    def _number(self, resource: dict[str, Any]) -> None:
        now = time.time_ns() * _GENERATIONS_PER_SECOND // 1_000_000_000
        self._last_generation = generation = max(now, self._last_generation + 1)
        bucket, name = resource["bucket"], resource["name"]
        # Clients make the address themselves. Kept, it would name the port of a run that is over.
        resource.pop("mediaLink", None)
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        resource |= {
            "generation": str(generation),
            "metageneration": "1",
            "id": f"{bucket}/{name}/{generation}",
            "timeCreated": stamp,
            "updated": stamp,
            "etag": f"{generation}/1",
        }
