"""Preconditions of requests for an object, as Cloud Storage documents them for the JSON API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from infra.emulators.rest import GoogleError, invalid

NAMES = {"ifGenerationMatch", "ifMetagenerationMatch"}


def check(query: Mapping[str, str], live: dict[str, Any] | None) -> None:
    """Raise 412 unless every precondition in `query` holds for the object `live` (None: no such object).

    `ifGenerationMatch=0` means that the object must not exist.
    """
    actual = live or {"generation": "0"}
    for name, field in (("ifGenerationMatch", "generation"), ("ifMetagenerationMatch", "metageneration")):
        expected = query.get(name)
        if expected is not None and not expected.isdecimal():
            raise invalid(f"Invalid value for {name}: {expected}")
        if expected is not None and expected != actual.get(field):
            raise _not_met()


def check_etag(headers: Mapping[str, str], live: dict[str, Any]) -> None:
    """Raise 412 if an `If-Match` header names other versions, 304 if an `If-None-Match` header names this one."""
    expected, known = (
        [each.strip() for each in headers.get(name, "").split(",")] for name in ("if-match", "if-none-match")
    )
    if expected != [""] and not {live["etag"], "*"} & set(expected):
        raise _not_met()
    if {live["etag"], "*"} & set(known):
        raise GoogleError(304, "notModified", "Not Modified")


def _not_met() -> GoogleError:
    return GoogleError(412, "conditionNotMet", "At least one of the pre-conditions you specified did not hold.")
