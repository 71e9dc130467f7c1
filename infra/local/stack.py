"""The embedded stack: PostgreSQL, the Prefect server and UI, the Google emulators and a worker, only on loopback.

`python -m infra.local.stack down` stops a stack that was kept running. Its data is under `.taxiway/`.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path

import httpx

from infra.command_line import verb_of
from infra.local import embedded_postgres as postgres
from infra.local.processes import Process, free_port, spawn, stop, wait_healthy
from infra.settings import ROOT, Settings, settings

# Variables that would point the stack's Prefect and Google clients to other servers, or Python to other modules.
REMOVED = ("PREFECT_", "TAXIWAY_", "GOOGLE_", "STORAGE_EMULATOR_HOST", "BIGQUERY_EMULATOR_HOST")
REMOVED_PYTHON = ("PYTHONHOME", "PYTHONPATH", "PYTHONSTARTUP")

PREFECT = (sys.executable, "-m", "prefect")
SERVER_START_SECONDS = 180.0
# As in docker-compose.yml, which has the reasons.
SERVER_SETTINGS = {
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_LOGGING_LEVEL": "WARNING",
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    "PREFECT_SERVER_DEPLOYMENTS_CONCURRENCY_SLOT_WAIT_SECONDS": "5",
    "PREFECT_SERVER_SERVICES_CANCELLATION_CLEANUP_CANCELLING_TIMEOUT_SECONDS": "90",
    "PYTHONTZPATH": "",
}


class AlreadyUp(RuntimeError):
    """A stack with the same state folder is running."""


class Stack:
    """One embedded stack. `up()` starts it, `down()` stops it; as a context manager, both.

    Args:
        state: the folder for data, logs and the list of processes.
        config: names, and with `postgres_url` another server for the trips.
        keep: leave the stack running when this process ends.
    """

    def __init__(self, state: Path, config: Settings, *, keep: bool = False) -> None:
        self.state, self.config, self.keep = state.resolve(), config, keep
        self.ports = {name: free_port() for name in ("postgres", "prefect", "storage", "bigquery")}
        self._running = self.state / "stack.json"
        self._environment_file = self.state / "stack.env"
        self._processes: list[Process] = []
        self._while_up = ExitStack()

    @property
    def ui_url(self) -> str:
        """The address of Prefect's UI."""
        return self._address("prefect")

    @property
    def client_environment(self) -> dict[str, str]:
        """The environment of clients of the stack: the flows and the worker. Passwords are in the blocks, not here."""
        return {
            "PREFECT_API_URL": f"{self._address('prefect')}/api",
            "PREFECT_HOME": str(self.state / "prefect"),
            "PREFECT_WORKER_QUERY_SECONDS": "1",
            # Without heartbeats a run that was killed together with its worker would stay Running.
            "PREFECT_FLOWS_HEARTBEAT_FREQUENCY": "30",
            "DO_NOT_TRACK": "1",
            "STORAGE_EMULATOR_HOST": self._address("storage"),
            "BIGQUERY_EMULATOR_HOST": self._address("bigquery"),
            "NO_GCE_CHECK": "true",
            # google-auth looks up the generated account at iamcredentials.googleapis.com in the background, and urllib3
            # warns that it cannot connect.
            "PREFECT_LOGGING_ROOT_LEVEL": "ERROR",
            "TAXIWAY_STATE_DIR": str(self.state),
            "TAXIWAY_WORK_POOL_TYPE": "process",
            # Prefect's own command first prepares a workspace for the code in another process.
            "TAXIWAY_PROCESS_COMMAND": shlex.join([sys.executable, "-m", "prefect.engine"]),
            "PYTHONPATH": str(ROOT),
            "TAXIWAY_ROOT": str(ROOT),  # for `prefect.yaml`
        }

    @property
    def operator_environment(self) -> dict[str, str]:
        """The clients' environment, with the secrets that are saved in the blocks."""
        from infra.emulators.credentials import service_account

        key = service_account(self.config.project, f"{self._address('storage')}/token")
        return self.client_environment | {
            "TAXIWAY_POSTGRES_URL": self.postgres_url("trips"),
            "TAXIWAY_GOOGLE_KEY": json.dumps(key),
        }

    def postgres_url(self, database: str) -> str:
        """The URL of a database, with its password. For the trips, the server in the settings if there is one."""
        if database == "trips" and self.config.postgres_url is not None:
            return self.config.postgres_url.get_secret_value()
        return postgres.url(self.state / "postgres", self.ports["postgres"], database)

    def up(self) -> None:
        """Start everything but the worker and wait until it is healthy; after an error stop everything.

        Raises AlreadyUp, NotHealthy or PostgresUnavailable, each with one clear line.
        """
        if any(process.alive() for process in read_running(self._running)):
            raise AlreadyUp(f"a stack with its data in {self.state} is running already: `make down` stops it")
        for folder in ("logs", "prefect"):
            (self.state / folder).mkdir(parents=True, exist_ok=True)
        try:
            with ExitStack() as while_starting:
                # The variables may be meant for the user's own database, so its runs keep them.
                own = self._while_up if self.config.postgres_url is None else while_starting
                own.enter_context(postgres.client_defaults_hidden())
                self._start_all()
        except BaseException:
            self.down()
            raise

    def start_worker(self) -> None:
        """Start a worker. The pool must exist: otherwise the worker would create a different one."""
        self._spawn(
            "worker",
            [
                *PREFECT,
                *("worker", "start", "--type=process", "--name=embedded"),
                *(f"--pool={self.config.work_pool}", "--limit=4"),
            ],
            self._environment(self.client_environment),
        )

    def down(self) -> None:
        """Stop all processes, the last started first."""
        stop_all(self._processes)
        self._processes = []
        self._while_up.close()
        self._running.unlink(missing_ok=True)
        self._environment_file.unlink(missing_ok=True)

    def __enter__(self) -> Stack:
        self.up()
        return self

    def __exit__(self, *exc: object) -> None:
        self.down()

    def _write_environment(self) -> None:
        """Write the variables with which the Makefile's targets use this stack. It has secrets: mode 600."""
        self._environment_file.unlink(missing_ok=True)
        self._environment_file.touch(mode=0o600)
        lines = [f"export {name} = {value}\n" for name, value in self.operator_environment.items()]
        self._environment_file.write_text("".join(lines))

    def _start_all(self) -> None:
        self._start_postgres()
        emulators = list(self._start_emulators())
        self._start_prefect()
        for emulator in emulators:
            self._wait(emulator, "/health", 60)
        if self.keep:
            self._write_environment()

    def _start_postgres(self) -> None:
        data = self.state / "postgres"
        postgres.make_cluster(data)
        process = self._spawn(
            "postgres",
            postgres.server_command(data, self.ports["postgres"]),
            self._environment({}),
            stop_signal=signal.SIGINT,
            **postgres.spawn_options(data),
        )
        maintenance = postgres.url(data, self.ports["postgres"], "postgres")
        wait_healthy(process, self._log("postgres"), lambda: postgres.answers(maintenance), seconds=60)
        postgres.ensure_databases(maintenance, "prefect", "trips")

    def _start_emulators(self) -> Iterator[Process]:
        for name in ("storage", "bigquery"):
            state = self.state / name
            state.mkdir(exist_ok=True)
            yield self._spawn(
                name,
                [sys.executable, "-m", "infra.emulators", name, "--port", str(self.ports[name]), "--state", state],
                self._environment({}),
            )

    def _start_prefect(self) -> None:
        address = self._address("prefect")
        database = self.postgres_url("prefect")
        environment = self._environment(
            {
                "PREFECT_HOME": str(self.state / "prefect"),
                # Not SQLite: on PostgreSQL the server starts faster (6.0 s instead of 9.3 s on two cores), and parallel
                # runs never fail with "database is locked".
                "PREFECT_SERVER_DATABASE_CONNECTION_URL": database.replace("postgresql://", "postgresql+asyncpg://", 1),
                # A `.env` of the Compose stack in this folder has another one.
                "PREFECT_API_URL": f"{address}/api",
                "PREFECT_SERVER_UI_API_URL": f"{address}/api",
                "DO_NOT_TRACK": "1",
                **SERVER_SETTINGS,
            }
        )
        command = [*PREFECT, "server", "start", "--host=127.0.0.1", f"--port={self.ports['prefect']}"]
        process = self._spawn("prefect", command, environment)
        self._wait(process, "/api/health", SERVER_START_SECONDS)

    def _spawn(self, name: str, command: Sequence[str | Path], env: dict[str, str], **options: int) -> Process:
        process = spawn(name, command, self._log(name), env=env, cwd=ROOT, stop_with_parent=not self.keep, **options)
        self._processes.append(process)
        self._running.write_text(json.dumps([asdict(member) for member in self._processes]))
        return process

    def _wait(self, process: Process, path: str, seconds: float) -> None:
        def answers() -> bool:
            try:
                return httpx.get(f"{self._address(process.name)}{path}", timeout=2).is_success
            except httpx.HTTPError:
                return False

        wait_healthy(process, self._log(process.name), answers, seconds=seconds)

    def _environment(self, added: dict[str, str]) -> dict[str, str]:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(REMOVED + REMOVED_PYTHON)}
        # The virtual environment first: Prefect starts runs with `python` by name.
        path = f"{Path(sys.executable).parent}{os.pathsep}{inherited.get('PATH', os.defpath)}"
        return inherited | {"PATH": path} | added

    def _address(self, name: str) -> str:
        return f"http://127.0.0.1:{self.ports[name]}"

    def _log(self, name: str) -> Path:
        return self.state / "logs" / f"{name}.log"


def read_running(path: Path) -> list[Process]:
    """The processes in a `stack.json`; none if the file does not exist."""
    return [Process(**member) for member in json.loads(path.read_text())] if path.exists() else []


def stop_all(processes: list[Process]) -> int:
    """Stop the processes, the last started first. Returns how many were running."""
    alive = [process for process in reversed(processes) if process.alive()]
    for process in alive:
        stop(process)
    return len(alive)


def main() -> None:
    """Stop a kept stack."""
    state = settings().state_dir
    stopped = stop_all(read_running(state / "stack.json"))
    for name in ("stack.json", "stack.env"):
        (state / name).unlink(missing_ok=True)
    print(f"taxiway: {stopped} processes stopped" if stopped else "taxiway: nothing was running")


if __name__ == "__main__":
    verb_of("infra.local.stack", "down")
    main()
