"""Read all pages of an API call."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

PAGE = 200  # the largest page that the server returns


async def all_pages(read: Callable[..., Awaitable[list[Any]]], **arguments: Any) -> list[Any]:
    """All rows of a call that takes `limit` and `offset`."""
    rows: list[Any] = []
    while True:
        page = await read(limit=PAGE, offset=len(rows), **arguments)
        rows += page
        if len(page) < PAGE:
            return rows
