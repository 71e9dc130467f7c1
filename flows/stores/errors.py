"""What can go wrong in a store, as one clear line each."""

from __future__ import annotations

import re
from urllib.parse import unquote


class StoreFailed(Exception):
    """A store could not do what was asked. What it held before is still there, whole.

    Attributes:
        subject: the table, object or server it is about; never with a password.
        reason: why, in one line.
    """

    def __init__(self, subject: str, reason: str) -> None:
        self.subject, self.reason = subject, " ".join(reason.split())
        super().__init__(f"{self.subject}: {self.reason}")


def without_password(text: str, uri: str) -> str:
    """The text with the URI's password, as written and as decoded, replaced by `***`."""
    for found in re.findall(r"://[^/@]*?:([^/]*)@|password=([^&]*)", uri):
        for secret in {*found, *map(unquote, found)} - {""}:
            text = text.replace(secret, "***")
    return text
