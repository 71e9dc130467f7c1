"""Converts common forms of a PostgreSQL address to one URL for libpq."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode

# The scheme of libpq, of SQLAlchemy (with a driver) and of JDBC.
SCHEME = re.compile(r"^(?:jdbc:)?postgres(?:ql)?(?:\+\w+)?:(?P<slashes>//)?")

EXPECTED = (
    "expected postgresql://user:password@host:port/database, special characters in the user and the password as %40 "
    "for @, %3A for :, %2F for /, %25 for %, and only options that libpq knows after the ?"
)


def libpq_url(text: str) -> str:
    """The address as `postgres_url` writes it.

    `text` is postgresql:// or postgres://, also with a driver (postgresql+psycopg2://) or as jdbc:postgresql:, or a DSN
    (`host=... dbname=...`). Raises ValueError otherwise; its message has no part of `text`, which may have a password.
    """
    return postgres_url(**parts_of(text))


def parts_of(text: str) -> dict[str, Any]:
    """The address as libpq's options: host, port, user, password, dbname and others. Raises as `libpq_url` does."""
    import psycopg  # many processes read the settings and never connect
    from psycopg.conninfo import conninfo_to_dict

    text = text.strip()
    scheme = SCHEME.match(text)
    if scheme:
        text = f"postgresql://{'' if scheme['slashes'] else '/'}{text[scheme.end() :]}"
    try:
        parts = conninfo_to_dict(text)
    except psycopg.ProgrammingError:
        raise ValueError(EXPECTED) from None
    # With an unescaped / or @ in a password libpq reads a part of it as the port, the host or the database.
    misread = scheme and "@" in f"{parts.get('host', '')}{parts.get('dbname', '')}"
    if not parts or misread or not re.fullmatch(r"[\d,]*", str(parts.get("port", ""))):
        raise ValueError(EXPECTED)
    return parts


def postgres_url(**parts: Any) -> str:
    """A postgresql:// URL of libpq's options, escaped for libpq and SQLAlchemy."""
    rest = {name: str(value) for name, value in parts.items() if value is not None}
    account = address = ""
    if "user" in rest:
        account = ":".join(quote(rest.pop(name), safe="") for name in ("user", "password") if name in rest) + "@"
    # A socket's folder or several hosts cannot be written before the path.
    if re.fullmatch(r"[\w.:-]+", rest.get("host", "")) and re.fullmatch(r"\d*", rest.get("port", "")):
        host, port = rest.pop("host"), rest.pop("port", "")
        address = (f"[{host}]" if ":" in host else host) + (port and f":{port}")
    database = quote(rest.pop("dbname", ""), safe="")
    return f"postgresql://{account}{address}/{database}{(rest and '?') or ''}{urlencode(rest, quote_via=quote)}"


def connect_options(given: Mapping[str, Any]) -> dict[str, str]:
    """The options as text for libpq. Raises ValueError with the name of an option that libpq does not know."""
    import psycopg
    from psycopg.conninfo import make_conninfo

    options = {name: str(value) for name, value in given.items() if value is not None}
    for name in options:
        try:
            make_conninfo(**{name: ""})
        except psycopg.ProgrammingError:
            raise ValueError(f"{name} is not an option of libpq") from None
    return options
