"""DuckDB's errors as the answers they stand for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import duckdb

from infra.emulators.rest import GoogleError, unsupported


@contextmanager
def told_as_google(reason: str, prefix: str = "") -> Iterator[None]:
    """Raise DuckDB's errors as `GoogleError`: 501 for what it cannot do, otherwise 400 with `reason`."""
    try:
        yield
    except duckdb.NotImplementedException as error:
        raise unsupported(_line(error)) from None
    except duckdb.CatalogException as error:
        if "Function" in str(error):
            raise unsupported(_line(error)) from None
        raise GoogleError(400, reason, prefix + _line(error)) from None
    except duckdb.OutOfMemoryException as error:
        raise GoogleError(400, "resourcesExceeded", prefix + _line(error)) from None
    except duckdb.Error as error:
        raise GoogleError(400, reason, prefix + _line(error)) from None


def _line(error: duckdb.Error) -> str:
    return str(error).splitlines()[0]
