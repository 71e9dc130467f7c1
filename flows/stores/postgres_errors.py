"""What a PostgreSQL driver raises, as the two families of errors: one line, without the password."""

from __future__ import annotations

import os
import re
from urllib.parse import unquote

import adbc_driver_manager
import psycopg
from psycopg.conninfo import conninfo_to_dict
from psycopg.pq import Conninfo

from flows.errors import StoreFailed, StoreUnavailable

DRIVER_ERRORS = (psycopg.Error, adbc_driver_manager.Error)

# SQLSTATE classes: connection exception, transaction rollback (deadlock, serialization), insufficient resources (disk
# full, too many connections), operator intervention (shutdown, restart), system error; and lock_not_available.
# https://www.postgresql.org/docs/current/errcodes-appendix.html
TRANSIENT = ("08", "40", "53", "57", "58", "55P03")

# libpq gives no SQLSTATE for a connection that is not made. These messages of PostgreSQL, PgBouncer and libpq itself
# mean that another try would fail as well. Any other one, such as a message in another language, is tried again.
REFUSED = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|does not exist|permission denied"
    r"|not currently accepting connections|no such (database|user)|unsupported startup parameter"
    r"|SSL was required|certificate|invalid .* value|is not permitted",
    re.IGNORECASE,
)


def store_error(
    subject: str, error: psycopg.Error | adbc_driver_manager.Error, conninfo: str
) -> StoreFailed | StoreUnavailable:
    """The driver's exception as one of ours.

    Args:
        subject: the partition or table it is about.
        error: what the driver raised.
        conninfo: what it connected with; its password is in no message.
    """
    kind = StoreUnavailable if is_transient(error) else StoreFailed
    reason = without_password(str(error), conninfo)
    if not error.sqlstate and (names := client_defaults()):
        reason += f" ({', '.join(names)} of the environment counts as well)"
    return kind(subject, reason)


def client_defaults() -> list[str]:
    """The variables of the environment from which libpq takes what the address leaves out."""
    known = {option.envvar.decode() for option in Conninfo.get_defaults() if option.envvar}
    return sorted(known & os.environ.keys())


def is_transient(error: psycopg.Error | adbc_driver_manager.Error) -> bool:
    """Whether another try may succeed: by SQLSTATE, or for a connection that is lost or not made, by its text."""
    if error.sqlstate:
        return error.sqlstate.startswith(TRANSIENT)
    lost = isinstance(error, (psycopg.OperationalError, adbc_driver_manager.OperationalError))
    return lost and not REFUSED.search(str(error))


def without_password(text: str, conninfo: str) -> str:
    """The text with the password of the URL or DSN, as written and as decoded, replaced by `***`."""
    # A regular expression as well: the text may be about a URL that libpq cannot read.
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
