"""The limit on concurrent downloads of all runs: TLC's server answers 403 to clients with too many requests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from prefect import get_run_logger
from prefect.concurrency.asyncio import (
    AcquireConcurrencySlotTimeoutError,
    ConcurrencySlotAcquisitionError,
    concurrency,
)

from flows.errors import SourceUnavailable, TerminalError
from infra.settings import settings

LONGEST_WAIT = 3600.0
"""Seconds. A download ends within an hour, so after an hour of waiting a slot will not become free soon."""

SILENT_WAIT = 5.0
"""Seconds of waiting before the wait is logged."""


@asynccontextmanager
async def download_slot() -> AsyncIterator[None]:
    """Hold a slot of the concurrency limit on downloads, which a deploy creates.

    If the lease cannot be renewed, the download continues: one download too many is better than a failed one.
    """
    name = settings().downloads_limit
    log = get_run_logger()
    limit, bound = f"concurrency limit {name}", f"{LONGEST_WAIT / 60:.0f} minutes"
    waiting = f"waiting up to {bound} for a slot of the {limit}"
    notice = asyncio.get_running_loop().call_later(SILENT_WAIT, log.info, waiting)
    try:
        async with concurrency(name, timeout_seconds=LONGEST_WAIT, strict=True, raise_on_lease_renewal_failure=False):
            notice.cancel()
            yield
    except AcquireConcurrencySlotTimeoutError:
        raise SourceUnavailable(limit, f"no slot became free within {bound}") from None
    except ConcurrencySlotAcquisitionError as failure:
        if failure.__cause__ is None:
            raise TerminalError(limit, "is not on the server; make deploy creates it") from None
        raise SourceUnavailable(limit, str(failure.__cause__)) from None
    finally:
        notice.cancel()
