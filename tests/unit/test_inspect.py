"""`make inspect`: one JSON object on standard output, a table on standard error, status 1 where the file is refused."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from flows.datasets.inspect import inspect
from flows.datasets.tlc import GREEN, YELLOW
from flows.datasets.tlc.layouts import LAYOUTS

ROOT = Path(__file__).resolve().parents[2]
KEYS = [
    "service",
    "layout",
    "rows_read",
    "rows_clean",
    "rows_rejected",
    "reasons",
    "missing_columns",
    "extra_columns",
    "refused",
]
TEXT = f"{LAYOUTS['yellow-2019']},mood\n" + "1,2019-01-01 00:00:00" + "," * 17 + "\n1,never" + "," * 17 + "\n1,2\n"


def run(*arguments: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "flows.datasets.inspect", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.fixture
def path(tmp_path) -> Path:
    path = tmp_path / "yellow_tripdata_2019-01.csv"
    path.write_text(TEXT)
    return path


def test_the_command(path):
    done = run(str(path))
    assert done.returncode == 0
    found = json.loads(done.stdout)
    assert list(found) == KEYS
    assert found == {
        "service": "yellow",
        "layout": "yellow-2019 (+1 -0 columns)",
        "rows_read": 3,
        "rows_clean": 1,
        "rows_rejected": 2,
        "reasons": {"short_row": 1, "unreadable:pickup_datetime": 1},
        "missing_columns": [
            "pickup_longitude",
            "pickup_latitude",
            "dropoff_longitude",
            "dropoff_latitude",
            "airport_fee",
            "cbd_congestion_fee",
            "request_source",
        ],
        "extra_columns": ["mood"],
        "refused": None,
    }
    assert "yellow_tripdata_2019-01.csv" in done.stderr and "short_row: 1" in done.stderr


def test_a_refused_file_has_status_1(tmp_path):
    path = tmp_path / "green_tripdata_2019-01.parquet"
    path.write_text("<?xml?>")
    done = run(str(path))
    assert done.returncode == 1
    found = json.loads(done.stdout)
    assert list(found) == KEYS
    assert found["service"] == "green" and found["rows_read"] == 0
    assert found["refused"] == f"{path}: is an XML document, not a data file"


def test_the_service_is_an_option_or_from_the_name_or_the_columns(path, tmp_path):
    other = tmp_path / "export.csv"
    other.write_text(TEXT)
    assert inspect(str(other)).service == "yellow"
    assert inspect(str(other), YELLOW).rows_clean == 1
    assert "has the columns of yellow, not green" in inspect(str(path), GREEN).refused
    other.write_text("a,b\n1,2\n")
    assert inspect(str(other)).service is None
    assert "is of no known dataset" in inspect(str(other)).refused


def test_a_url(path):
    assert inspect(path.as_uri()).rows_read == 3
    assert inspect(path.with_name("none.csv").as_uri()).refused


@pytest.mark.parametrize("name", ["none.csv", "."])
def test_unreadable_sources(tmp_path, name):
    assert inspect(str(tmp_path / name)).refused


def test_a_file_refused_at_its_end_counts_no_row(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text(TEXT + "1,2\n" * 30_000 + "<<<<<<< HEAD\n")
    found = inspect(str(path))
    assert "merge-conflict" in found.refused
    assert (found.rows_read, found.rows_clean, found.rows_rejected, found.reasons) == (0, 0, 0, {})
    assert found.layout == "yellow-2019 (+1 -0 columns)"
