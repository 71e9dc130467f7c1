"""Where a month is, which months there are, and how many rows TLC published for each.

`published_counts.csv` holds, for 2009-01 to 2024-05, the number of rows of every parquet file that TLC published, as
recorded by the repository lykmapipo/NYC-TLC-Trip-Data from the files themselves. TLC's earlier CSV files hold up to
10% fewer rows for some months (green 2019-04: 514,392 against 567,852). No figure of that table is an estimate; a month
it does not have is simply unknown.
"""

from __future__ import annotations

import csv
import datetime as dt
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from string import Formatter
from urllib.parse import urlsplit, urlunsplit

from flows.datasets.partition import Month, Service

FIRST_MONTH = {
    Service.YELLOW: Month(Service.YELLOW, 2009, 1),
    Service.GREEN: Month(Service.GREEN, 2013, 8),
    Service.FHV: Month(Service.FHV, 2015, 1),
    Service.FHVHV: Month(Service.FHVHV, 2019, 2),
}
"""The first month that TLC published, per service."""

SCHEMES = ("https", "http", "file")
HIDDEN = "://..."
# As JSON Schema knows it: an address without user, password, query or fragment (see `require_public`).
PUBLIC_URL = r"^[A-Za-z]+://(\[[0-9A-Fa-f:.]+\]|[^/?#@:\[\]]*)(:[0-9]+(/[^?#@]*)?|(/[^?#]*)?)$"
_FIELDS = {"service", "year", "month"}


def source_url(template: str, month: Month) -> str:
    """Where a month is, by a template such as `https://host/{service}_tripdata_{year}-{month:02}.parquet`.

    Args:
        template: an https, http or file URL with the fields {service}, {year} and {month:02}. Year and month must be
            there, or every month would be the same file.
        month: the month to find.

    Raises:
        ValueError: one line that says what is wrong with the template.
    """
    _require_fields(template)
    try:
        url = template.format(service=month.service.value, year=month.year, month=month.month)
    except ValueError:
        raise ValueError(
            f"source URL {public(template)!r} has a format that no whole number has; see {{month:02}}"
        ) from None
    _require_address(url)
    return url


def _require_fields(template: str) -> None:
    shown = public(template)
    try:
        parts = [(field, nested, how) for _, field, nested, how in Formatter().parse(template) if field is not None]
    except ValueError as error:
        raise ValueError(f"source URL {shown!r}: {error}") from None
    for field, nested, conversion in parts:
        # A field inside a format ({month:{year}}), an attribute or a conversion has no use here, only surprises.
        if field not in _FIELDS or conversion or "{" in (nested or ""):
            # A password may have braces in it, too.
            named = f" {{{field}}}" if f"{{{field}" in shown else ""
            raise ValueError(f"source URL {shown!r}: unknown field{named}; known are {{service}} {{year}} {{month:02}}")
    for needed in ("year", "month"):
        if needed not in {field for field, _, _ in parts}:
            raise ValueError(f"source URL {shown!r} has no {{{needed}}}: every month would be the same file")


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


def months_of(text: str) -> list[int]:
    """Month numbers from text such as `1,2,3` or `1-3,12`: ascending, each once.

    Raises:
        ValueError: one line, if there is none, or one is not 1 to 12.
    """
    numbers: set[int] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        low, dash, high = part.partition("-")
        try:
            span = range(int(low), int(high if dash else low) + 1)
        except ValueError:
            raise ValueError(f"months {text!r}: {part!r} is not a month; write them as 1,2,3 or 1-3") from None
        if not span or span[0] < 1 or span[-1] > 12:
            raise ValueError(f"months {text!r}: {part!r} is not within 1 to 12")
        numbers.update(span)
    if not numbers:
        raise ValueError(f"months {text!r}: there is none; write them as 1,2,3 or 1-3")
    return sorted(numbers)


def months_until(service: Service, last: dt.date) -> Iterator[Month]:
    """Every month of a service from the first that TLC published to the one that holds the day `last`, in order."""
    month = FIRST_MONTH[service]
    while month.first <= last:
        yield month
        month = Month(service, month.year + month.month // 12, month.month % 12 + 1)


def published_rows(month: Month) -> int | None:
    """How many rows TLC's parquet file of a month holds; None where that is not known."""
    return _published().get((month.service.value, month.label))


@cache
def _published() -> dict[tuple[str, str], int]:
    with Path(__file__).with_name("published_counts.csv").open(newline="") as file:
        return {(row["service"], row["month"]): int(row["rows"]) for row in csv.DictReader(file)}
