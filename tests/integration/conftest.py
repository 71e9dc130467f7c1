"""One embedded stack for the whole test run: real PostgreSQL, Prefect server, emulators and a worker."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import pytest

from infra.local.stack import Stack
from infra.settings import Settings

_state = tempfile.TemporaryDirectory(prefix="taxiway-tests-")
_stack = Stack(Path(_state.name), Settings(_env_file=None, state_dir=Path(_state.name)))

# Prefect reads its settings at its first import, which comes before any fixture.
os.environ.update(_stack.client_environment)
if "prefect" in sys.modules:
    from prefect.context import refresh_global_settings_context

    refresh_global_settings_context()


@pytest.fixture(scope="session")
def stack():
    """The stack without blocks, deployments or a worker, its operator's secrets in the environment."""
    with _stack:
        os.environ.update(_stack.operator_environment)
        yield _stack
    _state.cleanup()


@pytest.fixture(scope="session")
def deployed(stack):
    """The stack with blocks, bucket, dataset and deployments as `make demo` makes them, and a worker."""
    from demo.runs import prepare

    prepare(stack)
    return stack
