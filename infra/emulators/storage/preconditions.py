"""Generation and metageneration preconditions, as Cloud Storage documents them for the JSON API."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from starlette.responses import Response

from infra.emulators.rest import GoogleError, invalid

OF_OBJECT = {"ifGenerationMatch", "ifGenerationNotMatch", "ifMetagenerationMatch", "ifMetagenerationNotMatch"}
OF_SOURCE = {name.replace("if", "ifSource", 1) for name in OF_OBJECT}


class NotModified(GoogleError):
    """A read whose `...NotMatch` did match: the client has this version."""

    def __init__(self) -> None:
        super().__init__(304, "notModified", "Not Modified")

    def response(self) -> Response:
        """A 304 has no body."""
        return Response(status_code=304)


def check(query: Mapping[str, str], live: dict[str, Any] | None, *, reading: bool = False, prefix: str = "if") -> None:
    """Raise 412 unless every precondition in `query` holds for the object `live` (None: there is none).

    A generation of 0 means "no live object". On a read, an unmet `...NotMatch` is a 304 instead.
    """
    for field in ("generation", "metageneration"):
        actual = int(live[field]) if live else None
        wanted = _number(query, f"{prefix}{field.title()}Match")
        unwanted = _number(query, f"{prefix}{field.title()}NotMatch")
        absent = 0 if field == "generation" else None
        if wanted is not None and wanted != (absent if actual is None else actual):
            raise GoogleError(412, "conditionNotMet", _UNMET)
        if unwanted is not None and unwanted == (absent if actual is None else actual):
            raise NotModified if reading else GoogleError(412, "conditionNotMet", _UNMET)


_UNMET = "At least one of the pre-conditions you specified did not hold."


def _number(query: Mapping[str, str], name: str) -> int | None:
    value = query.get(name)
    if value is None:
        return None
    if not value.isdecimal():
        raise invalid(f"Invalid value for {name}: {value}")
    return int(value)
