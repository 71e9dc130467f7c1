"""The zones in the pipelines: a dataset of one partition, without a month."""

from __future__ import annotations

import asyncio
import re

import pytest

CSV = 'LocationID,Borough,Zone,service_zone\n1,"EWR","Newark Airport","EWR"\n2,"Queens","Jamaica Bay","Boro Zone"\n'


def run(flow, **parameters) -> str:
    state = asyncio.run(flow(**parameters, return_state=True))
    return f"{state.name}: {state.message}"


@pytest.mark.timeout(200)
def test_the_zones_are_loaded_once_and_again_when_they_change(deployed, tmp_path):
    from flows.gcs_to_bigquery import etl_gcs_to_bq
    from flows.verify import verify_stores
    from flows.web_to_gcs import etl_web_to_gcs
    from flows.web_to_postgres import etl_web_to_postgres

    file = tmp_path / "taxi_zone_lookup.csv"
    file.write_text(CSV)
    source = {"service": "zones", "source_url": file.as_uri()}
    for flow in (etl_web_to_postgres, etl_web_to_gcs):
        assert run(flow, **source) == "Completed: zones: 2 rows read, 2 loaded, 0 rejected"
        assert run(flow, **source).startswith("Completed: nothing new")
    assert run(etl_gcs_to_bq, service="zones") == "Completed: zones: 2 rows read, 2 loaded, 0 rejected"
    assert run(etl_gcs_to_bq, service="zones").startswith("Completed: nothing new")
    file.write_text(CSV + '3,"Bronx","Allerton/Pelham Gardens","Boro Zone"\n')
    assert "3 rows read, 3 loaded, 0 rejected (source changed)" in run(etl_web_to_postgres, **source)
    assert run(etl_web_to_postgres, **source, year=2021, month=1).startswith("Failed: 2021-01: zones: a partition is")
    assert not re.search(r"\bzones\b", run(verify_stores)), "other datasets are other tests'"
