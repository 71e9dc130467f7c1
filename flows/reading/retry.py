"""Retries of a source after temporary failures: the limits, the waits, and the error in the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import tenacity
from tenacity import RetryCallState

from flows.errors import SourceUnavailable, TaxiwayError

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """Limits on retries; all in seconds, except `attempts`.

    Attributes:
        attempts: give up after this many failures in a row without a new byte.
        first_wait, longest_wait: the wait doubles with each failure, from the first to the longest. A random part of up
            to half is subtracted, so that partitions that failed together are not retried together; the server's
            Retry-After is added.
        connect_timeout, read_timeout: limits on connecting, and on waiting for the next bytes.
        total_timeout: limit on all attempts together, waits included.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    connect_timeout: float = 10.0
    read_timeout: float = 60.0
    total_timeout: float = 3600.0


DEFAULT_POLICY = RetryPolicy()


class AttemptFailed(Exception):
    """An attempt that failed temporarily, with the reason and the server's Retry-After in seconds.

    `error` is what `retry` raises if no later attempt succeeds.
    """

    def __init__(self, reason: str, retry_after: float = 0.0, error: type[TaxiwayError] = SourceUnavailable) -> None:
        super().__init__(reason)
        self.retry_after, self.error = retry_after, error


def retry(
    attempt: Callable[[float], T], subject: str, policy: RetryPolicy, progress: Callable[[], int] = lambda: 0
) -> T:
    """What `attempt` returns; it is called again while it raises AttemptFailed and the policy allows.

    Each attempt must end by the deadline that it gets (`time.monotonic`). When `progress` returns a greater number than
    before, the count of failures starts again. In the end the last AttemptFailed's `error` is raised.
    """
    furthest = progress()

    def count_from_progress(state: RetryCallState) -> None:
        nonlocal furthest
        if progress() > furthest:
            furthest = progress()
            state.attempt_number = 1

    def warn(state: RetryCallState) -> None:
        failure = state.outcome and state.outcome.exception()
        log.warning("%s: %s; next attempt in %.1f s", subject, failure, state.upcoming_sleep)

    half = policy.first_wait / 2, policy.longest_wait / 2
    backoff = tenacity.wait_exponential(*half) + tenacity.wait_random_exponential(*half)
    retrying = tenacity.Retrying(
        retry=tenacity.retry_if_exception_type(AttemptFailed),
        after=count_from_progress,
        wait=backoff + tenacity.wait_exception(_retry_after),
        stop=tenacity.stop_after_attempt(policy.attempts) | tenacity.stop_before_delay(policy.total_timeout),
        before_sleep=warn,
        reraise=True,
    )
    try:
        return retrying(attempt, time.monotonic() + policy.total_timeout)
    except AttemptFailed as failure:
        attempts = retrying.statistics["attempt_number"]
        out_of_time = attempts < policy.attempts
        why = "no time left for another attempt" if out_of_time else f"gave up after {attempts} attempts"
        raise failure.error(subject, f"{failure} ({why})") from None


def _retry_after(error: BaseException) -> float:
    return error.retry_after if isinstance(error, AttemptFailed) else 0.0
