"""The kinds of objects that a deploy handles. Each file here is one; a new file is found by itself."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Iterator

from infra.deploy.object_kind import ObjectKind


def _kinds() -> Iterator[ObjectKind]:
    for file in pkgutil.iter_modules(__path__):
        module = importlib.import_module(f"{__name__}.{file.name}")
        yield from (value for value in vars(module).values() if isinstance(value, ObjectKind))


KINDS = {kind.name: kind for kind in sorted(_kinds(), key=lambda kind: kind.order)}
