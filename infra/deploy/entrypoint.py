"""The flow that an entrypoint names, and the name of its deployment. The engine imports no flow by itself."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import PurePosixPath
from typing import Any

from prefect import Flow

from infra.deploy.spec import POOL_TYPE, DeploymentSpec
from infra.deploy.target import Target


class NotAFlow(ValueError):
    """An entrypoint that leads to no flow; the message says why."""


@cache
def flow_at(entrypoint: str) -> Flow[..., Any]:
    """The flow at `path/from/root.py:name`. Raises NotAFlow, whatever the import raises."""
    path, _, name = entrypoint.partition(":")
    module = ".".join(PurePosixPath(path).with_suffix("").parts)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as wrong:
        reason = (str(wrong).splitlines() or [""])[0]
        raise NotAFlow(f"{entrypoint} does not import: {type(wrong).__name__}: {reason}") from wrong
    if not isinstance(found, Flow):
        raise NotAFlow(f"{entrypoint} is not a flow" if found else f"{path} has no {name}")
    return found


def full_name(spec: DeploymentSpec, target: Target) -> str:
    """`flow name/deployment name`, the name that the API and its users know. Raises NotAFlow."""
    return f"{flow_at(spec.flow).name}/{spec.name.replace(POOL_TYPE, target.pool_type)}"
