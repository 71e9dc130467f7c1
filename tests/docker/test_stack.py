"""The stack of docker-compose.yml, up from empty volumes."""

from __future__ import annotations

import json
import re
import subprocess
import urllib.error
import urllib.request

import httpx
import psycopg
import pytest

from tests.docker.project import Project, until


@pytest.fixture(scope="module")
def services(stack) -> dict[str, dict]:
    listed = stack.docker("compose", "ps", "--all", "--format=json").splitlines()
    return {service["Service"]: service for service in map(json.loads, listed)}


def connect(stack, role: str, password: str, database: str) -> psycopg.Connection:
    port = stack.env["POSTGRES_PORT"]
    account = {"user": role, "password": password, "dbname": database}
    return psycopg.connect(host="127.0.0.1", port=port, connect_timeout=10, **account)


def test_every_service_is_healthy(services):
    assert set(services) == {"postgres", "pgadmin", "prefect", "storage", "bigquery"}
    assert {name: service["Health"] for name, service in services.items() if service["Health"] != "healthy"} == {}


def test_ports_are_published_on_loopback_only(services):
    published = [port for service in services.values() for port in service["Publishers"] if port["PublishedPort"]]
    assert {port["URL"] for port in published} == {"127.0.0.1"}


def test_each_role_can_connect_only_to_its_database(stack):
    values = stack.values
    roles = {"trips": values["TRIPS_PASSWORD"], "prefect": values["PREFECT_DATABASE_PASSWORD"]}
    for role, password in roles.items():
        with connect(stack, role, password, role) as connection:
            assert connection.execute("SELECT current_user").fetchone() == (role,)
            assert connection.execute("SELECT rolsuper FROM pg_roles WHERE rolname = %s", [role]).fetchone() == (False,)
        for other in {"trips", "prefect", "postgres"} - {role}:
            with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
                connect(stack, role, password, other)


def test_the_server_keeps_its_state_in_postgres(stack):
    with connect(stack, "prefect", stack.values["PREFECT_DATABASE_PASSWORD"], "prefect") as connection:
        assert connection.execute("SELECT count(*) FROM block_type").fetchone()[0] > 0


def test_the_api_requires_a_login_and_a_csrf_token(stack):
    assert stack.call("GET", "/health", login=False) is True
    with pytest.raises(urllib.error.HTTPError, match="401"):
        stack.call("GET", "/admin/settings", login=False)
    assert stack.call("POST", "/flows/filter", {}) == stack.call("POST", "/flows/filter", {})
    request = urllib.request.Request(stack.api + "/flows/filter", b"{}", method="POST")
    request.add_header("Authorization", stack.authorization)
    request.add_header("Content-Type", "application/json")
    with pytest.raises(urllib.error.HTTPError, match="403"):
        urllib.request.urlopen(request)


def test_the_ui_calls_this_server(stack):
    ui = stack.api.removesuffix("/api")
    assert b"<html" in urllib.request.urlopen(ui + "/", timeout=10).read().lower()
    settings = json.loads(urllib.request.urlopen(ui + "/ui-settings", timeout=10).read())
    assert settings["api_url"] == stack.api


def test_pgadmin_knows_the_server_and_its_password(stack):
    with httpx.Client(base_url=f"http://127.0.0.1:{stack.env['PGADMIN_PORT']}", timeout=30) as browser:
        token = re.search(r'csrfToken"?:\s*"([^"]+)"', browser.get("/login").text)[1]
        login = {"email": "admin@example.com", "password": stack.values["PGADMIN_PASSWORD"], "csrf_token": token}
        assert browser.post("/authenticate/login", data=login).headers["Location"] == "/browser/"
        browser.headers["X-pgA-CSRFToken"] = token
        [group] = browser.get("/browser/server_group/nodes/").json()["data"]
        [server] = browser.get(f"/browser/server/nodes/{group['_id']}/").json()["result"]
        assert (server["label"], server["host"], server["db"]) == ("Taxiway", "postgres", "trips")
        # No password is given here.
        connected = browser.post(f"/browser/server/connect/{group['_id']}/{server['_id']}", json={}).json()
        assert connected["data"]["connected"] is True


def test_containers_are_unprivileged_and_read_only(stack):
    for service in ("prefect", "storage", "bigquery"):
        [container] = json.loads(stack.docker("inspect", stack.docker("compose", "ps", "--quiet", service)))
        assert container["HostConfig"]["ReadonlyRootfs"]
        assert container["HostConfig"]["CapDrop"] == ["ALL"]
        assert container["Config"]["User"] == "10001:10001"


def test_a_password_that_compose_reads_differently_is_reported(stack):
    before = (stack.root / ".env").read_text()
    try:
        stack.set(TRIPS_PASSWORD="hu$sh1", PREFECT_API_AUTH_STRING="'taxiway:${HOME}'")
        line = stack.refusal("infra.compose", "up")
        stack.set(TRIPS_PASSWORD="'hu'sh'", PREFECT_API_AUTH_STRING="a:b")
        unreadable = stack.module("infra.compose", "up", check=False).stderr
    finally:
        (stack.root / ".env").write_text(before)
    assert line.startswith("taxiway: PREFECT_API_AUTH_STRING, TRIPS_PASSWORD in .env is read differently by Docker")
    number = len(before.splitlines()) + 3
    assert f"taxiway: line {number} of .env cannot be read by Docker Compose" in unreadable.splitlines()
    assert "hu" not in line and "sh" not in line + unreadable


def test_a_parallel_hash_join_has_enough_shared_memory(stack):
    """The workers' shared hash table is larger than Docker's default."""
    settings = "work_mem = '256MB'; min_parallel_table_scan_size = 0; parallel_setup_cost = 0; parallel_tuple_cost = 0"
    with connect(stack, "trips", stack.values["TRIPS_PASSWORD"], "trips") as connection:
        connection.execute(
            "CREATE TABLE joined AS SELECT n, repeat('x', 100) AS text FROM generate_series(1, 600000) n"
        )
        connection.execute("ANALYZE joined")
        for setting in (*settings.split("; "), "enable_mergejoin = off", "enable_nestloop = off"):
            connection.execute(f"SET LOCAL {setting}")
        query = "SELECT count(*), max(length(a.text || b.text)) FROM joined a JOIN joined b USING (n)"
        plan = "\n".join(line for (line,) in connection.execute(f"EXPLAIN {query}").fetchall())
        assert "Parallel Hash" in plan
        assert connection.execute(query).fetchone() == (600_000, 200)
        connection.rollback()


def test_without_the_environment_file_the_stack_does_not_start(stack, tmp_path):
    hidden = tmp_path / "env"
    (stack.root / ".env").rename(hidden)
    try:
        assert "`make env` writes a .env" in stack.refusal("infra.compose", "up")
        composed = stack.run("docker", "compose", "config", check=False)
        assert composed.returncode != 0 and "run make env" in composed.stderr
    finally:
        hidden.rename(stack.root / ".env")


def test_the_environment_file_is_written_once_and_is_private(stack):
    file = stack.root / ".env"
    before = file.read_bytes()
    assert "is unchanged" in stack.module("infra.environment").stdout
    assert file.read_bytes() == before
    assert file.stat().st_mode & 0o777 == 0o600


def test_destroy_asks_first(stack):
    done = stack.module("infra.compose", "destroy", check=False)
    assert done.returncode == 1 and "nothing was removed" in done.stderr
    assert stack.call("GET", "/health", login=False) is True


def test_down_keeps_the_data(stack):
    with connect(stack, "trips", stack.values["TRIPS_PASSWORD"], "trips") as connection:
        connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
    stack.module("infra.compose", "down")
    assert stack.docker("compose", "ps", "--all", "--quiet") == ""
    up = stack.module("infra.compose", "up").stdout
    assert stack.api.removesuffix("/api") in up
    assert not [name for name, value in stack.values.items() if "PASSWORD" in name and value and value in up]
    with connect(stack, "trips", stack.values["TRIPS_PASSWORD"], "trips") as connection:
        assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
        connection.execute("DROP TABLE kept")


def test_a_second_checkout_has_its_own_stack_and_reports_a_taken_port(stack, tmp_path):
    other = Project(tmp_path / "other", "")
    other.module("infra.environment")
    other.set(COMPOSE_PROFILES="")  # no emulators to build
    other.env |= {"POSTGRES_PORT": stack.env["POSTGRES_PORT"], "COMPOSE_FILE": str(stack.root / "docker-compose.yml")}
    try:
        line = other.refusal("infra.compose", "up", TAXIWAY_IMAGE=f"{stack.name}:latest")
        taken = stack.env["POSTGRES_PORT"]
        assert line == f"taxiway: port {taken} of this machine is taken; set POSTGRES_PORT in .env to another"
    finally:
        output = other.module("infra.compose", "destroy", answer="y\n").stdout
    assert f"removed stack {other.name} and its data" in output
    assert stack.call("GET", "/health", login=False) is True
    with connect(stack, "trips", stack.values["TRIPS_PASSWORD"], "trips") as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_the_agent_can_run_as_a_container(stack):
    stack.docker("compose", "--profile=agent", "up", "--detach", "agent")
    try:
        agent = stack.docker("compose", "--profile=agent", "ps", "--quiet", "agent")
        until(lambda: "agent-agent polls work pool" in logs(agent), 60)
        assert stack.call("GET", "/work_pools/taxi")["type"] == "docker"
    finally:
        stack.docker("compose", "--profile=agent", "stop", "agent")
    assert "agent-agent stopped" in logs(agent)
    stack.docker("compose", "--profile=agent", "rm", "--force", "agent")


def logs(container: str) -> str:
    done = subprocess.run(["docker", "logs", container], capture_output=True, text=True, check=True)
    return done.stdout + done.stderr
