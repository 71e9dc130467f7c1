"""A file URL as a source."""

from __future__ import annotations

import email.utils
import stat
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import url2pathname

from flows.errors import NotPublished, Refused
from flows.reading.address import public
from flows.reading.part_file import PartFile, SourceVersion, disk_error
from flows.reading.retry import AttemptFailed

_CHUNK = 1 << 20


class FileSource:
    """The file of a file URL."""

    def __init__(self, url: str) -> None:
        self.shown, self._path = public(url), Path(url2pathname(urlsplit(url).path))

    def version(self, _: float = 0.0) -> SourceVersion:
        """The file's current version. Raises NotPublished, Refused or SourceUnavailable."""
        try:
            found = self._path.stat()
        except (FileNotFoundError, NotADirectoryError):
            raise NotPublished(self.shown, "there is no such file") from None
        except OSError as error:
            raise disk_error(error, self.shown, "cannot be read") from None
        except ValueError as error:
            raise Refused(self.shown, f"cannot be read: {error}") from None
        if not stat.S_ISREG(found.st_mode):
            raise Refused(self.shown, "is not a plain file")
        modified = email.utils.formatdate(found.st_mtime, usegmt=True)
        return SourceVersion(self.shown, f'"{found.st_mtime_ns:x}-{found.st_size:x}"', modified, found.st_size)

    def receive(self, part: PartFile, deadline: float) -> None:
        """One attempt to copy the file. Raises as `version` does, and AttemptFailed if the file changes meanwhile."""
        version = self.version()
        part.restart(version, version.bytes)
        with self._path.open("rb") as file:
            part.receive(iter(partial(file.read, _CHUNK), b""), deadline)
        if part.bytes != version.bytes or self.version() != version:
            raise AttemptFailed("the file changed while it was read")
