"""A text file, gzip or not, as blocks of whole lines in UTF-8, in memory that does not grow with the file."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Iterator
from io import BufferedIOBase
from pathlib import Path

from flows.errors import Refused
from flows.reading.file_kind import FileKind

BLOCK = 1 << 20
LONGEST_LINE = 1 << 20


def text_blocks(path: Path, kind: FileKind, subject: str) -> Iterator[bytes]:
    r"""The file's text in blocks of whole lines, about 1 MiB each, without a byte order mark.

    Bytes that are not UTF-8 become the four characters `\xNN`. Line ends are those of the file (`\n` or `\r\n`); if the
    first block has only `\r`, every `\r` is a line end. Raises Refused for a line longer than 1 MiB, or damaged gzip.
    """
    with gzip.open(path, "rb") if kind is FileKind.CSV_GZ else path.open("rb") as file:
        block = _read(file, subject).removeprefix(b"\xef\xbb\xbf")
        carriage_returns = b"\r" in block and b"\n" not in block
        tail = b""
        while block:
            block = tail + (block.replace(b"\r", b"\n") if carriage_returns else block)
            end = block.rfind(b"\n") + 1
            if end:
                yield _utf8(block[:end])
            tail = block[end:]
            if len(tail) > LONGEST_LINE:
                raise Refused(subject, f"is not CSV: a line is longer than {LONGEST_LINE:,} bytes")
            block = _read(file, subject)
        if tail:
            yield _utf8(tail)


def _read(file: BufferedIOBase, subject: str) -> bytes:
    try:
        return file.read(BLOCK)
    except EOFError:
        raise Refused(subject, "is a truncated gzip file: it stops before its end") from None
    except (gzip.BadGzipFile, zlib.error) as error:
        raise Refused(subject, f"is a damaged gzip file: {error}") from None


def _utf8(block: bytes) -> bytes:
    return block if block.isascii() else block.decode("utf-8", "backslashreplace").encode()
