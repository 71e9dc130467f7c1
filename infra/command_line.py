"""How a command ends: in one line where a person can mend what is wrong."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def one_line_for(*expected: type[Exception]) -> Iterator[None]:
    """End the process with one line on standard error, status 1 for the expected exceptions and 130 for a Ctrl-C."""
    try:
        yield
    except expected as wrong:
        sys.exit(f"taxiway: {' '.join(str(wrong).split())}")
    except KeyboardInterrupt:
        print("taxiway: interrupted", file=sys.stderr)
        sys.exit(130)


def verb_of(module: str, *verbs: str) -> str:
    """The one argument that the command was given. Ends the process with the usage unless it is one of the verbs."""
    if sys.argv[1:] not in [[verb] for verb in verbs]:
        sys.exit(f"usage: python -m {module} {'|'.join(verbs)}")
    return sys.argv[1]
