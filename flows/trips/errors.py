"""What can be wrong with a source, as one clear line each."""

from __future__ import annotations


class Refused(Exception):
    """A source that is refused whole: what was wrong, where. Nothing was changed by it.

    Attributes:
        subject: the URL or path that was refused.
        reason: why, in one line.
    """

    def __init__(self, subject: str, reason: str) -> None:
        self.subject, self.reason = subject, reason
        super().__init__(f"{subject}: {reason}")


class NotPublished(Refused):
    """The source's server does not have this month (403 or 404): TLC publishes about two months late."""
