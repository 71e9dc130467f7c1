"""The kind of a downloaded file, by its first and last bytes: data, or something that servers send instead."""

from __future__ import annotations

import gzip
import re
import zlib
from enum import StrEnum
from pathlib import Path

from flows.errors import Refused


class FileKind(StrEnum):
    """The kinds of data file; the value is the usual file name extension."""

    CSV = "csv"
    CSV_GZ = "csv.gz"
    PARQUET = "parquet"


HEAD = 1 << 16
PARQUET_MAGIC = b"PAR1"
GZIP_MAGIC = b"\x1f\x8b"

# First bytes of files that are not data files, most specific first.
OTHER_MAGIC = (
    (b"PARE", "is an encrypted parquet file"),
    (b"PK\x03\x04", "is a zip archive"),
    (b"BZh", "is a bzip2 file"),
    (b"\xfd7zXZ", "is an xz file"),
    (b"\x28\xb5\x2f\xfd", "is a zstandard file"),
    (b"7z\xbc\xaf", "is a 7-zip archive"),
    (b"%PDF", "is a PDF document"),
    (b"ORC", "is an ORC file"),
    (b"ARROW1", "is an Arrow file"),
    (b"\xff\xfe", "is UTF-16 text"),
    (b"\xfe\xff", "is UTF-16 text"),
)
# How text files start that are not CSV, after a byte order mark and white space.
OTHER_TEXT = (
    (re.compile(rb"<(!doctype\s+html|html|head|body)\b", re.IGNORECASE), "is an HTML page, not a data file"),
    (re.compile(rb"<"), "is an XML document, not a data file"),
    (re.compile(rb"version https://git-lfs\.github\.com/spec/"), "is a Git LFS pointer, not the file it stands for"),
    (re.compile(rb"[^\n]{0,1000}/annex/objects/"), "is a git-annex pointer, not the file it stands for"),
    (re.compile(rb"[{\[]"), "is JSON, not a data file"),
    (re.compile(rb"[^\n]*?[\x00-\x08\x0e-\x1f\x7f]"), "is binary, neither CSV nor parquet"),
)
CONFLICT = re.compile(rb"^(?:<{7}|={7}|>{7}|\|{7})(?: .*)?\r?$", re.MULTILINE)
CONFLICT_REASON = "holds merge-conflict markers"


def detect_kind(path: Path, subject: str) -> FileKind:
    """The kind of the file at `path`, from its first 64 KiB and last 4 bytes. Raises Refused if it is no data file.

    The name is ignored: servers decompress a `.csv.gz`, or compress a `.csv`.
    """
    head, tail, size = _ends(path)
    reason = _why_not_data(head, tail, size)
    if reason:
        raise Refused(subject, reason)
    return _kind(head)


def is_compressed_twice(path: Path) -> bool:
    """Whether the file is a gzip of a compressed data file: gzip or parquet."""
    try:
        with gzip.open(path) as file:
            return file.read(4).startswith((GZIP_MAGIC, PARQUET_MAGIC))
    except (OSError, EOFError, zlib.error):
        return False


def _ends(path: Path) -> tuple[bytes, bytes, int]:
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(HEAD)
        file.seek(max(0, size - 4))
        return head, file.read(4), size


def _kind(head: bytes) -> FileKind:
    if head.startswith(PARQUET_MAGIC):
        return FileKind.PARQUET
    return FileKind.CSV_GZ if head.startswith(GZIP_MAGIC) else FileKind.CSV


def _why_not_data(head: bytes, tail: bytes, size: int) -> str | None:
    """Why the file is not a data file; None if it may be one."""
    if not size:
        return "is empty (0 bytes)"
    if head.startswith(PARQUET_MAGIC):
        # The smallest parquet: magic, a footer of at least a byte, its length, magic.
        whole = size > 12 and tail == PARQUET_MAGIC
        return None if whole else f"is a cut-off parquet file: no PAR1 at its end, after {size:,} bytes"
    if head.startswith(GZIP_MAGIC):
        return _why_not_data_in_gzip(head, size)
    return _why_not_csv(head)


def _why_not_data_in_gzip(head: bytes, size: int) -> str | None:
    inflate = zlib.decompressobj(wbits=31)
    try:
        inner = inflate.decompress(head, HEAD)
    except zlib.error as error:
        return f"is a damaged gzip file: {error}"
    if not inner:
        whole = inflate.eof and size <= HEAD
        return "is a gzip file with no content" if whole else f"is a truncated gzip file of {size:,} bytes"
    if inner.startswith((PARQUET_MAGIC, GZIP_MAGIC)):
        return "is a gzip file of another compressed file, or a damaged one"
    reason = _why_not_csv(inner)
    return reason and f"is a gzip of a file that {reason}"


def _why_not_csv(head: bytes) -> str | None:
    """What a text file is instead of CSV, such as an HTML page or a pointer; None if it may be CSV."""
    magic = next((what for magic, what in OTHER_MAGIC if head.startswith(magic)), None)
    if magic:
        return magic
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if not text:
        return "is empty (white space only)"
    if CONFLICT.search(head):
        return CONFLICT_REASON
    what = next((what for start, what in OTHER_TEXT if start.match(text)), None)
    error = re.search(rb"<Code>(\w{1,60})</Code>", text) if text.startswith(b"<") else None
    return what and what + (f" ({error[1].decode()})" if error else "")
