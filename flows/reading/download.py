"""Downloads one source file to local disk, completely or not at all: https, http and file URLs.

A body is kept as it was sent, whatever its name or Content-Encoding: servers decompress a `.csv.gz`, compress a parquet
file, or declare a file's own compression as Content-Encoding. Only a gzip around a compressed file is removed, so that
the checksum is that of the file.
"""

from __future__ import annotations

import gzip
import tempfile
import zlib
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote, urlsplit

from flows.errors import NotPublished, Refused
from flows.reading.address import public
from flows.reading.file_kind import is_compressed_twice
from flows.reading.file_source import FileSource
from flows.reading.http_source import HttpSource
from flows.reading.part_file import PartFile, SourceVersion, disk_error
from flows.reading.retry import DEFAULT_POLICY, RetryPolicy, retry

_CHUNK = 1 << 20


@dataclass(frozen=True)
class Spooled:
    """A source file on local disk: `bytes` long, `sha256` in hex; the rest as in SourceVersion."""

    path: Path
    url: str
    bytes: int
    sha256: str
    etag: str | None
    last_modified: str | None


def fetch(url: str, spool: Path, *, policy: RetryPolicy = DEFAULT_POLICY) -> Spooled:
    """Download `url` into the directory `spool`, which is created if needed; a file of the same name is replaced.

    Temporary failures (no connection, timeout, a truncated body, 5xx, 429, 403, a full disk) are retried. A truncated
    body is resumed if the server supports ranges and gives a version.

    Raises:
        NotPublished: the server does not have it (404, 410), or there is no such file.
        Forbidden: the server still answers 403 after the last retry.
        SourceUnavailable: another failure after the last retry.
        Refused: any other error; the spool directory is unchanged.
    """
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if not name or name in {".", ".."} or "\0" in name:
        raise Refused(public(url), "the URL names no file")
    try:
        spool.mkdir(parents=True, exist_ok=True)
        # Each download has a directory of its own, so that two downloads of one file do not conflict.
        with tempfile.TemporaryDirectory(dir=spool, prefix=f"{name[:100]}.", suffix=".part") as parts:
            path = Path(parts, name)
            received = _receive(url, path, policy)
            file = _unwrap(path) or received
            path.replace(spool / name)
    except OSError as error:
        raise disk_error(error, public(url), f"cannot be downloaded to {spool}") from None
    version = received.version
    return Spooled(spool / name, version.url, file.bytes, file.sha256, version.etag, version.last_modified)


def probe(url: str, *, policy: RetryPolicy = DEFAULT_POLICY) -> SourceVersion | None:
    """The source's version, without a download; None if it is not published (404, 410). Raises as `fetch` does."""
    source = _source(url, policy)
    try:
        return retry(source.version, source.shown, policy)
    except NotPublished:
        return None


def _source(url: str, policy: RetryPolicy) -> FileSource | HttpSource:
    return FileSource(url) if urlsplit(url).scheme == "file" else HttpSource(url, policy)


def _receive(url: str, path: Path, policy: RetryPolicy) -> PartFile:
    source = _source(url, policy)
    with path.open("wb", buffering=0) as file:
        part = PartFile(file)
        retry(partial(source.receive, part), source.shown, policy, lambda: part.furthest)
        return part


def _unwrap(path: Path) -> PartFile | None:
    """Remove the gzip around a compressed file; None if there is none, or a damaged one, which the reader refuses."""
    if not is_compressed_twice(path):
        return None
    inner = path.with_name(f"{path.name}.inner")
    try:
        with gzip.open(path) as source, inner.open("wb", buffering=0) as file:
            part = PartFile(file)
            for chunk in iter(partial(source.read, _CHUNK), b""):
                part.add(chunk)
    except (EOFError, zlib.error, gzip.BadGzipFile):
        return None
    inner.replace(path)
    return part
