"""The content identifies data files; for other files an error says in one line what they are."""

from __future__ import annotations

import gzip
import io

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.errors import Refused
from flows.reading.file_kind import FileKind, detect_kind

HEADER = b"VendorID,tpep_pickup_datetime\n1,2021-01-01 00:00:00\n"


def parquet() -> bytes:
    sink = io.BytesIO()
    pq.write_table(pa.table({"a": [1]}), sink)
    return sink.getvalue()


def detect(tmp_path, name: str, data: bytes, subject: str = "https://host/a") -> FileKind:
    path = tmp_path / name
    path.write_bytes(data)
    return detect_kind(path, subject)


@pytest.mark.parametrize(
    ("name", "data", "kind"),
    [
        ("a.csv", HEADER, FileKind.CSV),
        ("a.csv", b"\xef\xbb\xbf" + HEADER, FileKind.CSV),
        ("a.csv", b"\r\n\r\n" + HEADER, FileKind.CSV),
        ("a.csv.gz", gzip.compress(HEADER), FileKind.CSV_GZ),
        ("a.parquet", parquet(), FileKind.PARQUET),
        ("unnamed", parquet(), FileKind.PARQUET),
        ("a.parquet", HEADER, FileKind.CSV),
        ("a.csv.gz", HEADER, FileKind.CSV),
        ("a.csv", parquet(), FileKind.PARQUET),
        ("unnamed", gzip.compress(HEADER), FileKind.CSV_GZ),
    ],
)
def test_the_content_decides_the_kind_not_the_name(tmp_path, name, data, kind):
    assert detect(tmp_path, name, data) is kind


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("a.csv", b"", "is empty (0 bytes)"),
        ("a.parquet", b"", "is empty (0 bytes)"),
        ("a.csv", b" \r\n\n ", "is empty (white space only)"),
        ("a.csv", b"\n\n<!DOCTYPE html>\n<html>", "is an HTML page, not a data file"),
        ("a.csv", b"<HTML><body>", "is an HTML page, not a data file"),
        (
            "a.parquet",
            b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
            "is an XML document, not a data file (AccessDenied)",
        ),
        (
            "a.csv",
            b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n",
            "is a Git LFS pointer, not the file it stands for",
        ),
        ("a.csv", b"../.git/annex/objects/x/y/MD5E-s1--0.csv\n", "is a git-annex pointer, not the file it stands for"),
        ("a.csv", b"<<<<<<< HEAD\n" + HEADER, "holds merge-conflict markers"),
        ("a.csv", HEADER + b"=======\r\n" + HEADER + b">>>>>>> branch\r\n", "holds merge-conflict markers"),
        ("a.csv", b'{"message": "Not Found"}', "is JSON, not a data file"),
        ("a.csv", b"\x7fELF\x02\x01\x01\x00", "is binary, neither CSV nor parquet"),
        ("a.csv", b"PK\x03\x04....", "is a zip archive"),
        ("a.csv", HEADER.decode().encode("utf-16"), "is UTF-16 text"),
        ("a.csv.gz", gzip.compress(b"<html>"), "is a gzip of a file that is an HTML page, not a data file"),
        ("a.csv.gz", gzip.compress(b""), "is a gzip file with no content"),
        ("a.csv.gz", gzip.compress(parquet()), "is a gzip file of another compressed file, or a damaged one"),
        ("a.csv.gz", gzip.compress(HEADER)[:10], "is a truncated gzip file of 10 bytes"),
        ("a.csv.gz", gzip.compress(HEADER)[:10] + b"\xff" * 20, "is a damaged gzip file: "),
        ("a.parquet", parquet()[:-1], "is a cut-off parquet file: no PAR1 at its end, after "),
        ("a.parquet", b"PAR1PAR1", "is a cut-off parquet file: no PAR1 at its end, after 8 bytes"),
        ("a.parquet", b"PARE" + b"0" * 50, "is an encrypted parquet file"),
    ],
)
def test_a_file_that_is_not_data_is_refused(tmp_path, name, data, reason):
    with pytest.raises(Refused) as refused:
        detect(tmp_path, name, data)
    assert refused.value.subject == "https://host/a"
    assert refused.value.reason.startswith(reason)
    assert "\n" not in str(refused.value)
