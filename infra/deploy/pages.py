"""Reading all of what the API gives a page at a time."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

PAGE = 200  # the most that the server gives at once


async def everything(read: Callable[..., Awaitable[list[Any]]], **arguments: Any) -> list[Any]:
    """All pages of a read that takes `limit` and `offset`."""
    rows: list[Any] = []
    while True:
        page = await read(limit=PAGE, offset=len(rows), **arguments)
        rows += page
        if len(page) < PAGE:
            return rows
