"""Source addresses: URL templates, and what of a URL may be shown."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from string import Formatter
from urllib.parse import urlsplit, urlunsplit

SCHEMES = ("https", "http", "file")
HIDDEN = "://..."
# As JSON Schema knows it: an address without user, password, query or fragment (see `require_public`).
PUBLIC_URL = r"^[A-Za-z]+://(\[[0-9A-Fa-f:.]+\]|[^/?#@:\[\]]*)(:[0-9]+(/[^?#@]*)?|(/[^?#]*)?)$"


def source_url(template: str, fields: Mapping[str, str | int], *, required: Sequence[str] = ()) -> str:
    """The address that a template such as `https://host/{service}_tripdata_{year}-{month:02}.parquet` gives.

    Args:
        template: an https, http or file URL, in which a field may have a format.
        fields: the values of the fields that the template may have.
        required: the fields that it must have, or every partition would have the same address.

    Raises:
        ValueError: one line that says what is wrong with the template.
    """
    _require_fields(template, fields, required)
    try:
        url = template.format(**fields)
    except ValueError:
        raise ValueError(
            f"source URL {public(template)!r} has a format that no whole number has; see {{month:02}}"
        ) from None
    _require_address(url)
    return url


def _require_fields(template: str, fields: Collection[str], required: Sequence[str]) -> None:
    shown = public(template)
    known = " ".join(f"{{{name}}}" if name in ("service", "year") else f"{{{name}:02}}" for name in fields)
    try:
        parts = [(field, nested, how) for _, field, nested, how in Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ValueError(f"source URL {shown!r}: {error}") from None
    for field, nested, conversion in parts:
        # A field inside a format ({month:{year}}), an attribute or a conversion has no use here, only surprises.
        if field not in fields or conversion or "{" in (nested or ""):
            # A password may have braces in it, too.
            named = f" {{{field}}}" if f"{{{field}" in shown else ""
            raise ValueError(f"source URL {shown!r}: unknown field{named}; known are {known}")
    for needed in required:
        if needed not in {field for field, _, _ in parts}:
            raise ValueError(f"source URL {shown!r} has no {{{needed}}}: every {required[-1]} would be the same file")


def _require_address(url: str) -> None:
    if any(character.isspace() or not character.isprintable() for character in url):
        raise ValueError(f"source URL {public(url)!r} has a space or a control character in it")
    try:
        parts = urlsplit(url)
        host = parts.hostname
        _ = parts.port  # urlsplit looks at the port only when it is asked for
    except ValueError:
        # What Python says of it quotes the part that it cannot read, which may be a piece of a password.
        raise ValueError(f"source URL {public(url)!r} has an invalid host or port") from None
    if parts.scheme not in SCHEMES:
        raise ValueError(f"source URL {public(url)!r}: the scheme must be one of {', '.join(SCHEMES)}")
    if parts.scheme == "file":
        if host not in (None, "localhost") or not parts.path.startswith("/"):
            raise ValueError(f"source URL {public(url)!r}: a file URL needs an absolute path, as in file:///data/...")
    elif not host:
        raise ValueError(f"source URL {public(url)!r} names no host")
    if public(url).endswith(HIDDEN):
        raise ValueError(f"source URL {public(url)!r}: of a password or path write / ? # @ as %2F %3F %23 %40")


def public(url: str) -> str:
    """The URL as it may stand in a message or a ledger: without user, password, query and fragment.

    Where it cannot be told for sure what is a password, nothing but the scheme is left.
    """
    scheme = url.partition("://")[0]
    hidden = f"{scheme if scheme in SCHEMES else '...'}{HIDDEN}"
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return hidden
    # A password with / ? # in it ends the host early and leaves its own rest, and an @, in what follows.
    rest = parts.path + parts.query + parts.fragment
    doubtful = ":" in parts.netloc or "@" in parts.netloc or (not parts.netloc and parts.scheme != "file")
    if "@" in rest and doubtful:
        return hidden
    return urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))


def require_public(template: str) -> str:
    """The template, if it may be shown and stored. Raises ValueError, which does not repeat it, otherwise."""
    if public(template).casefold() != template.casefold():
        raise ValueError(
            "has a user, password or query, which everyone could read here; set TAXIWAY_SOURCE_URL instead of this"
        )
    return template
