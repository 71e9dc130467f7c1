"""Runs of the agent: each in a container of the pushed image, deployed with `make deploy`."""

from __future__ import annotations

import json
import os
import signal
import socket
import time
from pathlib import Path

import psycopg
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import bigquery, storage

from infra.postgres_url import postgres_url
from tests.docker.conftest import MONTH
from tests.docker.project import until

THE_BLOCK = "/block_types/slug/docker-container/block_documents/name/taxi-docker"
SLOW = Path(__file__).parent / "flows" / "slow.py"
BLOCK = "{{ prefect.blocks.docker-container.taxi-docker.%s }}"
RUN_SECONDS = 240


@pytest.fixture(scope="module")
def log(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("agent") / "log"


@pytest.fixture(scope="module")
def agent(deployed, log):
    """The agent, with settings in its environment that containers must not get."""
    server_only = {
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": "postgresql+asyncpg://secret-of-the-server",
        "PREFECT_SERVER_API_AUTH_STRING": "admin:secret-of-the-server",
    }
    with deployed.agent(log, RUNS_AT_ONCE="3", **server_only) as agent:
        yield agent


def deployment(project, name: str) -> dict:
    return project.call("GET", f"/deployments/name/{name}")


def start(project, name: str, **parameters: object) -> str:
    """Create a run of a deployment over the API. Returns its id."""
    found = deployment(project, name)
    return project.call("POST", f"/deployments/{found['id']}/create_flow_run", {"parameters": parameters})["id"]


def state(project, run: str) -> str:
    return project.call("GET", f"/flow_runs/{run}")["state"]["name"]


def ended(project, run: str, log: Path) -> dict:
    """The run, when it has ended. Fails with its state and the agent's log if it does not end in time."""
    deadline = time.monotonic() + RUN_SECONDS
    while True:
        found = project.call("GET", f"/flow_runs/{run}")
        if found["state"]["type"] in ("COMPLETED", "FAILED", "CRASHED", "CANCELLED"):
            return found
        assert time.monotonic() < deadline, f"{found['state']}\n{log.read_text()[-3000:]}"
        time.sleep(0.3)


def completed(project, run: str, log: Path) -> dict:
    found = ended(project, run, log)
    assert found["state"]["name"] == "Completed", f"{found['state']}\n{log.read_text()[-3000:]}"
    return found


def logged(project, run: str) -> str:
    body = {"logs": {"flow_run_id": {"any_": [run]}}, "sort": "TIMESTAMP_ASC", "limit": 200}
    return "\n".join(line["message"] for line in project.call("POST", "/logs/filter", body))


def container_of(project, run: str) -> str:
    """The id of a run's container; empty if there is none."""
    return project.docker("ps", "--all", "--quiet", "--no-trunc", f"--filter=label=io.prefect.flow-run-id={run}")


@pytest.fixture(scope="module")
def slow(deployed) -> str:
    """A deployment of the flow that waits, mounted into the image; its name."""
    SLOW.chmod(0o644)
    taken = deployment(deployed, "etl_web_to_postgres/docker")
    flow = deployed.call("POST", "/flows/", {"name": "slow"})["id"]
    kept = ("path", "pull_steps", "work_pool_name")
    variables = taken["job_variables"] | {"volumes": ["/tmp", f"{SLOW}:/opt/taxiway/slow.py:ro"]}
    body = {"name": "docker", "flow_id": flow, "entrypoint": "slow.py:slow", "job_variables": variables}
    deployed.call("POST", "/deployments/", body | {name: taken[name] for name in kept})
    return "slow/docker"


def test_deployments_refer_to_the_block(deployed):
    found = deployment(deployed, "etl_web_to_postgres/docker")
    assert found["work_pool_name"] == "taxi"
    assert found["job_variables"]["image"] == BLOCK % "image"
    assert found["job_variables"]["env"] == BLOCK % "env"
    block = deployed.call("GET", THE_BLOCK)
    assert block["data"]["image"].startswith(f"{deployed.env['IMAGE_REPOSITORY']}@sha256:")
    assert block["data"]["auto_remove"] is True
    assert block["data"]["image_pull_policy"] == "IfNotPresent"


def test_every_pipeline_runs_in_a_container_of_the_pushed_image(deployed, agent, source, log):
    month = {"service": "green", "year": 2021, "month": 1}
    loads = {
        "postgres": start(deployed, "etl_web_to_postgres/docker", source_url=source, **month),
        "bucket": start(deployed, "etl_web_to_gcs/docker", source_url=source, **month),
    }
    container = until(lambda: container_of(deployed, loads["postgres"]), 90)
    [made] = json.loads(deployed.docker("inspect", container))
    pinned = deployed.call("GET", THE_BLOCK)["data"]["image"]
    assert made["Config"]["Image"] == pinned
    assert made["HostConfig"]["ReadonlyRootfs"]
    assert made["Config"]["User"] == "10001:10001"
    for run in loads.values():
        completed(deployed, run, log)
    completed(deployed, start(deployed, "etl_gcs_to_bq/docker", **month), log)
    until(lambda: not container_of(deployed, loads["postgres"]), 60)  # auto_remove

    with psycopg.connect(trips_url(deployed)) as connection:
        [read, loaded] = connection.execute("SELECT rows_read, rows_loaded FROM load_ledger").fetchone()
        assert connection.execute("SELECT count(*) FROM green_trips").fetchone() == (loaded,)
    assert read == MONTH.published_rows
    bucket, big_query = google(deployed)
    assert bucket.bucket("taxi-trips").blob(f"data/green/{MONTH.stem}.parquet").exists()
    [[count]] = big_query.query("SELECT COUNT(*) FROM trips.green_trips").result()
    assert loaded <= count <= read  # BigQuery keeps what PostgreSQL rejects for having no passenger


def test_the_parent_flow_runs_as_one_container(deployed, agent, source, log):
    run = start(deployed, "etl_parent_flow/docker", months=[1], year=2021, service="green", source_url=source)
    completed(deployed, run, log)


def test_an_edit_of_the_block_applies_from_the_next_run(deployed, agent, slow, log):
    document = deployed.call("GET", f"{THE_BLOCK}?include_secrets=true")
    env = document["data"]["env"] | {"EDITED_IN_THE_UI": "yes"}
    deployed.call("PATCH", f"/block_documents/{document['id']}", {"data": {"env": env}, "merge_existing_data": True})
    run = start(deployed, slow, seconds=0)
    completed(deployed, run, log)
    until(lambda: "EDITED_IN_THE_UI=yes" in logged(deployed, run), 30)


def test_a_container_knows_no_secret_of_the_server_or_the_stack(deployed, agent, slow, log):
    run = start(deployed, slow, seconds=15)
    container = until(lambda: container_of(deployed, run), 90)
    [made] = json.loads(deployed.docker("inspect", container))
    environment = dict(pair.split("=", 1) for pair in made["Config"]["Env"])
    assert environment["PREFECT_API_URL"] == "http://prefect:4200/api"
    assert environment["PREFECT_API_AUTH_STRING"] == deployed.values["PREFECT_API_AUTH_STRING"]
    assert [name for name in environment if name.startswith(("PREFECT_SERVER_DATABASE", "PREFECT_SERVER_API"))] == []
    private = ("POSTGRES_PASSWORD", "TRIPS_PASSWORD", "PREFECT_DATABASE_PASSWORD", "PGADMIN_PASSWORD", "EMULATOR_KEY")
    for secret in ["secret-of-the-server", *(deployed.values[name] for name in private)]:
        assert secret not in json.dumps(made)
    completed(deployed, run, log)
    until(lambda: "PREFECT_API_URL=" in logged(deployed, run), 30)
    assert "secret-of-the-server" not in logged(deployed, run)


def test_a_killed_container_is_a_crashed_run(deployed, agent, slow, log):
    """Although it is removed at once, together with its exit code."""
    run = start(deployed, slow, seconds=120)
    until(lambda: state(deployed, run) == "Running", 120)
    deployed.docker("kill", container_of(deployed, run))
    assert ended(deployed, run, log)["state"]["name"] == "Crashed"


def test_a_stopped_container_reschedules_its_run(deployed, agent, slow, log):
    run = start(deployed, slow, seconds=120)
    until(lambda: state(deployed, run) == "Running", 120)
    time.sleep(1)
    deployed.docker("stop", "--time=60", container_of(deployed, run))
    found = completed(deployed, run, log)
    assert found["run_count"] == 2
    until(lambda: "cleaned up" in logged(deployed, run) and "run again" in logged(deployed, run), 30)


def test_a_cancelled_run_ends(deployed, agent, slow, log):
    run = start(deployed, slow, seconds=120)
    until(lambda: state(deployed, run) == "Running", 120)
    time.sleep(1)
    deployed.call("POST", f"/flow_runs/{run}/set_state", {"state": {"type": "CANCELLING", "name": "Cancelling"}})
    assert ended(deployed, run, log)["state"]["name"] == "Cancelled"
    until(lambda: not container_of(deployed, run), 60)


def test_a_second_agent_on_this_machine_refuses(deployed, agent):
    assert "already runs on this machine, on pool taxi" in deployed.refusal("infra.agent")


def test_an_invalid_limit_is_refused(deployed):
    assert (
        deployed.refusal("infra.agent", RUNS_AT_ONCE="many")
        == "taxiway: RUNS_AT_ONCE=many is not a number of runs, 1 or more"
    )


def test_the_agent_reports_in_one_line_why_it_cannot_start(deployed, agent, tmp_path):
    # In another temporary folder the lock is free.
    free = {"TMPDIR": str(tmp_path)}
    assert "no Docker engine" in deployed.refusal("infra.agent", DOCKER_HOST="unix:///nowhere/docker.sock", **free)
    nobody = "http://127.0.0.1:9/api"
    assert f"no answer from {nobody}" in deployed.refusal("infra.agent", PREFECT_API_URL=nobody, **free)
    assert "refuses the login" in deployed.refusal("infra.agent", PREFECT_API_AUTH_STRING="a:b", **free)
    deployed.call("POST", "/work_pools/", {"name": "host", "type": "process"})
    assert "of type process" in deployed.refusal("infra.agent", TAXIWAY_WORK_POOL="host", **free)


def test_ctrl_c_waits_for_the_run_and_a_second_one_reschedules_it(deployed, agent, slow, log):
    """Ends the module's agent."""
    run = start(deployed, slow, seconds=120)
    until(lambda: state(deployed, run) == "Running", 120)
    agent.send_signal(signal.SIGINT)
    time.sleep(3)
    assert agent.poll() is None, "it waits"
    assert state(deployed, run) == "Running"
    agent.send_signal(signal.SIGINT)
    agent.wait(90)
    assert agent.returncode == 0
    assert state(deployed, run) == "AwaitingRetry"
    assert container_of(deployed, run) == ""
    deployed.call("DELETE", f"/flow_runs/{run}")


def test_the_next_agent_watches_runs_of_a_killed_one(deployed, slow, tmp_path):
    """It reports a killed container, and a run whose container was never started."""
    with deployed.agent(tmp_path / "killed") as killed:
        run = start(deployed, slow, seconds=120)
        until(lambda: state(deployed, run) == "Running", 120)
        labels = deployed.call("GET", f"/flow_runs/{run}")["labels"]
        killed.kill()
        killed.wait()
    pending = start(deployed, slow, seconds=0)
    deployed.call("POST", f"/flow_runs/{pending}/set_state", {"state": {"type": "PENDING", "name": "Pending"}})
    deployed.call("PATCH", f"/flow_runs/{pending}/labels", labels)
    [made] = json.loads(deployed.docker("inspect", container_of(deployed, run)))
    labels = made["Config"]["Labels"] | {"io.prefect.flow-run-id": pending}
    deployed.docker("create", *(f"--label={name}={value}" for name, value in labels.items()), made["Image"], "true")
    log = tmp_path / "next"
    with deployed.agent(log):
        assert "watching 1 runs of an agent that was killed" in log.read_text()
        assert "killed before the run began" in ended(deployed, pending, log)["state"]["message"]
        assert container_of(deployed, pending) == ""
        assert state(deployed, run) == "Running"
        deployed.docker("kill", container_of(deployed, run))
        assert ended(deployed, run, log)["state"]["message"] == "The run's container ended with status 137."


def test_stopping_an_agent_does_not_stop_containers_of_another_servers_agent(deployed, tmp_path):
    """An agent with the same name, as it is on the same host."""
    labels = {"io.prefect.worker-name": f"agent-{socket.gethostname()}", "io.prefect.work-pool-id": "another"}
    options = [f"--label={name}={value}" for name, value in labels.items()]
    other = deployed.docker("run", "--detach", "--rm", *options, deployed.image, "sleep", "600")
    try:
        with deployed.agent(tmp_path / "log") as agent:
            agent.send_signal(signal.SIGTERM)
            assert agent.wait(90) == 0
        assert other.startswith(deployed.docker("ps", "--quiet", f"--filter=id={other}") or "gone")
    finally:
        deployed.docker("rm", "--force", other)


def trips_url(project) -> str:
    password, port = project.values["TRIPS_PASSWORD"], project.env["POSTGRES_PORT"]
    return postgres_url(user="trips", password=password, host="127.0.0.1", port=port, dbname="trips")


def google(project) -> tuple[storage.Client, bigquery.Client]:
    """Clients of the stack's emulators."""
    os.environ["STORAGE_EMULATOR_HOST"] = f"http://127.0.0.1:{project.env['STORAGE_PORT']}"
    os.environ["BIGQUERY_EMULATOR_HOST"] = f"http://127.0.0.1:{project.env['BIGQUERY_PORT']}"
    who = {"project": "taxiway-local", "credentials": AnonymousCredentials()}
    return storage.Client(**who), bigquery.Client(**who)
