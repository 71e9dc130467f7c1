"""Loading a flow's blocks: one that is missing is one line."""

from __future__ import annotations

from typing import TypeVar

from prefect.blocks.core import Block

from flows.errors import StoreFailed

B = TypeVar("B", bound=Block)


async def load_block(kind: type[B], name: str) -> B:
    """The block of that name.

    Raises:
        StoreFailed: the server has no such block, or what it has does not fit the block's type.
    """
    try:
        return await kind.aload(name)
    except ValueError as wrong:
        reason = (str(wrong).splitlines() or [""])[0]
        raise StoreFailed(f"block {kind.get_block_type_slug()}/{name}", f"{reason} (make blocks saves it)") from None
