"""How a command ends: with one clear line where the user can correct the error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_line_for(*expected: type[Exception]) -> Iterator[None]:
    """Exit with one line on standard error: status 1 for the expected exceptions, 130 for Ctrl-C."""
    try:
        yield
    except expected as error:
        sys.exit(f"taxiway: {' '.join(str(error).split())}")
    except KeyboardInterrupt:
        print("taxiway: interrupted", file=sys.stderr)
        sys.exit(130)


def verb_of(module: str, *verbs: str) -> str:
    """The command's single argument. Exits with the usage unless it is one of the verbs."""
    if sys.argv[1:] not in [[verb] for verb in verbs]:
        sys.exit(f"usage: python -m {module} {'|'.join(verbs)}")
    return sys.argv[1]
