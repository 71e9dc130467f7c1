"""Retries of a source whose failures may go away by themselves: how often, how long, and what is raised in the end."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn, TypeVar

from tenacity import (
    RetryCallState,
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    stop_before_delay,
    wait_exponential,
    wait_random_exponential,
)

from flows.errors import SourceUnavailable, TaxiwayError

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class RetryPolicy:
    """Limits on retries; all in seconds, except `attempts`.

    Attributes:
        attempts: failures in a row, without one new byte, after which the source is given up.
        first_wait: wait after the first failure. It doubles with each failure, up to `longest_wait`, less a random part
            of up to half, so that partitions that failed together are not retried together.
        longest_wait: see there. A longer Retry-After of the server is honoured.
        connect_timeout: limit on connecting.
        read_timeout: limit on waiting for the next bytes of an answer.
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
    """An attempt that failed for a reason that may go away by itself.

    Attributes:
        reason: what happened, in one line.
        retry_after: how many seconds the server asks to wait.
        error: what is raised if no later attempt succeeds.
    """

    def __init__(self, reason: str, retry_after: float = 0.0, error: type[TaxiwayError] = SourceUnavailable) -> None:
        self.reason, self.retry_after, self.error = reason, retry_after, error
        super().__init__(reason)


class Deadline:
    """A point in time, on a clock that is never set back."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._at = seconds, time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; negative when it has passed."""
        return self._at - time.monotonic()


def retry(
    attempt: Callable[[Deadline], T], subject: str, policy: RetryPolicy, progress: Callable[[], int] = lambda: 0
) -> T:
    """What `attempt` returns; it is called again while it raises AttemptFailed and the policy allows.

    Args:
        attempt: one attempt; it must end by the deadline.
        subject: the URL that messages name.
        policy: the limits.
        progress: a number that grows whenever an attempt got further than all before; the count of failures in a row
            then starts again.

    Raises:
        SourceUnavailable, or the error that the last AttemptFailed names, with the reason of the last attempt. Whatever
            else `attempt` raises is not retried.
    """
    furthest = progress()

    def count_from_progress(state: RetryCallState) -> None:
        nonlocal furthest
        if progress() > furthest:
            furthest = progress()
            state.attempt_number = 1

    def warn(state: RetryCallState) -> None:
        log.warning("%s: %s; next attempt in %.1f s", subject, _failure(state).reason, state.upcoming_sleep)

    def give_up(state: RetryCallState) -> NoReturn:
        failure = _failure(state)
        why = f"no time left for another attempt in {state.upcoming_sleep:.0f} s"
        if state.attempt_number >= policy.attempts:
            why = f"gave up after {state.attempt_number} attempts"
        raise failure.error(subject, f"{failure.reason} ({why})")

    half, longest_half = policy.first_wait / 2, policy.longest_wait / 2
    backoff = wait_exponential(half, longest_half) + wait_random_exponential(half, longest_half)
    retrying = Retrying(
        retry=retry_if_exception_type(AttemptFailed),
        after=count_from_progress,
        wait=lambda state: max(backoff(state), _failure(state).retry_after),
        stop=stop_after_attempt(policy.attempts) | stop_before_delay(policy.total_timeout),
        before_sleep=warn,
        retry_error_callback=give_up,
    )
    return retrying(attempt, Deadline(policy.total_timeout))


def _failure(state: RetryCallState) -> AttemptFailed:
    error = state.outcome and state.outcome.exception()
    assert isinstance(error, AttemptFailed)
    return error
