"""Every error that a pipeline raises on purpose, in two families: only a transient one is worth another try.

    TaxiwayError              what failed and why, in one line
    |-- TerminalError         another try would fail in the same way
    |   |-- Refused           a source that is not loaded: what is wrong with it
    |   |   |-- NotPublished  the source's server does not have this month
    |   |   `-- Forbidden     the source's server answers 403, which may mean either
    |   `-- StoreFailed       a store that refuses what it was asked to do
    `-- TransientError        may go away by itself
        |-- SourceUnavailable a source that cannot be read now: no connection, a full disk
        `-- StoreUnavailable  a store that cannot be reached now: no connection, a lock that is not released

Whatever else is raised is a fault of the program and is not retried.
"""

from __future__ import annotations


class TaxiwayError(Exception):
    """What failed and why, in one line. What was stored before is unchanged.

    Attributes:
        subject: the URL, path, table, object or server it is about; never with a password.
        reason: why, in one line.
    """

    def __init__(self, subject: str, reason: str) -> None:
        self.subject, self.reason = subject, " ".join(reason.split())
        super().__init__(f"{self.subject}: {self.reason}")


class TerminalError(TaxiwayError):
    """Another try would fail in the same way."""


class TransientError(TaxiwayError):
    """May go away by itself; the same work is tried again."""


class Refused(TerminalError):
    """A source that is not loaded: it is not what it claims to be, or cannot be asked for."""


class NotPublished(Refused):
    """The source's server does not have this month: TLC publishes about two months late."""


class Forbidden(Refused):
    """The source's server still answers 403 after several tries.

    S3 and CloudFront (where TLC's files are) answer so for a file that is not there, and to clients that they refuse.
    """


class SourceUnavailable(TransientError):
    """A source that cannot be read now."""


class StoreFailed(TerminalError):
    """A store that refuses what it was asked to do."""


class StoreUnavailable(TransientError):
    """A store that cannot be reached now."""
