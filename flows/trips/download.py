"""Brings one source file to local disk, whole or not at all: https, http and file URLs.

Bodies are kept as the server sent them (nothing is decoded on the way), so that the checksum is the file's own.
"""

from __future__ import annotations

import email.utils
import hashlib
import re
import shutil
import stat
import tempfile
from dataclasses import dataclass
from os import stat_result
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import httpx

from flows.errors import NotPublished, Refused
from flows.trips.catalog import public
from flows.trips.http_source import HttpSource
from flows.trips.patience import Deadline, Passing, Patience, persist
from flows.trips.sniff import refuse_unless_data

SPARE_DISK = 64 << 20
"""Bytes that a download leaves free on the spool's disk, for what is made from it."""

_READ = 1 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class Published:
    """What a source says of its version; each is None where it does not say.

    Attributes:
        url: the source, without user, password and query.
        etag: as the server gave it; for a file URL made of modification time and size.
        last_modified: an HTTP date.
        bytes: the size.
    """

    url: str
    etag: str | None
    last_modified: str | None
    bytes: int | None


@dataclass(frozen=True)
class Spooled:
    """A source file on local disk: `bytes` long, `sha256` in hex; the rest as in Published."""

    path: Path
    url: str
    bytes: int
    sha256: str
    etag: str | None
    last_modified: str | None


def fetch(url: str, spool: Path, *, patience: Patience | None = None) -> Spooled:
    """Download `url` into the directory `spool`, which is made if need be; a file of the same name there is replaced.

    Failures that pass (no connection, time-out, a cut-off body, 5xx, 429) are retried; where the server offers ranges
    and names its version, a cut-off body goes on where it ended.

    Raises:
        NotPublished: the server does not have it (403, 404, 410), or there is no such file.
        Refused: everything else, in one line: what failed last when patience ended, a full disk, a body that is no data
            file. The spool then holds nothing new.
    """
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or name in {".", ".."} or "\0" in name:
        raise Refused(public(url), "the URL names no file")
    try:
        spool.mkdir(parents=True, exist_ok=True)
        # A directory of its own for the part: two downloads of one file never share it, and it keeps the name that
        # says what the file claims to be.
        with tempfile.TemporaryDirectory(dir=spool, prefix=f"{name[:100]}.", suffix=".part") as parts:
            part = Path(parts, name)
            body = _copied(url, part) if _is_file(url) else _downloaded(url, part, patience or Patience())
            refuse_unless_data(part, public(url))
            part.replace(spool / name)
    except OSError as error:
        raise Refused(public(url), f"could not be brought to {spool}: {error.strerror or error}") from None
    version = body.version
    return Spooled(spool / name, version.url, body.bytes, body.sha256, version.etag, version.last_modified)


def probe(url: str, *, patience: Patience | None = None) -> Published | None:
    """What the source says of its version, without downloading it; None where it is not published.

    Asks by HEAD, and by GET for the first byte where a server does not take HEAD.

    Raises:
        Refused: one line, when the source cannot be asked.
    """
    try:
        if _is_file(url):
            return _file_version(url, _stat(url))
        with HttpSource(url, patience or Patience()) as source:
            return persist(lambda deadline: _asked(source, deadline), source.shown, source.patience)
    except NotPublished:
        return None


class _Body:
    """A body as far as it has been received: written to a file, counted and hashed."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.furthest = 0
        self.restart()

    def restart(self) -> None:
        """Forget what was received."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.version = Published("", None, None, None)

    def add(self, chunk: bytes) -> None:
        self._file.write(chunk)
        self._digest.update(chunk)
        self.bytes += len(chunk)
        self.furthest = max(self.furthest, self.bytes)

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _downloaded(url: str, part: Path, patience: Patience) -> _Body:
    with HttpSource(url, patience) as source, part.open("wb") as file:
        body = _Body(file)
        persist(lambda deadline: _receive(source, body, part, deadline), source.shown, patience, lambda: body.furthest)
        return body


def _receive(source: HttpSource, body: _Body, part: Path, deadline: Deadline) -> None:
    """One attempt at the body, or at the rest of it."""
    with source.answer("GET", deadline, _resuming(body)) as response:
        if response.status_code == 206 and body.bytes:
            _require_rest(response, body)
        else:
            body.restart()
            body.version = _version(source.shown, response)
        _require_disk(source.shown, part, body)
        for chunk in response.iter_raw():
            body.add(chunk)
            if deadline.left < 0:
                raise Refused(source.shown, f"not finished within {deadline.seconds:.0f} s ({body.bytes:,} bytes came)")
    expected = body.version.bytes
    if expected is not None and body.bytes != expected:
        raise Passing(f"the body ended after {body.bytes:,} of {expected:,} bytes")


def _resuming(body: _Body) -> dict[str, str]:
    """The headers that ask for the rest of a body, if and only if it is still the same version."""
    etag, last_modified = body.version.etag, body.version.last_modified
    validator = etag if etag and not etag.startswith("W/") else last_modified
    return {"Range": f"bytes={body.bytes}-", "If-Range": validator} if body.bytes and validator else {}


def _require_rest(response: httpx.Response, body: _Body) -> None:
    """Refuse a partial answer that is not the rest of what is there; the next attempt then starts anew."""
    said = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(said.strip())
    total = None if not match or match[2] == "*" else int(match[2])
    if not match or int(match[1]) != body.bytes or (total and body.version.bytes and total != body.version.bytes):
        at = body.bytes
        body.restart()
        raise Passing(f"the server went on at {said!r} where byte {at:,} was asked for")


def _require_disk(shown: str, part: Path, body: _Body) -> None:
    free = shutil.disk_usage(part.parent).free
    missing = (body.version.bytes or 0) - body.bytes
    if missing + SPARE_DISK > free:
        raise Refused(shown, f"needs {(missing + SPARE_DISK) >> 20:,} MB of disk and {free >> 20:,} MB are free")


def _asked(source: HttpSource, deadline: Deadline) -> Published:
    try:
        with source.answer("HEAD", deadline) as response:
            return _version(source.shown, response)
    except NotPublished:
        raise
    except Refused:
        # Some servers take no HEAD (405, 501), or sign their URLs for GET alone (400).
        with source.answer("GET", deadline, {"Range": "bytes=0-0"}) as response:
            return _version(source.shown, response)


def _version(shown: str, response: httpx.Response) -> Published:
    size = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        size = response.headers.get("Content-Range", "").rpartition("/")[2]
    return Published(
        shown,
        response.headers.get("ETag"),
        response.headers.get("Last-Modified"),
        int(size) if size.isdecimal() else None,
    )


def _is_file(url: str) -> bool:
    return urlsplit(url).scheme == "file"


def _copied(url: str, part: Path) -> _Body:
    before = _stat(url)
    with Path(_path_of(url)).open("rb") as source, part.open("wb") as file:
        body = _Body(file)
        body.version = _file_version(url, before)
        _require_disk(public(url), part, body)
        while chunk := source.read(_READ):
            body.add(chunk)
    if body.bytes != before.st_size or _file_version(url, _stat(url)) != body.version:
        raise Refused(public(url), "the file changed while it was read")
    return body


def _path_of(url: str) -> str:
    return url2pathname(urlsplit(url).path)


def _stat(url: str) -> stat_result:
    try:
        found = Path(_path_of(url)).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotPublished(public(url), "there is no such file") from None
    except (OSError, ValueError) as error:
        raise Refused(public(url), f"cannot be read: {getattr(error, 'strerror', None) or error}") from None
    if not stat.S_ISREG(found.st_mode):
        raise Refused(public(url), "is not a plain file")
    return found


def _file_version(url: str, found: stat_result) -> Published:
    modified = email.utils.formatdate(found.st_mtime, usegmt=True)
    return Published(public(url), f'"{found.st_mtime_ns:x}-{found.st_size:x}"', modified, found.st_size)
