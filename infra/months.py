"""Month numbers in text such as `1,2,3` or `1-3`."""

from __future__ import annotations


def months_of(text: str) -> list[int]:
    """Month numbers from text such as `1,2,3` or `1-3,12`: ascending, each once. Raises ValueError, one line."""
    numbers: set[int] = set()
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        low, dash, high = part.partition("-")
        try:
            span = range(int(low), int(high if dash else low) + 1)
        except ValueError:
            raise ValueError(f"months {text!r}: {part!r} is not a month; write them as 1,2,3 or 1-3") from None
        if not span or span[0] < 1 or span[-1] > 12:
            raise ValueError(f"months {text!r}: {part!r} is not within 1 to 12")
        numbers.update(span)
    if not numbers:
        raise ValueError(f"months {text!r}: no month given; write them as 1,2,3 or 1-3")
    return sorted(numbers)
