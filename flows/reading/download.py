"""Brings one source file to local disk, whole or not at all: https, http and file URLs.

What counts is what the bytes are, never a name or a header: servers unzip a `.csv.gz` on the way, zip a parquet file,
or declare as Content-Encoding what is the file's own. A body is kept as it was sent, but a gzip around a file that is
compressed itself comes off, so that the checksum is the file's own.
"""

from __future__ import annotations

import email.utils
import errno
import gzip
import hashlib
import re
import shutil
import stat
import tempfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from io import FileIO
from os import stat_result
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit
from urllib.request import url2pathname

import httpx

from flows.errors import NotPublished, Refused, SourceUnavailable
from flows.reading.address import public
from flows.reading.file_kind import is_wrapped
from flows.reading.http_source import HttpSource
from flows.reading.retry import Deadline, Passing, Patience, persist

SPARE_DISK = 64 << 20
"""Bytes that a download leaves free on the spool's disk, for what is made from it."""

_READ = 1 << 20
# Content encodings that are kept; what is sent in another one, unasked, is decoded on the way.
_KEPT = {"", "identity", "gzip", "x-gzip"}
# What the spool's disk says that no other attempt changes.
_TERMINAL = {errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-\d+/(\d+|\*)")


@dataclass(frozen=True)
class Published:
    """What a source says of its version; each is None where it does not say.

    Attributes:
        url: the source, without user, password and query.
        etag: as the server gave it; for a file URL made of modification time and size.
        last_modified: an HTTP date.
        bytes: the size, if it is the file's own and not that of a body encoded for the way.
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

    Failures that may pass (no connection, time-out, a cut-off body, 5xx, 429, 403, a full disk) are retried; where the
    server offers ranges and names its version, a cut-off body goes on where it ended.

    Raises:
        NotPublished: the server does not have it (404, 410), or there is no such file.
        Forbidden: the server still answers 403 when patience ends.
        SourceUnavailable: what else failed last when patience ended.
        Refused: everything else, in one line. The spool then holds nothing new.
    """
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or name in {".", ".."} or "\0" in name:
        raise Refused(public(url), "the URL names no file")
    try:
        spool.mkdir(parents=True, exist_ok=True)
        # A directory of its own for the part: two downloads of one file never share it.
        with tempfile.TemporaryDirectory(dir=spool, prefix=f"{name[:100]}.", suffix=".part") as parts:
            part = Path(parts, name)
            received = _received(url, part, patience or Patience())
            body = _unwrapped(part) or received
            part.replace(spool / name)
    except OSError as error:
        raise _of_disk(error, public(url), f"could not be brought to {spool}") from None
    version = received.version
    return Spooled(spool / name, version.url, body.bytes, body.sha256, version.etag, version.last_modified)


def probe(url: str, *, patience: Patience | None = None) -> Published | None:
    """What the source says of its version, without downloading it; None where it is not published (404, 410).

    HEAD is a hint: whatever else than success it is answered with, a GET for the first byte decides.

    Raises:
        Forbidden, SourceUnavailable, Refused: one line, when the source cannot be asked.
    """
    try:
        if _is_file(url):
            return _file_version(url, _stat(url))
        with HttpSource(url, patience or Patience()) as source:
            return persist(lambda deadline: _asked(source, deadline), source.shown, source.patience)
    except NotPublished:
        return None


class _Body:
    """A body as far as it has been received: written to a file, counted and hashed.

    `length` is what was promised, in the bytes that are counted; None if nothing was. `mislabelled` is a body that is
    not in the content encoding that its server declares.
    """

    def __init__(self, file: BinaryIO | FileIO) -> None:
        self._file = file
        self.furthest = 0
        self.mislabelled = False
        self.restart()

    def restart(self) -> None:
        """Forget what was received."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.length: int | None = None
        self.encoding = ""
        self.version = Published("", None, None, None)

    def add(self, chunk: bytes) -> None:
        rest = memoryview(chunk)
        while rest:
            rest = rest[self._file.write(rest) :]
        self._digest.update(chunk)
        self.bytes += len(chunk)
        self.furthest = max(self.furthest, self.bytes)

    @property
    def kept(self) -> bool:
        """Whether the bytes are kept as they come."""
        return self.encoding in _KEPT or self.mislabelled

    @property
    def sha256(self) -> str:
        return self._digest.hexdigest()


def _received(url: str, part: Path, patience: Patience) -> _Body:
    # Without a buffer, which would keep what a full disk did not take, a body can begin anew.
    with part.open("wb", buffering=0) as file:
        body = _Body(file)
        if _is_file(url):
            persist(lambda deadline: _copy(url, body, part, deadline), public(url), patience)
            return body
        with HttpSource(url, patience) as source:
            receive = partial(_receive, source, body, part)
            persist(receive, source.shown, patience, lambda: body.furthest)
        return body


def _receive(source: HttpSource, body: _Body, part: Path, deadline: Deadline) -> None:
    """One attempt at the body, or at the rest of it."""
    with source.answer("GET", deadline, _resuming(body)) as response:
        if response.status_code == 206 and body.bytes:
            _require_rest(response, body)
        else:
            body.restart()
            body.encoding, body.version = _encoding(response), _version(source.shown, response)
            body.length = _length(response) if body.kept else None
        _require_disk(part, body)
        try:
            _write(response.iter_raw() if body.kept else response.iter_bytes(), source.shown, body, deadline)
        except httpx.DecodingError:
            body.mislabelled = True
            raise
    if body.length not in (None, body.bytes):
        raise Passing(f"the body ended after {body.bytes:,} of {body.length:,} bytes")


def _write(chunks: Iterator[bytes], shown: str, body: _Body, deadline: Deadline) -> None:
    """Add the chunks to the body. Raises Passing where the disk fails, SourceUnavailable when time is up."""
    try:
        for chunk in chunks:
            body.add(chunk)
            if deadline.left < 0:
                late = f"not finished within {deadline.seconds:.0f} s ({body.bytes:,} bytes came)"
                raise SourceUnavailable(shown, late)
    except OSError as error:
        body.restart()
        raise Passing(f"failed on disk: {error.strerror or error}") from None


def _resuming(body: _Body) -> dict[str, str]:
    """The headers that ask for the rest of a body, if and only if it is still the same version."""
    etag, last_modified = body.version.etag, body.version.last_modified
    validator = etag if etag and not etag.startswith("W/") else last_modified
    # What was decoded on the way is not at the byte that the server would go on from.
    possible = body.bytes and validator and body.kept
    return {"Range": f"bytes={body.bytes}-", "If-Range": validator} if possible else {}


def _require_rest(response: httpx.Response, body: _Body) -> None:
    """Refuse a partial answer that is not the rest of what is there; the next attempt then starts anew."""
    said = response.headers.get("Content-Range", "")
    match = _CONTENT_RANGE.fullmatch(said.strip())
    total = None if not match or match[2] == "*" else int(match[2])
    other = total and body.length and total != body.length
    if not match or int(match[1]) != body.bytes or other or _encoding(response) != body.encoding:
        at = body.bytes
        body.restart()
        raise Passing(f"the server went on at {said!r} where byte {at:,} was asked for")


def _require_disk(part: Path, body: _Body) -> None:
    free = shutil.disk_usage(part.parent).free
    missing = (body.length or 0) - body.bytes
    if missing + SPARE_DISK > free:
        raise Passing(f"needs {(missing + SPARE_DISK) >> 20:,} MB of disk and {free >> 20:,} MB are free")


def _unwrapped(part: Path) -> _Body | None:
    """Take off the gzip around a file that is compressed itself; None where there is none.

    One that is damaged stays, for the reader to refuse: only a file that came whole can be recorded as refused.
    """
    if not is_wrapped(part):
        return None
    inner = part.with_name(f"{part.name}.inner")
    try:
        with gzip.open(part) as source, inner.open("wb") as file:
            body = _Body(file)
            for chunk in iter(partial(source.read, _READ), b""):
                body.add(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return None
    inner.replace(part)
    return body


def _asked(source: HttpSource, deadline: Deadline) -> Published:
    try:
        with source.answer("HEAD", deadline) as response:
            return _version(source.shown, response)
    except (Refused, Passing):
        # Servers take no HEAD, sign their URLs for GET alone, or answer HEAD with any error at all.
        with source.answer("GET", deadline, {"Range": "bytes=0-0"}) as response:
            return _version(source.shown, response)


def _version(shown: str, response: httpx.Response) -> Published:
    plain = _encoding(response) in {"", "identity"}
    etag, last_modified = response.headers.get("ETag"), response.headers.get("Last-Modified")
    return Published(shown, etag, last_modified, _length(response) if plain else None)


def _length(response: httpx.Response) -> int | None:
    """The length of the whole body, as it is sent. Some servers answer HEAD with a length of 0: that is not known."""
    said = response.headers.get("Content-Length", "")
    if response.status_code == 206:
        said = response.headers.get("Content-Range", "").rpartition("/")[2]
    return (int(said) if said.isdecimal() else 0) or None


def _encoding(response: httpx.Response) -> str:
    return response.headers.get("Content-Encoding", "").strip().lower()


def _is_file(url: str) -> bool:
    return urlsplit(url).scheme == "file"


def _copy(url: str, body: _Body, part: Path, deadline: Deadline) -> None:
    """One attempt at the file of a file URL."""
    before = _stat(url)
    body.restart()
    body.version, body.length = _file_version(url, before), before.st_size
    _require_disk(part, body)
    with Path(_path_of(url)).open("rb") as source:
        _write(iter(partial(source.read, _READ), b""), public(url), body, deadline)
    if body.bytes != before.st_size or _file_version(url, _stat(url)) != body.version:
        raise Passing("the file changed while it was read")


def _path_of(url: str) -> str:
    return url2pathname(urlsplit(url).path)


def _stat(url: str) -> stat_result:
    try:
        found = Path(_path_of(url)).stat()
    except (FileNotFoundError, NotADirectoryError):
        raise NotPublished(public(url), "there is no such file") from None
    except OSError as error:
        raise _of_disk(error, public(url), "cannot be read") from None
    except ValueError as error:
        raise Refused(public(url), f"cannot be read: {error}") from None
    if not stat.S_ISREG(found.st_mode):
        raise Refused(public(url), "is not a plain file")
    return found


def _of_disk(error: OSError, shown: str, what: str) -> Refused | SourceUnavailable:
    """An error of a disk as one of ours: terminal where no other attempt can end differently."""
    kind = Refused if error.errno in _TERMINAL else SourceUnavailable
    return kind(shown, f"{what}: {error.strerror or error}")


def _file_version(url: str, found: stat_result) -> Published:
    modified = email.utils.formatdate(found.st_mtime, usegmt=True)
    return Published(public(url), f'"{found.st_mtime_ns:x}-{found.st_size:x}"', modified, found.st_size)
