"""Every pipeline through its deployment, a worker and real stores."""

from __future__ import annotations

import subprocess
import sys
import time
from collections import Counter

import psycopg
import pytest

from flows.datasets.tlc import GREEN
from infra.settings import ROOT

ROWS = 4_000


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A folder of generated green months as a file URL template; 2021-09 is an HTML page."""
    from flows.datasets.tlc.generate import generate

    folder = tmp_path_factory.mktemp("source")
    for year, month in ((2021, 1), (2021, 2), (2022, 3), (2022, 5)):
        what = GREEN.partition(year, month)
        generate(what, folder / f"{what.stem}.csv.gz", rows=ROWS, seed=month)
    (folder / "green_tripdata_2021-09.csv.gz").write_text("<!doctype html><html><body>Not here</body></html>")
    return f"file://{folder}/{{service}}_tripdata_{{year}}-{{month:02}}.csv.gz"


def start(deployment: str, **parameters):
    """Create a run through the API, as the UI does."""
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name(f"{deployment}/process")
        return client.create_flow_run_from_deployment(found.id, parameters=parameters).id


def finish(*runs, seconds: float = 120):
    """The end states of the runs."""
    from prefect.client.orchestration import get_client

    deadline = time.monotonic() + seconds
    with get_client(sync_client=True) as client:
        while True:
            states = [client.read_flow_run(run).state for run in runs]
            if all(state and state.is_final() for state in states):
                return states
            assert time.monotonic() < deadline, f"not done in {seconds} s: {states}"
            time.sleep(0.3)


def stores():
    from flows.stores.bigquery import BigQueryStore
    from flows.stores.bucket import BucketStore
    from flows.stores.postgres import PostgresStore
    from infra.blocks import credentials_block
    from infra.settings import Settings

    config = Settings(_env_file=None)
    credentials = credentials_block(config)
    return {
        "postgres": PostgresStore(config.postgres_url.get_secret_value()),
        "bucket": BucketStore(credentials.get_cloud_storage_client().bucket(config.bucket)),
        "bigquery": BigQueryStore(credentials.get_bigquery_client(), config.dataset),
    }


@pytest.mark.timeout(300)
def test_every_pipeline_through_its_deployment(deployed, source):
    """Two months into all three stores; a second run skips, a forced one leaves the same rows; no row is lost."""

    january, february = (GREEN.partition(2021, month) for month in (1, 2))
    months = {"service": "green", "year": 2021, "source_url": source}
    first = [
        start("etl_parent_flow", months=[1, 2], **months),
        start("etl_web_to_postgres", month=1, **months),
        start("etl_web_to_postgres", month=2, **months),
    ]
    assert all(state.is_completed() for state in finish(*first)), finish(*first)
    third = [start("etl_gcs_to_bq", service="green", year=2021, month=month) for month in (1, 2)]
    assert all(state.is_completed() for state in finish(*third)), finish(*third)

    everywhere = stores()
    before = {}
    for name, store in everywhere.items():
        for month in (january, february):
            entry = store.entry(month)
            assert entry.rows_read == entry.rows_loaded + entry.rows_rejected
            assert entry.rows_loaded == store.count(month)
            before[name, month] = entry
    assert before["bucket", january].rows_read == ROWS
    assert before["postgres", january].reasons["zero_passengers"] > 0
    assert before["bigquery", january].rows_read == before["bucket", january].rows_loaded

    again, forced = finish(
        start("etl_web_to_postgres", month=1, **months),
        start("etl_web_to_postgres", month=2, force=True, **months),
    )
    assert again.is_completed() and "unchanged" in again.message
    assert forced.is_completed() and f"{ROWS} rows read" in forced.message
    assert everywhere["postgres"].entry(january) == before["postgres", january]
    reloaded = everywhere["postgres"].entry(february)
    assert reloaded.finished > before["postgres", february].finished
    assert everywhere["postgres"].count(february) == before["postgres", february].rows_loaded == reloaded.rows_loaded
    assert everywhere["postgres"].count(january) == before["postgres", january].rows_loaded

    with psycopg.connect(deployed.postgres_url("trips")) as connection:
        rejected = connection.execute(
            "SELECT partition_key, reason, row_number, row FROM rejected_rows"
            " WHERE dataset = 'green' AND partition_key IN ('2021-01', '2021-02')"
        ).fetchall()
    assert Counter(month for month, *_ in rejected) == {
        month.key: before["postgres", month].rows_rejected for month in (january, february)
    }


@pytest.mark.timeout(200)
def test_a_failed_month_is_named_and_the_others_are_loaded(deployed, source):
    """Month 8 is missing, month 9 is an HTML page: both named with the reason, month 1 loaded, the run failed."""
    months = {"months": [1, 8, 9], "year": 2021, "service": "green", "source_url": source}
    run = start("etl_parent_flow", **months, pipeline="etl_web_to_postgres", force=True)
    (state,) = finish(run)
    assert state.is_failed()
    assert state.message.startswith("2 of 3 partitions failed: green 2021-08: ") and "HTML" in state.message
    assert "\n" not in state.message


@pytest.mark.timeout(200)
def test_without_a_month_what_is_due_is_loaded(deployed, source):
    """The oldest published month that the ledger lacks, up to the limit; then the next; then nothing is new."""
    due = {"service": "green", "year": 2022, "source_url": source, "limit": 1}
    messages = [finish(start("etl_web_to_postgres", **due))[0].message for _ in range(3)]
    assert messages[0].startswith(f"green 2022-03: {ROWS} rows read")
    assert messages[1].startswith(f"green 2022-05: {ROWS} rows read")
    assert messages[2].startswith("nothing new")


@pytest.mark.timeout(200)
def test_a_month_can_be_a_run_of_its_own_deployment(deployed, source):
    months = {"months": [3, 5], "year": 2022, "service": "green", "source_url": source, "force": True}
    (state,) = finish(start("etl_parent_flow", **months, pipeline="etl_web_to_postgres", each_month="deployment"))
    assert state.is_completed(), state.message
    assert state.message.count(f"{ROWS} rows read") == 2


@pytest.mark.timeout(200)
def test_verify_reports_each_difference(deployed, source):
    """After the loads of this module all agrees; a row taken out of a partition is found."""
    (state,) = finish(start("verify_stores"))
    assert state.is_completed() and "no difference" in state.message, state.message
    with psycopg.connect(deployed.postgres_url("trips")) as connection:
        table = "green_trips_2022_03"
        connection.execute(f"DELETE FROM {table} WHERE ctid = (SELECT ctid FROM {table} LIMIT 1)")
    (state,) = finish(start("verify_stores"))
    assert state.is_failed()
    assert "1 differences: postgres, green 2022-03: rows stored, against the ledger" in state.message


@pytest.mark.parametrize(
    ("wrong", "word"), [({"month": 13}, "month"), ({"service": "blue"}, "service"), ({"year": 1850}, "year")]
)
def test_the_api_refuses_wrong_parameters_before_a_run_exists(deployed, wrong, word):
    from prefect.exceptions import PrefectHTTPStatusError

    with pytest.raises(PrefectHTTPStatusError) as refusal:
        start("etl_web_to_gcs", **wrong)
    assert refusal.value.response.status_code == 409
    assert word in refusal.value.response.text


def test_a_flow_is_a_command(stack):
    """Its help shows the parameters; wrong values are one line on standard error and exit status 2."""
    run = [sys.executable, "-m", "flows.web_to_gcs"]
    shown = subprocess.run([*run, "--help"], capture_output=True, text=True, cwd=ROOT, check=True).stdout
    for name in ("--service", "--year", "--month", "--source-url", "--bucket-block", "--force"):
        assert name in shown
    wrong = subprocess.run(
        [*run, "--month", "13", "--service", "blue", "--year", "1850"],
        capture_output=True, text=True, cwd=ROOT, check=False,
    )  # fmt: skip
    assert wrong.returncode == 2
    assert len(wrong.stderr.strip().splitlines()) == 1
    assert all(word in wrong.stderr for word in ("month", "service", "year"))


def test_prefects_own_deploy_command_makes_a_deployment_that_runs(deployed, source):
    prefect = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "flows/backfill.py:etl_parent_flow"]
    made = subprocess.run(
        [*prefect, "-n", "mine", "--cron", "0 6 * * *", "--pool", "taxi"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert made.returncode == 0, made.stdout + made.stderr
    from prefect.client.orchestration import get_client

    with get_client(sync_client=True) as client:
        mine = client.read_deployment_by_name("etl_parent_flow/mine")
        parameters = {"months": [3], "year": 2022, "source_url": source}
        run = client.create_flow_run_from_deployment(mine.id, parameters=parameters).id
        (state,) = finish(run)
        client.delete_deployment(mine.id)
    assert state.is_completed(), state.message
