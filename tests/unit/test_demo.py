"""The demo's options, its source of files, and the report."""

from __future__ import annotations

import datetime as dt
import json
import re
import urllib.request

import pandas as pd
import pytest

from demo import __main__ as demo
from demo.__main__ import DemoFailed, partitions_of, reachable_source, served
from flows.datasets.tlc import GREEN
from flows.pipeline.report_page import Loaded, Profile, write_page, write_summary
from flows.stores.ledger import LedgerEntry
from infra.settings import Settings

START = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def loaded(store="postgres", reasons=None) -> Loaded:
    reasons = {"zero_passengers": 3} if reasons is None else reasons
    rejected = sum(reasons.values())
    check = {"name": "negative_totals", "value": 0.01, "limit": 0.05, "action": "warn", "passed": True, "detail": ""}
    entry = LedgerEntry(
        partition=GREEN.partition(2021, 1), status="loaded", source="https://a.example/x", checksum="sha256:0",
        bytes=1_000_000, rows_read=100 + rejected, rows_loaded=100, rows_rejected=rejected, reasons=reasons,
        contract_version="1", checks=[check], started=START, finished=START + dt.timedelta(seconds=2),
    )  # fmt: skip
    return Loaded(store, entry)


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        (("blue", 2021, "1"), "SERVICE=blue"),
        (("green", 1850, "1"), "YEAR=1850"),
        (("green", 2021, "13"), "MONTHS=13"),
        (("green", 2021, "one"), "MONTHS=one"),
    ],
)
def test_wrong_options_are_one_line(wrong, message):
    with pytest.raises(DemoFailed, match=message) as failure:
        partitions_of(*wrong)
    assert "\n" not in str(failure.value)


def test_the_months_become_partitions():
    assert partitions_of("green", 2021, "1-2") == [GREEN.partition(2021, 1), GREEN.partition(2021, 2)]


def test_the_summary_is_a_list_of_objects(tmp_path):
    write_summary(tmp_path / "report" / "summary.json", [loaded()])
    (row,) = json.loads((tmp_path / "report" / "summary.json").read_text())
    assert row == {
        "store": "postgres", "service": "green", "month": "2021-01", "rows_read": 103, "rows_loaded": 100,
        "rows_rejected": 3, "bytes": 1_000_000, "seconds": 2.0, "rows_per_second": 52,
    }  # fmt: skip


def test_the_page_shows_the_numbers_and_loads_nothing_from_the_network(tmp_path):
    days = pd.Series([5, 7], index=pd.date_range("2021-01-01", periods=2))
    times = Profile(days, pd.Series(range(24), index=range(24)))
    write_page(tmp_path / "report.html", "Green <2021>", [loaded(), loaded("bucket", {})], times)
    page = (tmp_path / "report.html").read_text()
    assert "Green &lt;2021&gt;" in page
    assert "<title>Jan 2: 7</title>" in page and "<title>23: 23</title>" in page
    assert "postgres: zero_passengers" in page and ">3<" in page
    assert "negative_totals" in page and "2 of 2" in page
    assert page.count("<svg") == 3
    assert not re.search(r"""(src|href)=|url\(|@import|https?://(?!a\.example)""", page)


def test_generated_months_are_served_over_http(tmp_path):
    (tmp_path / "month.parquet").write_bytes(b"PAR1")
    with served(tmp_path) as address:
        assert urllib.request.urlopen(f"{address}/month.parquet").read() == b"PAR1"


def test_an_invalid_address_is_refused_before_anything_starts(tmp_path):
    months = [GREEN.partition(2021, 1)]
    with (
        pytest.raises(DemoFailed, match="the scheme must be"),
        reachable_source("ftp://host/{year}-{month}", months, tmp_path),
    ):
        pass


def test_an_address_with_a_password_is_only_accepted_from_the_setting(tmp_path, monkeypatch):
    """It would become a run's parameter, which everyone can read."""
    address = "https://me:hunter2@host/{year}-{month:02}.parquet"
    with pytest.raises(DemoFailed, match="set TAXIWAY_SOURCE_URL") as refusal, reachable_source(address, [], tmp_path):
        pass
    assert "hunter2" not in str(refusal.value)
    monkeypatch.setattr(demo, "settings", lambda: Settings(_env_file=None, source_url=address))
    with reachable_source("", [], tmp_path) as source:
        assert source == ""
