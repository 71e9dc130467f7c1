"""The errors that pipelines raise on purpose, in two families. Only a TransientError is retried.

    TaxiwayError              what failed and why, in one line
    |-- TerminalError         a retry would fail in the same way
    |   |-- Refused           a source that is not loaded
    |   |   |-- NotPublished  the source's server does not have this month
    |   |   `-- Forbidden     the source's server answers 403
    |   `-- StoreFailed       a store refuses a request
    `-- TransientError        a temporary failure
        |-- SourceUnavailable a source that cannot be read now: no connection, a full disk
        `-- StoreUnavailable  a store that cannot be reached now: no connection, a lock that is not released

Any other exception is a bug and is not retried.
"""

from __future__ import annotations


class TaxiwayError(Exception):
    """What failed and why, in one line. Existing data is unchanged.

    `subject` is the URL, path, table, object or server that the error is about, never with a password.
    """

    def __init__(self, subject: str, reason: str) -> None:
        self.subject, self.reason = subject, " ".join(reason.split())
        super().__init__(f"{self.subject}: {self.reason}")


class TerminalError(TaxiwayError):
    """A retry would fail in the same way."""


class TransientError(TaxiwayError):
    """A temporary failure: the same work is retried."""


class Refused(TerminalError):
    """A source that is not loaded: it is not a valid file of the dataset, or cannot be requested."""


class NotPublished(Refused):
    """The source's server does not have this month: TLC publishes about two months late."""


class Forbidden(Refused):
    """The source's server still answers 403 after several tries.

    S3 and CloudFront (where TLC's files are) send 403 both for a missing file and to a client that they block.
    """


class SourceUnavailable(TransientError):
    """A source that cannot be read now: no connection, a full disk."""


class StoreFailed(TerminalError):
    """A store that rejects a request."""


class StoreUnavailable(TransientError):
    """A store that cannot be reached now: no connection, a lock that is not released."""
