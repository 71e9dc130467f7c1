"""One of the downloads that may go on at once, over all runs: TLC's server answers 403 to who asks too often."""

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
"""Seconds; a download ends within an hour, so a slot that was not free for so long will not become free soon."""

SILENT_WAIT = 5.0
"""Seconds of waiting after which the log says so."""


@asynccontextmanager
async def download_slot() -> AsyncIterator[None]:
    """Hold a slot of the concurrency limit on downloads, which a deploy creates.

    A lease that cannot be renewed does not end the download: one download too many is better than one that is lost.

    Raises:
        SourceUnavailable: no slot became free, or the server does not answer.
        TerminalError: the server has no such limit.
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
