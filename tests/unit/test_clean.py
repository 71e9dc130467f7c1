"""One pass over a file: exact schema, counts that add up, constant memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from flows.datasets.cleaning import Cleaning
from flows.datasets.outcome import Outcome
from flows.datasets.rejected import REJECTED_SCHEMA, RejectedRows, rows_as_json
from flows.datasets.tlc import GREEN
from flows.datasets.tlc.checks import CHECKS
from flows.datasets.tlc.generate import generate
from flows.errors import Refused, StoreFailed
from flows.reading.plain import plain
from tests.reading import cleaned

GREEN_2021_01 = GREEN.partition(2021, 1)
ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def month(tmp_path_factory) -> Path:
    return generate(GREEN_2021_01, tmp_path_factory.mktemp("month") / f"{GREEN_2021_01.stem}.csv.gz", rows=30_000)


def count(batches: pa.RecordBatchReader) -> int:
    return sum(map(len, batches))


def test_every_batch_is_exactly_of_the_schema_and_every_row_is_counted(month, tmp_path):
    cleaning = Cleaning(month, GREEN_2021_01, GREEN.rules["postgres"], tmp_path / "rejected.parquet")
    assert cleaning.schema == GREEN.schema

    def check(reader: pa.RecordBatchReader) -> int:
        assert reader.schema == cleaning.schema
        rows = 0
        for batch in reader:
            assert batch.schema == cleaning.schema
            rows += len(batch)
        return rows

    outcome = cleaning.into(check)
    assert outcome.rows_read == 30_000 == outcome.rows_loaded + outcome.rows_rejected
    rejected = pq.read_table(tmp_path / "rejected.parquet")
    assert rejected.schema == REJECTED_SCHEMA
    assert len(rejected) == outcome.rows_rejected == outcome.reasons["zero_passengers"] > 0
    assert {check.name for check in outcome.checks} <= {check.name for check in CHECKS} and outcome.checks


def test_an_outcome_accounts_for_every_row():
    with pytest.raises(ValueError, match="3 rows read, but 1 loaded"):
        Outcome(rows_read=3, rows_loaded=1, reasons={"short_row": 1}, checks=(), contract_version="1")


@pytest.mark.parametrize(
    "write",
    [lambda batches: count(batches) - 1, lambda batches: len(batches.read_next_batch())],
    ids=["lost", "unread"],
)
def test_a_consumer_that_loses_rows_is_an_error(month, tmp_path, write):
    cleaning = Cleaning(month, GREEN_2021_01, [], tmp_path / "rejected.parquet")
    with pytest.raises(StoreFailed, match=r"green 2021-01: inserted [\d,]+ rows, expected "):
        cleaning.into(write)


def test_csv_and_parquet_of_one_generated_month_are_the_same(month, tmp_path):
    other = generate(GREEN_2021_01, tmp_path / f"{GREEN_2021_01.stem}.parquet", rows=30_000)
    of_csv, of_parquet = cleaned(month, GREEN_2021_01), cleaned(other, GREEN_2021_01)
    assert of_csv.clean.num_rows == of_parquet.clean.num_rows == 30_000
    assert of_csv.clean["pickup_datetime"].equals(of_parquet.clean["pickup_datetime"])
    assert of_csv.clean["total_amount"].equals(of_parquet.clean["total_amount"])


def test_a_cleaning_runs_only_once(month, tmp_path):
    cleaning = Cleaning(month, GREEN_2021_01, [], tmp_path / "rejected.parquet")
    cleaning.into(count)
    with pytest.raises(RuntimeError, match="run only once"):
        cleaning.into(count)


def test_without_rejected_rows_an_old_file_is_deleted(month, tmp_path):
    rejected = tmp_path / "rejected.parquet"
    rejected.write_bytes(b"of an earlier pass")
    cleaning = Cleaning(month, GREEN_2021_01, [], rejected)
    assert cleaning.into(count).rows_loaded == 30_000
    assert not rejected.exists()


def test_a_consumer_that_stops_early_leaves_no_rejected_rows(month, tmp_path):
    rejected = tmp_path / "rejected.parquet"
    cleaning = Cleaning(month, GREEN_2021_01, GREEN.rules.get("postgres", ()), rejected)

    def stop(batches: pa.RecordBatchReader) -> int:
        batches.read_next_batch()
        raise ConnectionError("lost")

    with pytest.raises(ConnectionError, match="lost"):
        cleaning.into(stop)
    assert not rejected.exists()


def test_errors_name_the_url(tmp_path):
    path = tmp_path / "spooled.csv"
    path.write_text("<html>")
    with pytest.raises(Refused, match=r"^https://host/a\.csv: is an HTML page") as refused:
        Cleaning(path, GREEN_2021_01, [], tmp_path / "rejected.parquet", subject="https://host/a.csv")
    assert refused.value.subject == "https://host/a.csv"


def test_rejected_rows_are_written_in_pieces(tmp_path):
    path = tmp_path / "rejected.parquet"
    rows = RejectedRows(path, GREEN_2021_01)
    for start in range(0, 100_000, 1000):
        numbers = pa.array(range(start + 1, start + 1001), pa.int64())
        rows.add(numbers, pa.repeat("zero_passengers", 1000), pa.repeat("{}", 1000))
    assert path.stat().st_size > 0
    rows.close()
    table = pq.read_table(path)
    assert table["row_number"].to_pylist() == list(range(1, 100_001))
    assert table.schema == REJECTED_SCHEMA


def test_any_row_is_json():
    columns = {
        "n": pa.array([1, None, -3]),
        "x": pa.array([1.5, float("nan"), float("-inf")]),
        'quoted "name"': pa.array(['say "a"', "back\\slash", "tab\t, NUL\0, line\n"]),
        "bytes": pa.array([b"\xff", b"ok", None]),
        "list": pa.array([[1], None, []]),
        "unicode": pa.array(["é", "😀", "\u2028"]),
        "none": pa.nulls(3),
        "when": pa.array([0, None, 2**62]).cast(pa.timestamp("us")),
    }
    rows = [json.loads(row) for row in rows_as_json(list(map(plain, columns.values())), list(columns), 3).to_pylist()]
    assert [set(row) for row in rows] == [set(columns)] * 3
    assert [row["n"] for row in rows] == [1, None, -3]
    assert [row["x"] for row in rows] == [1.5, "nan", "-inf"]
    assert [row['quoted "name"'] for row in rows] == columns['quoted "name"'].to_pylist()
    assert [row["unicode"] for row in rows] == ["é", "😀", "\u2028"]
    assert rows_as_json([], [], 2).to_pylist() == ["{}", "{}"]


def test_a_month_with_another_date_order_is_blocked_even_as_a_sample(tmp_path):
    """Day before month: the first twelve days could be read as months, but the other days cannot."""
    path = tmp_path / "trips.csv"
    days = [f"{day:02}/01/2021 10:00:00" for day in range(1, 32)]
    path.write_text("\n".join(["lpep_pickup_datetime", *days]))
    cleaning = Cleaning(path, GREEN_2021_01, [], tmp_path / "rejected.parquet")
    outcome = cleaning.into(count)
    (check,) = [check for check in outcome.checks if check.name == "rows_rejected"]
    assert (check.action, check.passed) == ("block", False)


PEAK = """
import resource, sys
from pathlib import Path
from flows.datasets.cleaning import Cleaning
from flows.reading.plain import plain
from flows.datasets.tlc import GREEN
rejected = Path(sys.argv[1] + ".out")
cleaning = Cleaning(Path(sys.argv[1]), GREEN.partition(2021, 1), GREEN.rules["postgres"], rejected)
outcome = cleaning.into(lambda batches: sum(map(len, batches)))
print(outcome.rows_loaded, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("ending", ["csv.gz", "parquet"])
def test_memory_does_not_grow_with_the_file(tmp_path, ending):
    """Peak of the process at 8 times the rows is at most 1.2 times the peak."""

    def peak(rows: int) -> int:
        path = generate(GREEN_2021_01, tmp_path / f"{rows}.{ending}", rows=rows)
        run = [sys.executable, "-c", PEAK, str(path)]
        clean, kilobytes = map(int, subprocess.run(run, cwd=ROOT, capture_output=True, check=True).stdout.split())
        assert clean > 0.9 * rows
        return kilobytes

    assert peak(800_000) <= 1.2 * peak(100_000)


def test_months_can_be_cleaned_in_parallel(tmp_path):
    """Tasks of one flow run clean several months in threads of one process."""

    def rows(number: int) -> tuple[int, int, int]:
        row = "1,2021-01-01 00:00:00,1\n"
        path = Path(tempfile.mkdtemp(dir=tmp_path), "a.csv")
        path.write_text("VendorID,lpep_pickup_datetime,total_amount\n" + (row * 9 + "short\n") * (200 * number))
        counts = cleaned(path, GREEN_2021_01).counts
        return number, counts.rows_loaded, counts.rows_rejected

    with ThreadPoolExecutor(8) as pool:
        for number, clean, rejected in pool.map(rows, list(range(1, 9)) * 4):
            assert (clean, rejected) == (1800 * number, 200 * number)
