"""Fuzzing the readers for a bounded time: any bytes at all give rows, rejections or one clear line, and no row is lost.

TAXIWAY_FUZZ_SECONDS (default 20) says how long each kind is fuzzed, TAXIWAY_FUZZ_SEED where it starts; a failure prints
both and keeps the file. Files are changed in ways that keep most of their structure, since bytes without any are
refused at once. A crash of the interpreter itself would end the run: that, too, is found.
"""

from __future__ import annotations

import gzip
import io
import os
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from flows.datasets.tlc import GREEN, YELLOW
from flows.datasets.tlc.generate import generate
from flows.datasets.tlc.layouts import LAYOUTS
from flows.errors import Refused
from tests.reading import TLC, cleaned

SECONDS = float(os.environ.get("TAXIWAY_FUZZ_SECONDS", "20"))
SEED = int(os.environ.get("TAXIWAY_FUZZ_SEED", "1"))
MONTH = YELLOW.partition(2021, 1)

CSV_BITS = [b'"', b'""', b"\n", b"\r", b"\r\n\r\n", b"\0", b",", b",,", b"\xff", b"\xc3\xa9", b'"\n', b"-" * 50]
CSV_BITS += [b"<<<<<<< HEAD\n", b"=======\n", b"NaN", b"1e999", b"99999999999", b"0x1f", b"\xef\xbb\xbf", b"\x1a"]


def csv_seeds() -> Iterator[bytes]:
    for name, header in LAYOUTS.items():
        if name.startswith("yellow"):
            date = "2021-01-02 03:04:05"
            cells = [date if "date" in column.lower() else str(at) for at, column in enumerate(header.split(","))]
            row = ",".join(cells).encode()
            quoted = b'"' + row.replace(b",", b'","') + b'"'
            yield b"\n".join([header.encode(), row, row, quoted, row, b""])
            yield b"\r\n".join([header.encode(), b"", row + b",,", row + b",x", row, quoted])
    for path in sorted((TLC / "heads").glob("yellow*.csv"))[::4]:
        yield path.read_bytes()


def parquet_seeds() -> Iterator[bytes]:
    with tempfile.TemporaryDirectory() as work:
        table = pq.read_table(generate(MONTH, Path(work, "a.parquet"), rows=400))
    for options in (
        {},
        {"use_dictionary": False, "compression": "gzip"},
        {"data_page_version": "2.0", "compression": "zstd"},
        {"compression": "none", "write_statistics": False, "row_group_size": 100},
        {"store_schema": False, "compression": "snappy", "use_byte_stream_split": False},
    ):
        sink = io.BytesIO()
        pq.write_table(table, sink, **options)
        yield sink.getvalue()
    sink = io.BytesIO()
    nested = table.append_column("list", pa.array([[1, 2]] * len(table)))
    pq.write_table(nested.append_column("word", pa.array(["a"] * len(table)).dictionary_encode()), sink)
    yield sink.getvalue()


def mutated(data: bytes, rng: random.Random) -> bytes:
    """The bytes with a few changes of the kind that transfers, editors and other programs make."""
    changed = bytearray(data)
    for _ in range(rng.choice([1, 1, 2, 4, 16])):
        at = rng.randrange(len(changed) + 1)
        match rng.randrange(6):
            case 0:
                changed[at : at + 1] = bytes([rng.randrange(256)])
            case 1 if at < len(changed):
                changed[at] ^= 1 << rng.randrange(8)
            case 2:
                del changed[at : at + rng.randrange(1, 60)]
            case 3:
                changed[at:at] = rng.choice(CSV_BITS)
            case 4:
                start = rng.randrange(len(changed) + 1)
                changed[at:at] = changed[start : start + rng.randrange(1, 200)]
            case 5 if rng.random() < 0.2:
                del changed[at:]
    return bytes(changed)


def read(path: Path) -> str:
    """The result of reading the file; `cleaned` checks that every row is accounted for."""
    try:
        counts = cleaned(path, MONTH, GREEN.rules.get("postgres", ())).counts
    except Refused as refused:
        assert "\n" not in str(refused)
        assert refused.reason
        return "refused"
    assert counts.rows_read > 0
    return "rejected rows" if counts.rows_rejected else "clean"


@pytest.mark.parametrize(
    ("name", "seeds", "packed"),
    [
        ("trips.csv", csv_seeds, bytes),
        ("trips.csv.gz", csv_seeds, lambda data: gzip.compress(data, 1)),
        ("trips.parquet", parquet_seeds, bytes),
    ],
    ids=["csv", "csv.gz", "parquet"],
)
def test_changed_files(tmp_path, name: str, seeds: Callable[[], Iterator[bytes]], packed: Callable[[bytes], bytes]):
    rng, files, outcomes = random.Random(SEED), [packed(seed) for seed in seeds()], set()
    end = time.monotonic() + SECONDS
    path, tries = tmp_path / name, 0
    while time.monotonic() < end:
        tries += 1
        path.write_bytes(mutated(rng.choice(files), rng))
        try:
            outcomes.add(read(path))
        except BaseException:
            print(f"seed {SEED}, try {tries}: {path} is kept")
            raise
    assert "refused" in outcomes
    assert tries > 100


@pytest.mark.parametrize("ending", ["csv", "csv.gz", "parquet"])
@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    data=st.binary(max_size=400),
    head=st.sampled_from([b"", b"PAR1", b"\x1f\x8b", LAYOUTS["yellow-2019"].encode() + b"\n"]),
)
def test_any_bytes(tmp_path, ending: str, data: bytes, head: bytes):
    path = tmp_path / f"trips.{ending}"
    path.write_bytes(head + data)
    read(path)


@pytest.mark.parametrize("ending", ["csv.gz", "parquet"])
def test_a_file_cut_off_anywhere(tmp_path, ending: str):
    """Cut at many places: refused, never read as a shorter month."""
    whole = generate(MONTH, tmp_path / f"whole.{ending}", rows=2_000).read_bytes()
    path, rng = tmp_path / f"cut.{ending}", random.Random(SEED)
    for length in {*range(32), *(rng.randrange(len(whole)) for _ in range(200)), *range(len(whole) - 16, len(whole))}:
        path.write_bytes(whole[:length])
        assert read(path) == "refused", length
