"""The exceptions of the PostgreSQL drivers as errors of this project: one line, without the password."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import unquote

import adbc_driver_manager
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from flows.errors import StoreFailed, StoreUnavailable

# SQLSTATE classes: connection exception, transaction rollback (deadlock, serialization), insufficient resources (disk
# full, too many connections), operator intervention (shutdown, restart), system error; and lock_not_available.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
TRANSIENT = ("08", "40", "53", "57", "58", "55P03")

# libpq gives no SQLSTATE for a failed connection. With one of these messages of PostgreSQL, PgBouncer or libpq a retry
# would fail as well. After any other message, also one in another language, the connection is retried.
REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|does not exist|permission denied"
    r"|not currently accepting connections|no such (database|user)|unsupported startup parameter"
    r"|SSL was required|certificate|invalid .* value|is not permitted",
    re.IGNORECASE,
)


@contextmanager
def one_line(subject: str, conninfo: str) -> Iterator[None]:
    """Raise a driver's exception as StoreFailed or StoreUnavailable about `subject`, without conninfo's password."""
    try:
        yield
    except (psycopg.Error, adbc_driver_manager.Error) as error:
        kind = StoreUnavailable if is_transient(error) else StoreFailed
        reason = without_password(str(error), conninfo)
        if not error.sqlstate and (names := client_defaults()):
            reason += f" ({', '.join(names)} of the environment counts as well)"
        raise kind(subject, reason) from None


def client_defaults() -> list[str]:
    """The environment variables that are set and give libpq defaults for missing parts of the connection string."""
    known = {option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    return sorted(known & os.environ.keys())


def is_transient(error: psycopg.Error | adbc_driver_manager.Error) -> bool:
    """Whether a retry may succeed: by SQLSTATE or, for a lost or failed connection, by the message."""
    if error.sqlstate:
        return error.sqlstate.startswith(TRANSIENT)
    lost = isinstance(error, (psycopg.OperationalError, adbc_driver_manager.OperationalError))
    return lost and not REFUSED.search(str(error))


def without_password(text: str, conninfo: str) -> str:
    """The text with the password of the URL or DSN, as written and as decoded, replaced by `***`."""
    # The regular expression is for a URL that libpq cannot parse.
    found = re.findall(r"://[^/@]*?:([^/]*)@|password=([^&]*)", conninfo)
    secrets = {part for pair in found for part in pair} | {_password(conninfo)}
    for secret in {*secrets, *map(unquote, secrets)} - {""}:
        text = text.replace(secret, "***")
    return text


def _password(conninfo: str) -> str:
    try:
        return str(conninfo_to_dict(conninfo).get("password") or "")
    except psycopg.ProgrammingError:
        return ""
