"""Real months in all three stores: every published row is stored or rejected, once."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path

import pytest

from flows.datasets.cleaning import Cleaning
from flows.datasets.dataset import Partition
from flows.datasets.tlc import GREEN
from flows.datasets.zones import ZONES
from flows.stores.bigquery import BigQueryStore
from flows.stores.bucket import BucketStore
from flows.stores.ledger import LoadSource
from flows.stores.postgres import PostgresStore
from flows.stores.reconcile import verify
from infra.settings import ROOT
from tests.integration.stores_fixtures import bigquery_client, bucket, dataset, server, storage_client, uri  # noqa: F401

TLC = Path(os.environ.get("TLC_DATA", ROOT.parent / "shared" / "tlc"))

MONTHS = {
    "green_tripdata_2020-12.csv.gz": GREEN.partition(2020, 12),
    "green_tripdata_2021-01.parquet": GREEN.partition(2021, 1),
}


@pytest.fixture
def stores(uri, bucket, bigquery_client, dataset):  # noqa: F811
    return {
        "postgres": PostgresStore(uri),
        "bucket": BucketStore(bucket),
        "bigquery": BigQueryStore(bigquery_client, dataset),
    }


@pytest.mark.skipif(not TLC.is_dir(), reason=f"no real files in {TLC} (set TLC_DATA)")
def test_real_months_through_all_stores(stores, tmp_path):
    def load(name: str, month: Partition, file: Path, source: LoadSource):
        cleaning = Cleaning(file, month, GREEN.rules.get(name, ()), tmp_path / "rejected.parquet")
        return stores[name].replace(cleaning, source, work_dir=tmp_path)

    for file, month in ((TLC / name, month) for name, month in MONTHS.items()):
        digest = hashlib.sha256(file.read_bytes()).hexdigest()
        source = LoadSource(file.as_uri(), f"sha256:{digest}", file.stat().st_size)
        rejecting = load("postgres", month, file, source)
        assert rejecting.rows_read == month.published_rows and rejecting.reasons.keys() == {"zero_passengers"}
        assert load("bucket", month, file, source).rows_loaded == month.published_rows
        assert load("bigquery", month, *stores["bucket"].download(month, tmp_path)).rows_loaded == month.published_rows
        assert stores["bigquery"].entry(month).source.startswith("gs://")
    assert verify(stores, [GREEN]).differences == []
    assert all(store.counts(GREEN).keys() == set(MONTHS.values()) for store in stores.values())


@pytest.mark.skipif(not TLC.is_dir(), reason=f"no real files in {TLC} (set TLC_DATA)")
def test_the_zones_through_all_stores(stores, tmp_path):
    """A dataset of one partition, loaded twice: the second load replaces the first."""
    file, zones = TLC / "taxi_zone_lookup.csv", ZONES.partition()
    for number in range(2):
        source = LoadSource(file.as_uri(), f"sha256:{number}", file.stat().st_size)
        for name in ("postgres", "bucket"):
            outcome = stores[name].replace(Cleaning(file, zones, (), tmp_path / "rejected.parquet"), source)
            assert (outcome.rows_loaded, outcome.rows_rejected, outcome.blocking) == (265, 0, ())
        copied, source = stores["bucket"].download(zones, tmp_path)
        stores["bigquery"].replace(Cleaning(copied, zones, (), tmp_path / "rejected.parquet"), source)
    assert {name: store.counts(ZONES) for name, store in stores.items()} == {name: {zones: 265} for name in stores}
    assert verify(stores, [ZONES]).differences == []
