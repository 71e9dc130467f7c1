"""Downloads from a real server on loopback that has the faults of real servers."""

from __future__ import annotations

import base64
import gzip
import hashlib
import logging
import os
import resource
import shutil
import threading
import time
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.errors import Forbidden, NotPublished, Refused, SourceUnavailable, TaxiwayError
from flows.reading import part_file
from flows.reading.download import fetch, probe
from flows.reading.file_kind import FileKind, detect_kind
from flows.reading.retry import RetryPolicy
from tests.http_server import ETAG, Answer, Handler, cut, ranged, status, whole

QUICK = RetryPolicy(attempts=3, first_wait=0.01, connect_timeout=2, read_timeout=0.5, total_timeout=5)


@pytest.fixture(scope="module")
def parquet(tmp_path_factory) -> bytes:
    path = tmp_path_factory.mktemp("source") / "a.parquet"
    pq.write_table(pa.table({"VendorID": list(range(50_000))}), path)
    return path.read_bytes()


def gets(server) -> list[dict[str, str]]:
    return [headers for verb, _, headers in server.seen if verb == "GET"]


def refusal(url: str, spool: Path, policy: RetryPolicy = QUICK) -> str:
    """The error of a download that fails, in one line; it leaves no files."""
    with pytest.raises(TaxiwayError) as refused:
        fetch(url, spool, policy=policy)
    assert "\n" not in str(refused.value)
    assert not spool.exists() or list(spool.iterdir()) == []
    return str(refused.value)


def test_a_download_is_complete_with_checksum_and_version(server, parquet, tmp_path):
    dated = "Wed, 20 Jul 2022 15:00:00 GMT"
    url = server.url("/d/green_tripdata_2021-01.parquet", whole(parquet, ETag=ETAG, **{"Last-Modified": dated}))
    got = fetch(url, tmp_path / "spool", policy=QUICK)
    assert got.path == tmp_path / "spool" / "green_tripdata_2021-01.parquet"
    assert got.path.read_bytes() == parquet
    assert (got.url, got.bytes, got.etag, got.last_modified) == (url, len(parquet), ETAG, dated)
    assert got.sha256 == hashlib.sha256(parquet).hexdigest()
    assert [path.name for path in (tmp_path / "spool").iterdir()] == [got.path.name]


def test_an_existing_file_is_replaced(server, parquet, tmp_path):
    (tmp_path / "a.parquet").write_bytes(b"old")
    fetch(server.url("/a.parquet", whole(parquet)), tmp_path, policy=QUICK)
    assert (tmp_path / "a.parquet").read_bytes() == parquet


@pytest.mark.parametrize("code", [403, 408, 429, 500, 502, 503, 504])
def test_transient_answers_are_retried(server, parquet, tmp_path, code):
    got = fetch(server.url("/a.parquet", status(code), status(code), whole(parquet)), tmp_path, policy=QUICK)
    assert got.bytes == len(parquet)
    assert len(server.seen) == 3


@pytest.mark.parametrize(("code", "error"), [(503, SourceUnavailable), (403, Forbidden)])
def test_the_last_failure_is_raised_after_the_last_attempt(server, tmp_path, code, error):
    with pytest.raises(error, match=rf"/a.parquet: the server answered {code} \w.* \(gave up after 3 attempts\)"):
        fetch(server.url("/a.parquet", status(code)), tmp_path, policy=QUICK)
    assert len(server.seen) == 3


def test_retry_after_is_honoured(server, parquet, tmp_path):
    started = time.monotonic()
    fetch(server.url("/a.parquet", status(429, Retry_After=1), whole(parquet)), tmp_path, policy=QUICK)
    assert time.monotonic() - started >= 1


def test_retry_after_beyond_the_time_left_ends_at_once(server, tmp_path):
    line = refusal(server.url("/a.parquet", status(503, Retry_After="Fri, 31 Dec 2100 23:59:59 GMT")), tmp_path)
    assert "no time left for another attempt" in line


@pytest.mark.parametrize("code", [404, 410])
def test_a_missing_file_is_not_published(server, tmp_path, code):
    with pytest.raises(NotPublished, match=f"the server answered {code}"):
        fetch(server.url("/a.parquet", status(code)), tmp_path, policy=QUICK)
    assert len(server.seen) == 1


@pytest.mark.parametrize("code", [204, 304, 400, 401, 501])
def test_any_other_answer_is_refused_at_once(server, tmp_path, code):
    assert f"the server answered {code}" in refusal(server.url("/a.parquet", status(code)), tmp_path)
    assert len(server.seen) == 1


def test_a_cut_off_body_is_resumed(server, parquet, tmp_path):
    half, most = len(parquet) // 2, len(parquet) * 3 // 4
    url = server.url("/a.parquet", ranged(parquet, half), status(503), ranged(parquet, most), ranged(parquet))
    got = fetch(url, tmp_path, policy=QUICK)
    assert got.path.read_bytes() == parquet
    assert got.sha256 == hashlib.sha256(parquet).hexdigest()
    assert [headers.get("Range") for headers in gets(server)] == [None, *[f"bytes={n}-" for n in (half, half, most)]]
    assert gets(server)[-1]["If-Range"] == ETAG


def test_a_cut_off_body_is_downloaded_again_where_the_server_has_no_ranges(server, parquet, tmp_path):
    url = server.url("/a.parquet", cut(parquet, 1000), cut(parquet, 2000, ETag='W/"weak"'), whole(parquet))
    got = fetch(url, tmp_path, policy=QUICK)
    assert got.path.read_bytes() == parquet
    assert got.sha256 == hashlib.sha256(parquet).hexdigest()
    assert [headers.get("Range") for headers in gets(server)] == [None, None, None]


def test_a_body_that_changed_meanwhile_is_downloaded_from_its_start(server, parquet, tmp_path):
    old = b"PAR1" + bytes(len(parquet))
    url = server.url("/a.parquet", cut(old, 5000, ETag='"v0"'), ranged(parquet))
    assert fetch(url, tmp_path, policy=QUICK).path.read_bytes() == parquet
    assert gets(server)[1]["If-Range"] == '"v0"'


def test_a_server_that_resumes_at_the_wrong_byte_is_detected(server, parquet, tmp_path):
    url = server.url("/a.parquet", ranged(parquet, 5000), ranged(parquet, shift=7), whole(parquet))
    assert fetch(url, tmp_path, policy=QUICK).path.read_bytes() == parquet


def test_progress_resets_the_count_of_attempts(server, parquet, tmp_path):
    steps = [ranged(parquet, end) for end in range(1000, 20_000, 1000)]
    url = server.url("/a.parquet", *steps, ranged(parquet))
    assert fetch(url, tmp_path, policy=QUICK).path.read_bytes() == parquet


def test_a_body_that_is_always_cut_off_is_refused(server, parquet, tmp_path):
    line = refusal(server.url("/a.parquet", cut(parquet, 1000)), tmp_path)
    assert "a.parquet: peer closed connection" in line
    assert "1000" in line


def test_a_body_of_unknown_length_is_accepted(server, parquet, tmp_path):
    def answer(request: Handler) -> None:
        request.protocol_version = "HTTP/1.0"
        request.respond(200, {"Connection": "close"}, parquet)
        request.close_connection = True

    assert fetch(server.url("/a.parquet", answer), tmp_path, policy=QUICK).path.read_bytes() == parquet


def test_a_chunked_body_that_is_cut_off_is_retried(server, parquet, tmp_path):
    def chunked(ending: bytes) -> Answer:
        def answer(request: Handler) -> None:
            frame = f"{len(parquet):x}\r\n".encode() + parquet + b"\r\n" + ending
            request.respond(200, {"Transfer-Encoding": "chunked"}, frame)
            request.close_connection = True

        return answer

    url = server.url("/a.parquet", chunked(b""), chunked(b"0\r\n\r\n"))
    assert fetch(url, tmp_path, policy=QUICK).path.read_bytes() == parquet
    assert len(server.seen) == 2


CSV = b"VendorID,lpep_pickup_datetime\n" + b"2,2021-01-01 00:00:00\n" * 100
CSV_GZ = gzip.compress(CSV, mtime=0)


@pytest.mark.parametrize(
    ("name", "sent", "encoding", "file", "kind"),
    [
        ("a.csv.gz", CSV_GZ, None, CSV_GZ, FileKind.CSV_GZ),
        ("a.csv.gz", CSV_GZ, "gzip", CSV_GZ, FileKind.CSV_GZ),
        ("a.csv.gz", CSV, None, CSV, FileKind.CSV),
        ("a.csv.gz", CSV, "gzip", CSV, FileKind.CSV),
        ("a.csv.gz", gzip.compress(CSV_GZ), "gzip", CSV_GZ, FileKind.CSV_GZ),
        ("a.csv.gz", gzip.compress(CSV_GZ), None, CSV_GZ, FileKind.CSV_GZ),
        ("a.csv", CSV_GZ, "gzip", CSV_GZ, FileKind.CSV_GZ),
        ("a.csv", zlib.compress(CSV), "deflate", CSV, FileKind.CSV),
        ("a.csv", CSV, "deflate", CSV, FileKind.CSV),
        ("a.csv", CSV, "br", CSV, FileKind.CSV),
        ("a.parquet", b"parquet", None, b"parquet", FileKind.PARQUET),
        ("a.parquet", b"zipped parquet", "gzip", b"parquet", FileKind.PARQUET),
        ("a.parquet", CSV, None, CSV, FileKind.CSV),
    ],
)
def test_the_content_matters_not_the_name_or_the_headers(server, parquet, tmp_path, name, sent, encoding, file, kind):
    """The file arrives as its own bytes, with their checksum, however the server encodes or labels it."""
    bodies = {b"parquet": parquet, b"zipped parquet": gzip.compress(parquet)}
    sent, file = bodies.get(sent, sent), bodies.get(file, file)
    url = server.url(f"/{name}", whole(sent, **({"Content-Encoding": encoding} if encoding else {})))
    got = fetch(url, tmp_path / "spool", policy=QUICK)
    assert got.path.read_bytes() == file
    assert (got.bytes, got.sha256) == (len(file), hashlib.sha256(file).hexdigest())
    assert detect_kind(got.path, url) is kind
    assert [path.name for path in (tmp_path / "spool").iterdir()] == [name]
    assert gets(server)[0]["Accept-Encoding"] == "identity"


@pytest.mark.parametrize("encoding", ["gzip", "deflate"])
def test_a_truncated_encoded_body_is_completed(server, parquet, tmp_path, encoding):
    """It is resumed if it is kept as it was sent, and downloaded again if it was decoded."""
    body = gzip.compress(parquet) if encoding == "gzip" else zlib.compress(parquet)
    named = {"ETag": ETAG, "Content-Encoding": encoding}

    def rest(request: Handler) -> None:
        start = int(request.headers["Range"].removeprefix("bytes=").rstrip("-")) if "Range" in request.headers else 0
        part = {"Content-Range": f"bytes {start}-{len(body) - 1}/{len(body)}"} if start else {}
        request.respond(206 if start else 200, {"Content-Length": len(body) - start, **named, **part}, body[start:])

    url = server.url("/a.parquet", cut(body, len(body) // 2, **named), rest)
    assert fetch(url, tmp_path, policy=QUICK).path.read_bytes() == parquet
    assert ("Range" in gets(server)[1]) is (encoding == "gzip")


def test_a_damaged_encoded_body_is_not_resumed(server, tmp_path):
    """What was decoded of it is not at the byte that the server would resume from."""
    body = bytearray(zlib.compress(os.urandom(500_000)))
    body[-1] ^= 1
    url = server.url("/a.csv", whole(bytes(body), **{"ETag": ETAG, "Content-Encoding": "deflate"}))
    fetch(url, tmp_path, policy=QUICK)
    assert [headers.get("Range") for headers in gets(server)] == [None, None]


def test_a_damaged_gzip_around_a_parquet_is_kept_for_the_reader_to_refuse(server, parquet, tmp_path):
    """A complete file that is not data can be recorded as refused, until its source changes."""
    damaged = gzip.compress(parquet)[:-9]
    got = fetch(server.url("/a.parquet", whole(damaged)), tmp_path, policy=QUICK)
    assert got.path.read_bytes() == damaged and got.sha256 == hashlib.sha256(damaged).hexdigest()
    with pytest.raises(Refused, match="or a damaged one"):
        detect_kind(got.path, got.url)


def test_redirects_are_followed_and_no_secret_is_shown(server, parquet, tmp_path, caplog):
    """Basic auth and a signed URL work; no part of them is in an error, in what is stored, or in a log."""

    def guarded(request: Handler) -> None:
        login = "Basic " + base64.b64encode(b"me:hunter2").decode()
        signed = request.headers["Authorization"] == login
        (status(302, Location="/signed?token=s3cret") if signed else status(401))(request)

    server.url("/signed", whole(parquet))
    url = server.url("/a.parquet", guarded)
    server.url("/bad.parquet", status(302, Location="http://host:s3cret/"))
    server.url("/busy.parquet", status(503))
    assert "401" in refusal(url, tmp_path / "other")
    secret = url.replace("//", "//me:hunter2@") + "?key=s3cret"
    with caplog.at_level(logging.INFO):
        got = fetch(secret, tmp_path, policy=QUICK)
        lines = [refusal(secret.replace("a.parquet", name), tmp_path / "other") for name in ("b", "bad", "busy")]
        lines += [refusal(secret.replace("a.", f"{name}."), tmp_path / "other") for name in ("b", "bad", "busy")]
    assert got.url == url
    shown = [*lines, *(record.getMessage() for record in caplog.records)]
    assert any("/signed" in line for line in shown)
    assert not [line for line in shown if "hunter2" in line or "s3cret" in line]


def test_redirects_without_end_are_refused(server, tmp_path):
    url = server.url("/a.parquet", status(302, Location="/a.parquet"))
    assert "redirects" in refusal(url, tmp_path)


def test_a_redirect_to_another_protocol_is_refused(server, tmp_path):
    assert "protocol" in refusal(server.url("/a.parquet", status(302, Location="ftp://host/a")), tmp_path)


def test_the_wait_for_an_answer_is_limited(server, tmp_path):
    done = threading.Event()
    url = server.url("/a.parquet", lambda _: done.wait(60) and None)
    line = refusal(url, tmp_path, RetryPolicy(attempts=2, first_wait=0.01, read_timeout=0.2, total_timeout=5))
    done.set()
    assert "no answer in time" in line


def test_a_slow_body_is_limited_by_the_total_timeout(server, tmp_path):
    done = threading.Event()

    def drip(request: Handler) -> None:
        request.respond(200, {"Content-Length": 1_000_000})
        while not done.wait(0.05):
            try:
                request.wfile.write(b"x")
            except OSError:
                return

    line = refusal(server.url("/a.parquet", drip), tmp_path, RetryPolicy(read_timeout=1, total_timeout=0.5))
    done.set()
    assert "not finished within" in line


def test_no_server_at_all_is_refused(tmp_path):
    assert "gave up after 3 attempts" in refusal("http://127.0.0.1:9/a.parquet", tmp_path)


def test_a_full_disk_is_found_before_the_body_is_read_and_is_transient(server, parquet, tmp_path, monkeypatch):
    usage = shutil.disk_usage(tmp_path)._replace(free=part_file.SPARE_DISK + len(parquet) - 1)
    monkeypatch.setattr(part_file.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(SourceUnavailable, match="MB of disk"):
        fetch(server.url("/a.parquet", whole(parquet)), tmp_path / "spool", policy=QUICK)


def test_a_temporarily_full_disk_leaves_no_gap(server, parquet, tmp_path):
    """A write fails in the middle of a body; the next attempt finds room and the file is whole."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)

    def with_room(request: Handler) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        ranged(parquet)(request)

    url = server.url("/a.parquet", whole(parquet, ETag=ETAG), with_room)
    resource.setrlimit(resource.RLIMIT_FSIZE, (len(parquet) - 1000, before[1]))
    try:
        got = fetch(url, tmp_path, policy=QUICK)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert got.path.read_bytes() == parquet
    assert got.sha256 == hashlib.sha256(parquet).hexdigest()
    assert len(gets(server)) == 2


def test_a_spool_that_cannot_be_written_is_refused(server, parquet, tmp_path):
    blocked = tmp_path / "file"
    blocked.write_bytes(b"")
    with pytest.raises(Refused, match="cannot be downloaded to"):
        fetch(server.url("/a.parquet", whole(parquet)), blocked / "spool", policy=QUICK)


@pytest.mark.parametrize("path", ["/", "/data/", "/data/%2e%2e"])
def test_a_url_without_a_file_name_is_refused(path, tmp_path):
    assert "names no file" in refusal(f"http://127.0.0.1:9{path}", tmp_path)


def test_a_file_url_is_copied(parquet, tmp_path):
    source = tmp_path / "a b.parquet"
    source.write_bytes(parquet)
    got = fetch(source.as_uri(), tmp_path / "spool")
    assert got.path.read_bytes() == parquet
    assert got.path.name == "a b.parquet"
    assert got.sha256 == hashlib.sha256(parquet).hexdigest()
    seen = probe(source.as_uri())
    assert (seen.etag, seen.last_modified, seen.bytes) == (got.etag, got.last_modified, len(parquet))
    os.utime(source, (0, 0))
    assert probe(source.as_uri()).etag != got.etag


def test_a_file_url_without_a_file_is_not_published(tmp_path):
    url = (tmp_path / "a.parquet").as_uri()
    with pytest.raises(NotPublished, match="no such file"):
        fetch(url, tmp_path / "spool")
    assert probe(url) is None
    assert "not a plain file" in refusal(tmp_path.as_uri(), tmp_path / "spool")


def test_probe_returns_the_version_without_the_body(server, parquet):
    url = server.url("/a.parquet", whole(parquet, ETag=ETAG))
    seen = probe(f"{url}?key=s3cret", policy=QUICK)
    assert (seen.url, seen.etag, seen.last_modified, seen.bytes) == (url, ETAG, None, len(parquet))
    assert [verb for verb, _, _ in server.seen] == ["HEAD"]


@pytest.mark.parametrize("code", [400, 401, 403, 404, 405, 410, 429, 500, 501, 503])
def test_probe_requests_one_byte_where_head_fails(server, parquet, code):
    url = server.url("/a.parquet", status(code), ranged(parquet))
    seen = probe(url, policy=QUICK)
    assert (seen.etag, seen.bytes) == (ETAG, len(parquet))
    assert [(verb, headers.get("Range")) for verb, _, headers in server.seen] == [("HEAD", None), ("GET", "bytes=0-0")]


@pytest.mark.parametrize("code", [404, 410])
def test_probe_of_what_is_not_published_is_none(server, code):
    assert probe(server.url("/a.parquet", status(code)), policy=QUICK) is None


@pytest.mark.parametrize(("code", "error"), [(401, Refused), (403, Forbidden), (503, SourceUnavailable)])
def test_probe_raises_what_the_server_answered(server, code, error):
    with pytest.raises(error, match=f"the server answered {code}"):
        probe(server.url("/a.parquet", status(code)), policy=QUICK)


@pytest.mark.parametrize("code", [403, 503])
def test_probe_retries(server, parquet, code):
    url = server.url("/a.parquet", status(code), status(code), whole(parquet))
    assert probe(url, policy=QUICK).bytes == len(parquet)


@pytest.mark.parametrize("said", [{"Content-Length": 0}, {"Content-Length": 7, "Content-Encoding": "gzip"}])
def test_probe_returns_only_the_size_of_the_file_itself(server, said):
    assert probe(server.url("/a.parquet", lambda request: request.respond(200, said)), policy=QUICK).bytes is None
