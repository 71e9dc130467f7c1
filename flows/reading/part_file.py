"""A file during its download: written, counted and hashed, if the disk has room for it."""

from __future__ import annotations

import errno
import hashlib
import shutil
import time
from collections.abc import Iterable
from dataclasses import dataclass
from io import FileIO

from flows.errors import Refused, SourceUnavailable
from flows.reading.retry import AttemptFailed

SPARE_DISK = 64 << 20
"""Bytes that a download leaves free on the spool's disk, for the files that are made from it."""

# Disk errors that a retry does not change.
_TERMINAL = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}


@dataclass(frozen=True)
class SourceVersion:
    """The version of a source, as far as it is known.

    The URL is without user, password and query, the ETag of a file URL is made of modification time and size, and
    `last_modified` is an HTTP date. `bytes` is unknown for a body with a content encoding.
    """

    url: str
    etag: str | None = None
    last_modified: str | None = None
    bytes: int | None = None


class PartFile:
    """The received part of a source, written to an unbuffered file: a buffer would keep what a full disk rejected.

    Attributes:
        version: the version that is received.
        bytes: how many bytes have been received.
        length: how many bytes there will be; None if unknown.
        furthest: the most bytes that any attempt has received.
    """

    def __init__(self, file: FileIO) -> None:
        self._file = file
        self.furthest = 0
        self.restart(SourceVersion(""))

    def restart(self, version: SourceVersion, length: int | None = None) -> None:
        """Start again from byte 0, with this version."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.version, self.length = version, length

    def add(self, chunk: bytes) -> None:
        """Write the next bytes."""
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._digest.update(chunk)
        self.bytes += len(chunk)
        self.furthest = max(self.furthest, self.bytes)

    def receive(self, chunks: Iterable[bytes], deadline: float) -> None:
        """Write all chunks. Raises AttemptFailed if the disk is full or fails, SourceUnavailable after the deadline."""
        self._require_disk()
        try:
            for chunk in chunks:
                self.add(chunk)
                if time.monotonic() > deadline:
                    late = f"not finished within the time limit (received {self.bytes:,} bytes)"
                    raise SourceUnavailable(self.version.url, late)
        except OSError as error:
            self.restart(self.version)
            raise AttemptFailed(f"failed on disk: {error.strerror or error}") from None

    def _require_disk(self) -> None:
        free = shutil.disk_usage(self._file.fileno()).free
        needed = (self.length or 0) - self.bytes + SPARE_DISK
        if needed > free:
            raise AttemptFailed(f"needs {needed >> 20:,} MB of disk and {free >> 20:,} MB are free")

    @property
    def sha256(self) -> str:
        """The checksum of what was received, in hex."""
        return self._digest.hexdigest()


def disk_error(error: OSError, subject: str, what: str) -> Refused | SourceUnavailable:
    """A disk error as Refused if a retry would fail as well, otherwise as SourceUnavailable."""
    kind = Refused if error.errno in _TERMINAL else SourceUnavailable
    return kind(subject, f"{what}: {error.strerror or error}")
