"""Loading a flow's blocks: one that is missing or cannot be used is one line."""

from __future__ import annotations

from typing import TypeVar

from google.auth.exceptions import GoogleAuthError
from prefect.blocks.core import Block

from flows.errors import StoreFailed

B = TypeVar("B", bound=Block)


async def load_block(kind: type[B], name: str) -> B:
    """The block of that name.

    Raises:
        StoreFailed: the server has no such block, or what it has does not fit the block's type, or there is no Google
            account for it.
    """
    try:
        return await kind.aload(name)
    except (ValueError, RuntimeError, GoogleAuthError) as wrong:  # missing; does not fit; no account
        reason = (str(wrong).splitlines() or [""])[0]
        raise StoreFailed(f"block {kind.get_block_type_slug()}/{name}", f"{reason} (make blocks saves it)") from None
