"""Prefect's pages and pgAdmin's on the whole stack: what is clicked happens in containers, and a deploy lets it be."""

from __future__ import annotations

import json

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import storage
from playwright.sync_api import expect

from flows.datasets.tlc import GREEN
from flows.stores.bucket import BucketStore
from flows.stores.postgres import PostgresStore
from infra.postgres_url import postgres_url
from tests.browser.conftest import LABEL, MONTHS, ROWS
from tests.browser.pgadmin_ui import TABLES, PgAdmin

# The stack and its image come up within the first test.
pytestmark = pytest.mark.timeout(900)

BLOCK = "/block_types/slug/docker-container/block_documents/name/{}?include_secrets=true"


@pytest.fixture(scope="module")
def prefect(ui, stack):
    """The UI, logged in."""
    ui.log_in(stack.values["PREFECT_API_AUTH_STRING"])
    expect(ui.page.get_by_role("link", name="Dashboard")).to_be_visible()
    return ui


@pytest.fixture(scope="module")
def declared(agent, deployed) -> dict:
    """The block as the code has it."""
    return block(deployed, "taxi-docker")


@pytest.fixture(scope="module")
def edited(prefect, declared) -> dict:
    """The same block, edited in its form: its containers are labelled, and stay."""

    def fill(form) -> None:
        form.json("Labels", {LABEL: "edited"})
        form.switch("Auto Remove", on=False)

    prefect.edit_block("taxi-docker", fill)
    return declared | {"labels": {LABEL: "edited"}, "auto_remove": False}


@pytest.fixture(scope="module")
def made(prefect, declared) -> dict:
    """A block made in an empty form, of which some fields stay as they are."""

    def fill(form) -> None:
        form.text("Image", declared["image"])
        form.choose("Image Pull Policy", "Never")
        form.items("Networks", declared["networks"])
        form.items("Volumes", declared["volumes"])
        form.switch("Auto Remove", on=False)
        form.text("Memory Limit", "2g")
        form.json("Environment Variables", declared["env"])
        form.json("Labels", {LABEL: "made"})

    prefect.create_container("by-hand", fill)
    values = {"image_pull_policy": "Never", "labels": {LABEL: "made"}, "auto_remove": False, "mem_limit": "2g"}
    return declared | values | {"container_create_kwargs": {}, "command": None}


@pytest.fixture(scope="module")
def into_postgres(prefect, made, picture) -> str:
    """A custom run: months typed in, another pipeline, the block made by hand. Its id, once it is Completed."""

    def fill(form) -> None:
        form.items("months", [1, 2, 3], instead_of=3)
        form.choose("pipeline", "etl_web_to_postgres")
        form.number("concurrency", 3)
        picture("custom-run")
        form.page.get_by_role("button", name="Additional Options").click()
        form.replace("Job Variables", "taxi-docker", "by-hand")

    prefect.open_deployment("etl_parent_flow")
    prefect.custom_run(fill)
    prefect.watch("etl_web_to_postgres green 2021 [1, 2, 3]")
    return prefect.run_id


def test_a_wrong_password_is_refused(ui, stack):
    ui.log_in("taxiway:guessed")
    expect(ui.page.get_by_text("Invalid credentials")).to_be_visible()


def test_a_block_is_edited_in_its_form(edited, deployed):
    assert block(deployed, "taxi-docker") == edited


def test_a_block_is_created_in_its_form(made, deployed, picture):
    assert block(deployed, "by-hand") == made
    picture("block")


def test_a_quick_run_loads_the_bucket_in_a_container_of_the_edited_block(prefect, edited, deployed, picture):
    prefect.open_deployment("etl_parent_flow")
    prefect.quick_run()
    prefect.watch("etl_web_to_gcs green 2021 [1, 2, 3]")
    picture("run")
    container = ended(deployed, prefect.run_id)
    assert container["Config"]["Labels"][LABEL] == "edited"
    options = {"api_endpoint": f"http://127.0.0.1:{deployed.env['STORAGE_PORT']}"}
    client = storage.Client("taxiway-local", AnonymousCredentials(), client_options=options)
    assert rows_read(BucketStore(client.bucket("taxi-trips"))) == ROWS


def test_a_custom_run_loads_postgres_in_a_container_of_the_manually_created_block(into_postgres, deployed):
    container = ended(deployed, into_postgres)
    assert container["Config"]["Labels"][LABEL] == "made"
    assert container["HostConfig"]["Memory"] == 2 << 30
    assert list(container["NetworkSettings"]["Networks"]) == [deployed.name]
    assert rows_read(trips(deployed)) == ROWS


def test_manual_schedules_and_switches_are_kept_by_a_deploy(prefect, deployed, picture):
    prefect.open_deployment("etl_web_to_gcs")
    # From four schedules on the page has a switch for all of them, which pauses the deployment.
    for cron in ("0 6 * * 1", "0 7 * * 2", "0 8 * * 3"):
        prefect.add_cron(cron)
    prefect.switch_off("toggle At 05:00 AM, on day 1 of the month")
    prefect.switch_off("toggle At 07:00 AM, only on Tuesday")
    prefect.switch_off("Pause or resume all schedules")
    picture("schedules")
    before = by_hand(deployed)
    assert before == {"0 5 1 * *": False, "0 6 * * 1": True, "0 7 * * 2": False, "0 8 * * 3": True, "paused": True}

    plan = deployed.module("infra.deploy", "plan").stdout
    assert len([line for line in plan.splitlines() if "kept" in line and "added by hand" in line]) == 3
    deployed.module("infra.deploy", "apply")
    assert by_hand(deployed) == before
    prefect.page.reload()
    expect(prefect.switch("Pause or resume all schedules")).not_to_be_checked()
    expect(prefect.switch("toggle At 06:00 AM, only on Monday")).to_be_visible()


def test_pgadmin_shows_the_rows_of_the_registered_server(into_postgres, page, deployed, picture):
    pgadmin = PgAdmin(page, f"http://127.0.0.1:{deployed.env['PGADMIN_PORT']}")
    pgadmin.log_in("admin@example.com", deployed.values["PGADMIN_PASSWORD"])
    pgadmin.select((*TABLES, "green_trips"))
    rows = pgadmin.view_data("green_trips")
    expect(rows.get_by_text("Total rows:")).to_have_text(f"Total rows: {sum(trips(deployed).counts(GREEN).values())}")
    expect(rows.get_by_role("columnheader", name="pickup_datetime")).to_be_visible()
    expect(rows.get_by_role("gridcell", name="2021-01-").first).to_be_visible()
    picture("pgadmin")


def block(project, name: str) -> dict:
    return project.call("GET", BLOCK.format(name))["data"]


def ended(project, run_id: str) -> dict:
    """The one container of a run, after it has ended well."""
    [container] = project.docker("ps", "--all", "--quiet", f"--filter=label=io.prefect.flow-run-id={run_id}").split()
    assert project.docker("wait", container) == "0"
    [inspected] = json.loads(project.docker("inspect", container))
    return inspected


def trips(project) -> PostgresStore:
    password, port = project.values["TRIPS_PASSWORD"], project.env["POSTGRES_PORT"]
    return PostgresStore(postgres_url(user="trips", password=password, host="127.0.0.1", port=port, dbname="trips"))


def rows_read(store) -> dict:
    """By month the rows that its ledger entry has read; the store holds as many as the entry has loaded."""
    entries = {month: store.entry(month) for month in MONTHS}
    for month, entry in entries.items():
        assert entry.status == "loaded"
        assert store.count(month) == entry.rows_loaded > 0
        assert entry.rows_read == entry.rows_loaded + entry.rows_rejected
    return {month: entry.rows_read for month, entry in entries.items()}


def by_hand(project) -> dict[str, bool]:
    """Of `etl_web_to_gcs/docker`: each schedule's switch by its cron rule, and whether it is paused."""
    found = project.call("GET", "/deployments/name/etl_web_to_gcs/docker")
    switches = {schedule["schedule"]["cron"]: schedule["active"] for schedule in found["schedules"]}
    return switches | {"paused": found["paused"]}
