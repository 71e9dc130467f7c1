"""A file while it is received: written, counted and hashed, and never more of it than the disk has room for."""

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
"""Bytes that a download leaves free on the spool's disk, for what is made from it."""

# Errors of a disk that another attempt does not change.
_TERMINAL = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}


@dataclass(frozen=True)
class SourceVersion:
    """What a source says of its version; each is None where it does not say.

    Attributes:
        url: the source, without user, password and query.
        etag: as the server gave it; for a file URL made of modification time and size.
        last_modified: an HTTP date.
        bytes: the file's size; None for a body that is encoded for the transfer.
    """

    url: str
    etag: str | None = None
    last_modified: str | None = None
    bytes: int | None = None


class PartFile:
    """What has been received of a source.

    Attributes:
        version: the version that is received.
        bytes: how many bytes have been received.
        length: how many bytes there will be; None if unknown.
        furthest: the most bytes that any attempt has received.
    """

    def __init__(self, file: FileIO) -> None:
        """Write to `file`: without a buffer, which would keep what a full disk did not take."""
        self._file = file
        self.furthest = 0
        self.restart(SourceVersion(""))

    def restart(self, version: SourceVersion, length: int | None = None) -> None:
        """Drop what was received, to receive this version."""
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
        """Write all chunks.

        Raises:
            AttemptFailed: the disk has no room or fails.
            SourceUnavailable: the deadline has passed.
        """
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
    """An error of a disk as Refused where another attempt would fail as well, else as SourceUnavailable."""
    kind = Refused if error.errno in _TERMINAL else SourceUnavailable
    return kind(subject, f"{what}: {error.strerror or error}")
