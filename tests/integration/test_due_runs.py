"""Runs without a month, through the real server and into real stores."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import subprocess
import sys
from contextlib import contextmanager

import pytest

from flows.datasets.registry import named
from flows.datasets.rule import Action, Rule
from flows.datasets.tlc import DATASETS, YELLOW
from infra.settings import ROOT
from tests.http_server import ETAG, serving, status, whole

ROWS = 200
PAGE = "<!doctype html><html><body>Not here</body></html>"


def run(flow, **parameters):
    """The end of a run in this process, as `State: message`."""
    state = asyncio.run(flow(**parameters, return_state=True))
    return f"{state.name}: {state.message}"


@pytest.fixture
def source(tmp_path):
    return Source(tmp_path)


class Source:
    """A folder of months, as a file URL template."""

    def __init__(self, folder):
        self.folder = folder
        self.url = f"file://{folder}/{{service}}_tripdata_{{year}}-{{month:02}}.csv.gz"

    def file(self, month):
        return self.folder / f"{month.stem}.csv.gz"

    def put(self, *months):
        from flows.datasets.tlc.generate import generate

        for month in months:
            generate(month, self.file(month), rows=ROWS, seed=month.start.month)

    def touch(self, *months):
        """The same bytes, published again."""
        for month in months:
            later = self.file(month).stat().st_mtime + 100
            os.utime(self.file(month), (later, later))


def months(service, year, *numbers):
    return [named(service).partition(year, number) for number in numbers]


def postgres_entries(status="loaded"):
    from flows.stores.postgres import PostgresStore
    from infra.settings import Settings

    store = PostgresStore(Settings(_env_file=None).postgres_url.get_secret_value())
    entries = [entry for dataset in DATASETS for entry in store.entries(dataset)]
    return {entry.partition: entry for entry in entries if entry.status == status}


@pytest.mark.timeout(200)
def test_a_month_republished_with_the_same_bytes_is_due_once(deployed, source):
    """Three months are touched and a fourth is new: it is loaded first, and the three are looked at once more only."""
    from flows.web_to_postgres import etl_web_to_postgres

    months_of_2019 = months("green", 2019, 1, 2, 3, 4)
    given = {"service": "green", "year": 2019, "source_url": source.url}
    source.put(*months_of_2019[:3])
    assert run(etl_web_to_postgres, **given, limit=3).startswith("Completed: green 2019-01: 200 rows read")
    before = postgres_entries()
    source.touch(*months_of_2019[:3])
    source.put(months_of_2019[3])
    first = run(etl_web_to_postgres, **given, limit=1)
    assert first.startswith("Completed: green 2019-04: 200 rows read")
    assert first.endswith("left for later runs: 3 (3 source changed)")
    assert run(etl_web_to_postgres, **given, limit=1).count("unchanged since") == 3
    assert run(etl_web_to_postgres, **given, limit=1).startswith("Completed: nothing new")
    assert [postgres_entries()[month].load_id for month in months_of_2019[:3]] == [
        before[month].load_id for month in months_of_2019[:3]
    ]


@pytest.mark.timeout(200)
def test_refused_months_wait_for_their_source_and_do_not_hide_others(deployed, source):
    from flows.web_to_gcs import etl_web_to_gcs

    first, second, third, fourth = months("green", 2019, 1, 2, 3, 4)
    given = {"service": "green", "year": 2019, "source_url": source.url, "limit": 1}
    source.put(first, fourth)
    for month in (first, second, third):
        source.file(month).write_text(PAGE)
    end = run(etl_web_to_gcs, **given)
    assert end.startswith("Failed: 3 of 4 partitions failed: green 2019-01: ") and end.count("HTML page") == 3
    waits = "nothing new; not loaded until their sources change: green 2019-01 (refused), green 2019-02 (refused)"
    assert waits in run(etl_web_to_gcs, **given)
    source.touch(first)
    source.put(second)
    end = run(etl_web_to_gcs, **given)
    assert end.startswith("Failed: 1 of 2 partitions failed: green 2019-01: ") and "unchanged since" in end
    assert run(etl_web_to_gcs, **given).endswith("green 2019-01 (refused), green 2019-03 (refused)")


@pytest.mark.timeout(200)
def test_a_changed_rule_makes_months_outside_the_window_due_again(deployed, source, monkeypatch):
    """A dry run lists them and loads nothing; then `limit` per run; one that the source no longer has is named once."""
    import pyarrow.compute as pc

    from flows.pipeline.due import candidates
    from flows.web_to_postgres import etl_web_to_postgres

    recent = candidates(YELLOW, None)[-3]
    old, gone = months("yellow", 2019, 5, 6)
    given = {"service": "yellow", "source_url": source.url, "limit": 1}
    source.put(recent, old, gone)
    for month in (recent, old, gone):
        run(etl_web_to_postgres, **given | {"year": month.start.year, "month": month.start.month})
    source.file(gone).unlink()
    before = postgres_entries()
    assert run(etl_web_to_postgres, **given).startswith("Completed: nothing new")

    far = Rule("far", Action.REJECT, "trip_distance", lambda miles: pc.greater(miles, 10.0))
    monkeypatch.setitem(YELLOW.rules, "postgres", (*YELLOW.rules["postgres"], far))
    listed = ", ".join(f"{month} (contract changed)" for month in (old, gone, recent))
    assert run(etl_web_to_postgres, **given, dry_run=True) == (
        f"Completed: dry run, nothing is loaded: due are 3 (3 contract changed), up to 1 in a run: {listed}"
    )
    assert postgres_entries() == before
    end = run(etl_web_to_postgres, **given)
    assert end.startswith(f"Completed: {old}: 200 rows read")
    assert end.endswith("left for later runs: 2 (2 contract changed)")
    assert postgres_entries()[old].reasons["far"] > 0
    assert f"{gone}: " in (end := run(etl_web_to_postgres, **given)) and "no such file" in end
    assert postgres_entries()[recent].reasons["far"] > 0
    assert run(etl_web_to_postgres, **given).startswith("Completed: nothing new")
    assert postgres_entries()[gone] == before[gone]


@pytest.mark.timeout(200)
def test_an_unexpected_error_stops_only_its_month_and_is_not_retried(deployed, source, monkeypatch):
    from flows.stores.postgres import PostgresStore
    from flows.web_to_postgres import etl_web_to_postgres

    first, second = months("green", 2020, 1, 2)
    source.put(first, second)
    replace, tries = PostgresStore.replace, []

    def failing(self, cleaning, *args, **kwargs):
        tries.append(cleaning.partition)
        if cleaning.partition == first:
            raise KeyError("a fault\nof the program")
        return replace(self, cleaning, *args, **kwargs)

    monkeypatch.setattr(PostgresStore, "replace", failing)
    end = run(etl_web_to_postgres, service="green", year=2020, source_url=source.url)
    assert end.startswith("Failed: 1 of 2 partitions failed: green 2020-01: unexpected KeyError: ") and "\n" not in end
    assert tries == [first, second]
    assert second in postgres_entries()


@pytest.mark.timeout(200)
def test_a_source_that_refuses_every_request_fails_the_run(deployed, monkeypatch):
    from flows.pipeline import offers
    from flows.reading.retry import RetryPolicy
    from flows.web_to_gcs import etl_web_to_gcs

    monkeypatch.setattr(offers, "POLICY", RetryPolicy(attempts=2, first_wait=0.01))
    with serving() as server:
        template = server.url("/{year}-{month}", status(403))
        for number in range(1, 13):
            server.url(f"/2016-{number}", status(403))
        end = run(etl_web_to_gcs, service="green", year=2016, source_url=template)
    assert end.startswith("Failed: http://127.0.0.1") and "\n" not in end
    assert "/2016-1: the server answered 403 Forbidden" in end and end.endswith(
        "of the 12 partitions checked can be read"
    )


@pytest.mark.timeout(200)
def test_a_file_is_due_again_after_an_error_page_was_received(deployed, source):
    """A proxy's page, once: the file that the source still offers is due at the next run."""
    from flows.web_to_gcs import etl_web_to_gcs

    (month,) = months("green", 2022, 11)
    source.put(month)
    good, page = whole(source.file(month).read_bytes(), ETag=ETAG), whole(PAGE.encode())
    with serving() as server:
        # HEAD, the page, and for the second run HEAD and the file.
        server.url("/2022-11", good, page, good, good)
        given = {"service": "green", "year": 2022, "source_url": server.url("/{year}-{month:02}", status(404))}
        assert "is an HTML page" in run(etl_web_to_gcs, **given)
        assert run(etl_web_to_gcs, **given).startswith("Completed: green 2022-11: 200 rows read")


@pytest.mark.timeout(200)
def test_an_older_version_than_the_offered_one_does_not_hide_it(deployed, source):
    """A cache on the way still has the last version: the month is due until the new one comes."""
    from flows.datasets.tlc.generate import generate
    from flows.web_to_gcs import etl_web_to_gcs

    (month,) = months("green", 2022, 10)
    bodies = []
    for rows in (ROWS, ROWS + 1):
        generate(month, source.file(month), rows=rows)
        bodies.append(source.file(month).read_bytes())
    old = whole(bodies[0], **{"ETag": '"1"', "Last-Modified": "Tue, 01 Nov 2022 12:00:00 GMT"})
    new = whole(bodies[1], **{"ETag": '"2"', "Last-Modified": "Fri, 02 Dec 2022 12:00:00 GMT"})
    with serving() as server:
        # Each run asks by HEAD, and then by GET: loaded, seen again, and loaded anew.
        server.url("/2022-10", new, old, new, old, new, new, new)
        given = {"service": "green", "year": 2022, "source_url": server.url("/{year}-{month:02}", status(404))}
        ends = [run(etl_web_to_gcs, **given) for _ in range(4)]
    assert ends[0].startswith(f"Completed: {month}: 200 rows read")
    assert ends[1].startswith(f"Completed: {month}: unchanged since")
    assert ends[2].startswith(f"Completed: {month}: 201 rows read")
    assert ends[3].startswith("Completed: nothing new")


SECRET, TOKEN = "hunter2secret", "tokensecret"


@pytest.mark.timeout(200)
def test_nothing_of_a_source_s_password_is_shown_or_stored(deployed, source, monkeypatch, capfd):
    """A source behind a login and a token is loaded by the setting, and refused as a parameter by everyone."""
    from flows.web_to_postgres import etl_web_to_postgres

    (month,) = months("green", 2020, 3)
    source.put(month)
    body, login = source.file(month).read_bytes(), base64.b64encode(f"me:{SECRET}".encode()).decode()

    def guarded(ask):
        known = ask.headers["Authorization"] == f"Basic {login}" and ask.path.endswith(f"?token={TOKEN}")
        (whole(body, ETag=ETAG) if known else status(401))(ask)

    given = {"service": "green", "year": 2020}
    with serving() as server:
        server.url("/2020-03", guarded)
        address = f"http://me:{SECRET}@127.0.0.1:{server.server_port}/{{year}}-{{month:02}}?token={TOKEN}"
        with source_setting(monkeypatch, address):
            ends = [run(etl_web_to_postgres, **given), run(etl_web_to_postgres, **given, month=4)]
            command = [sys.executable, "-m", "flows.web_to_postgres", "--source-url", address]
            refused = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
            command = [sys.executable, "-m", "infra.deploy", "plan", "--json"]
            plan = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=True).stdout
    assert ends[0].startswith("Completed: green 2020-03: 200 rows read") and ends[1].startswith("Failed: ")
    assert (refused.returncode, refused.stdout) == (2, "") and "set TAXIWAY_SOURCE_URL instead" in refused.stderr
    assert len(refused.stderr.strip().splitlines()) == 1
    refusal = refused_by_the_api(source_url=address)
    written = capfd.readouterr()
    texts = [*ends, refused.stderr, plan, written.out, written.err, json.dumps(everything_stored())]
    texts += [str(entry) for entry in postgres_entries().values()]
    assert refusal == 409
    assert not [text for text in texts if SECRET in text or TOKEN in text]


def refused_by_the_api(**parameters):
    """The status that the API answers to a run of such parameters."""
    from prefect.client.orchestration import get_client
    from prefect.exceptions import PrefectHTTPStatusError

    with get_client(sync_client=True) as client:
        found = client.read_deployment_by_name("etl_web_to_postgres/process")
        with pytest.raises(PrefectHTTPStatusError) as refusal:
            client.create_flow_run_from_deployment(found.id, parameters=parameters)
    return refusal.value.response.status_code


def everything_stored():
    """All deployments, runs, logs and artifacts of the server."""
    from prefect.client.orchestration import get_client

    found = []
    with get_client(sync_client=True) as client:
        for kind in ("deployments", "flow_runs", "task_runs", "logs", "artifacts"):
            at, page = 0, None
            while page is None or len(page) == 200:
                page = client.request("POST", f"/{kind}/filter", json={"limit": 200, "offset": at}).json()
                found, at = [*found, *page], at + 200
    return found


@pytest.mark.timeout(200)
def test_missing_objects_are_reported_in_one_line(deployed, source, monkeypatch):
    """A block, the limit on downloads, a free slot, the server: each is named, and no traceback is shown."""
    from flows.pipeline import download_slot
    from flows.verify import verify_stores
    from flows.web_to_gcs import etl_web_to_gcs
    from infra.settings import settings

    (month,) = months("green", 2020, 5)
    source.put(month)
    given = {"service": "green", "year": 2020, "month": 5, "source_url": source.url}
    missing = run(etl_web_to_gcs, **given, bucket_block="nobody")
    assert missing.startswith("Failed: block gcs-bucket/nobody: ") and "make blocks" in missing

    end = run(verify_stores, postgres_block="nobody", bucket_block="nobody", credentials_block="nobody")
    assert end.startswith("Failed: 3 differences: postgres: block sqlalchemy-connector/nobody: ")
    assert "; bucket: block gcs-bucket/nobody: " in end and "; bigquery: block gcp-credentials/nobody: " in end

    monkeypatch.setenv("TAXIWAY_TAG", "nobody")
    settings.cache_clear()
    assert "concurrency limit nobody-downloads: is not on the server" in run(etl_web_to_gcs, **given)
    monkeypatch.delenv("TAXIWAY_TAG")
    settings.cache_clear()

    monkeypatch.setattr(download_slot, "LONGEST_WAIT", 1.0)
    with all_slots_taken():
        assert "no slot became free" in run(etl_web_to_gcs, **given)
    assert run(etl_web_to_gcs, **given).startswith("Completed: ")

    nowhere = os.environ | {"PREFECT_API_URL": "http://127.0.0.1:9/api"}
    command = [sys.executable, "-m", "flows.web_to_gcs", "--service", "green"]
    process = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=nowhere, check=False)
    assert process.returncode == 1
    (line,) = process.stderr.strip().splitlines()
    assert line.startswith("taxiway: no answer from http://127.0.0.1:9/api")


@pytest.mark.timeout(200)
@pytest.mark.parametrize("without", ["the key's file", "an account"])
def test_an_unusable_block_is_reported_in_one_line(deployed, tmp_path, monkeypatch, without):
    """Its key file was deleted after it was saved, or it uses the machine's account and there is none."""
    from prefect_gcp import GcpCredentials, GcsBucket

    from flows.web_to_gcs import etl_web_to_gcs
    from infra.emulators.credentials import service_account

    file = tmp_path / "key.json"
    file.write_text(json.dumps(service_account("taxiway-local", "http://127.0.0.1:1/token")))
    monkeypatch.setenv("GOOGLE_APPLICATION_CREDENTIALS", str(file))
    account = {"service_account_file": file} if without == "the key's file" else {}
    GcsBucket(bucket="b", gcp_credentials=GcpCredentials(**account, project="p")).save("unusable", overwrite=True)
    file.unlink()
    end = run(etl_web_to_gcs, service="green", year=2020, month=5, bucket_block="unusable")
    assert end.startswith("Failed: block gcs-bucket/unusable: ") and "\n" not in end


@contextmanager
def all_slots_taken():
    from prefect.concurrency.sync import concurrency

    from infra.settings import settings

    with concurrency(settings().downloads_limit, occupy=settings().downloads_at_once, strict=True):
        yield


@contextmanager
def source_setting(monkeypatch, address):
    """The source as a setting of this process and of those that it starts."""
    from infra.settings import settings

    monkeypatch.setenv("TAXIWAY_SOURCE_URL", address)
    settings.cache_clear()
    yield
    monkeypatch.delenv("TAXIWAY_SOURCE_URL")
    settings.cache_clear()
