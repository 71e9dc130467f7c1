"""Source URLs: from a template, validated, and shown without their secrets."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from string import Formatter
from urllib.parse import urlsplit, urlunsplit

SCHEMES = ("https", "http", "file")
HIDDEN = "://..."
# For JSON Schema: a URL without user, password, query or fragment (see `require_public`).
NOT_PUBLIC = "has a user, password or query, which everyone could read here; set TAXIWAY_SOURCE_URL instead of this"
PUBLIC_URL = r"^[A-Za-z]+://(\[[0-9A-Fa-f:.]+\]|[^/?#@:\[\]]*)(:[0-9]+(/[^?#@]*)?|(/[^?#]*)?)$"


def source_url(template: str, fields: Mapping[str, str | int], *, required: Collection[str] = ()) -> str:
    """The URL of a template such as `https://host/{service}_tripdata_{year}-{month:02}.parquet`.

    `fields` are the fields that the template may have, and their values. Raises ValueError for an invalid template, or
    one without a required field: different partitions would share one URL.
    """
    _require_fields(template, fields, required)
    try:
        url = template.format(**fields)
    except ValueError:
        raise ValueError(
            f"source URL {public(template)!r} has a format that does not fit its value; for numbers see {{month:02}}"
        ) from None
    _require_address(url)
    return url


def _require_fields(template: str, known: Collection[str], required: Collection[str]) -> None:
    shown = public(template)
    try:
        parts = [(field, nested, how) for _, field, nested, how in Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ValueError(f"source URL {shown!r}: {error}") from None
    for field, nested, conversion in parts:
        # Formats with fields in them ({month:{year}}), attributes and conversions are not supported.
        if field not in known or conversion or "{" in (nested or ""):
            # Braces may be part of a password, so only a field of the public part is named.
            named = f" {{{field}}}" if f"{{{field}" in shown else ""
            names = " ".join(f"{{{name}}}" for name in known)
            raise ValueError(f"source URL {shown!r}: unknown field{named}; known are {names}")
    for name in required:
        if name not in {field for field, _, _ in parts}:
            raise ValueError(f"source URL {shown!r} has no {{{name}}}: different partitions would share one URL")


def _require_address(url: str) -> None:
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"source URL {public(url)!r} has a space or a control character in it")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # urlsplit checks the port only when it is read
    except ValueError:
        # Python's message quotes the invalid part, which may be part of a password.
        raise ValueError(f"source URL {public(url)!r} has an invalid host or port") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"source URL {public(url)!r}: the scheme must be one of {', '.join(SCHEMES)}")
    if parts.scheme == "file":
        if host not in (None, "localhost") or not parts.path.startswith("/"):
            raise ValueError(f"source URL {public(url)!r}: a file URL needs an absolute path, as in file:///data/...")
    elif not host:
        raise ValueError(f"source URL {public(url)!r} names no host")
    if public(url).endswith(HIDDEN):
        raise ValueError(f"source URL {public(url)!r}: in a password or path write / ? # @ as %2F %3F %23 %40")


def public(url: str) -> str:
    """The URL without user, password, query and fragment; only the scheme if it is unclear what is a password."""
    scheme = url.partition("://")[0]
    hidden = f"{scheme if scheme in SCHEMES else '...'}{HIDDEN}"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return hidden
    # A password with / ? # in it ends the host early: the rest of the password, and an @, follow after it.
    rest = parts.path + parts.query + parts.fragment
    doubtful = ":" in parts.netloc or "@" in parts.netloc or (not parts.netloc and parts.scheme != "file")
    if "@" in rest and doubtful:
        return hidden
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def require_public(template: str) -> str:
    """The template, if it has no secret in it; otherwise a ValueError, which does not quote it."""
    if public(template).casefold() != template.casefold():
        raise ValueError(NOT_PUBLIC)
    return template
