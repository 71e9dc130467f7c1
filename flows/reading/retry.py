"""How long to go on with a source that fails in ways that pass by themselves."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from flows.errors import SourceUnavailable, TaxiwayError

T = TypeVar("T")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Patience:
    """Bounds on trying. All in seconds, but `attempts`.

    Attributes:
        attempts: failures in a row, without one new byte, after which a source is given up.
        first_wait: wait after the first failure; it doubles with each, up to `longest_wait`, less a random part of up
            to half, so that several months that failed together do not come back together.
        longest_wait: see there. A server that asks for a longer one by Retry-After gets it.
        connect: bound on connecting.
        silence: bound on waiting for the next bytes of an answer.
        total: bound on everything together, waits included.
    """

    attempts: int = 6
    first_wait: float = 1.0
    longest_wait: float = 60.0
    connect: float = 10.0
    silence: float = 60.0
    total: float = 3600.0

    def wait_after(self, failures: int) -> float:
        """Seconds to wait after that many failures in a row."""
        return min(self.longest_wait, self.first_wait * 2 ** (failures - 1)) * random.uniform(0.5, 1.0)


class Passing(Exception):
    """A failure that may pass by itself.

    Attributes:
        reason: what happened, in one line.
        asked: how long the server asked to be left alone, in seconds.
        error: what is raised if it does not pass.
    """

    def __init__(self, reason: str, asked: float = 0.0, error: type[TaxiwayError] = SourceUnavailable) -> None:
        self.reason, self.asked, self.error = reason, asked, error
        super().__init__(reason)


class Deadline:
    """A point in time, on the clock that no one sets back."""

    def __init__(self, seconds: float) -> None:
        self.seconds, self._at = seconds, time.monotonic() + seconds

    @property
    def left(self) -> float:
        """Seconds that are left; negative when it has passed."""
        return self._at - time.monotonic()


def persist(
    attempt: Callable[[Deadline], T], subject: str, patience: Patience, progress: Callable[[], int] = lambda: 0
) -> T:
    """What `attempt` returns, trying again as long as it raises Passing and patience lasts.

    Args:
        attempt: one try; it is to end by the deadline.
        subject: what is tried, for messages.
        patience: the bounds.
        progress: a figure that grows whenever a try got further than all before; failures in a row count from there.

    Raises:
        SourceUnavailable, or the error that the last Passing names: patience has ended; the reason is that of the last
            try. Whatever else `attempt` raises passes through.
    """
    deadline = Deadline(patience.total)
    failures = tries = 0
    furthest = progress()
    while True:
        try:
            return attempt(deadline)
        except Passing as failure:
            tries += 1
            failures = failures + 1 if progress() <= furthest else 1
            furthest = max(furthest, progress())
            wait = max(patience.wait_after(failures), failure.asked)
            if failures >= patience.attempts:
                raise failure.error(subject, f"{failure.reason} (gave up after {tries} attempts)") from None
            if wait >= deadline.left:
                left = f"no time left for another attempt in {wait:.0f} s"
                raise failure.error(subject, f"{failure.reason} ({left})") from None
            log.warning("%s: %s; trying again in %.1f s", subject, failure.reason, wait)
            time.sleep(wait)
