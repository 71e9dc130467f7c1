"""Flows that deployments of the tests point to: real ones, with nothing to load."""

from __future__ import annotations

from typing import Annotated

from prefect import State, flow
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed
from pydantic import Field

from infra.settings import settings


@flow(name="stub_month")
async def stub_month(service: str = "green", month: Annotated[int, Field(ge=1, le=12)] | None = None) -> State:
    """One line of log, and the end that the month asks for: June fails."""
    get_run_logger().info("month %s of %s, tag %s", month, service, settings().tag)
    return Failed(message="June is broken") if month == 6 else Completed(message=f"month {month} loaded")


@flow(name="stub_required")
def stub_required(year: int, service: str = "green") -> None:
    """A flow that cannot run without a year."""


not_a_flow = "text"
