"""The flows' parameters as validated types, and a flow as a command: a wrong value is one line, before any work."""

from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Annotated, Any

import typer
from prefect import Flow
from prefect.exceptions import ParameterTypeError
from prefect.runtime import flow_run
from pydantic import Field

from flows.trips.month import Service

__all__ = [
    "Concurrency",
    "Force",
    "Limit",
    "MonthNumber",
    "Months",
    "Service",
    "SourceUrl",
    "Year",
    "command",
    "run_name",
]

Year = Annotated[int, Field(ge=2009, le=2100, description="the year in the file's name")]
MonthNumber = Annotated[
    int, Field(ge=1, le=12, description="the month in the file's name, 1 to 12; none: those that are due")
]
Months = Annotated[list[MonthNumber], Field(min_length=1, description="months of the year, such as 1,2,3")]
SourceUrl = Annotated[str, Field(description="URL template with {service}, {year}, {month:02}; https, http or file")]
Limit = Annotated[int, Field(ge=1, le=100, description="without a month: how many of those that are due")]
Concurrency = Annotated[int, Field(ge=1, le=32, description="how many months at once")]
Force = Annotated[bool, Field(description="load even where the ledger says that the source has not changed")]


def run_name() -> str:
    """The name of a run of one month's pipeline, from its parameters."""
    given = flow_run.parameters
    service = Service(given["service"])
    return f"{service} due" if given["month"] is None else f"{service} {given['year']}-{given['month']:02}"


def command(flow: Flow[..., Any]) -> None:
    """Run a flow from the command line, with an option for every parameter; the exit status is 1 if the run fails.

    Values are validated as the API would; a wrong one is one line on standard error and exit status 2.
    """

    def run(**given: str | None) -> None:
        parameters = {name: _value(flow, name, text) for name, text in given.items() if text is not None}
        logging.disable(logging.ERROR)  # Prefect logs what we say in one line
        try:
            flow.validate_parameters(parameters)
        except ParameterTypeError as wrong:
            typer.echo(f"taxiway: {one_line(wrong)}", err=True)
            raise typer.Exit(2) from None
        logging.disable(logging.NOTSET)
        state = asyncio.run(flow(**parameters, return_state=True))
        typer.echo(f"taxiway: {flow.name}: {state.name}{f': {state.message}' if state.message else ''}")
        raise typer.Exit(0 if state.is_completed() else 1)

    run.__doc__ = flow.description
    parameters = inspect.signature(flow.fn).parameters.values()
    run.__signature__ = inspect.Signature([_option(flow, parameter) for parameter in parameters])  # type: ignore[attr-defined]
    typer.run(run)


def one_line(wrong: ParameterTypeError) -> str:
    """Every wrong parameter, its name first, on one line."""
    lines = str(wrong).splitlines()[1:]
    return "; ".join(line.strip(" -") for line in lines)


def _option(flow: Flow[..., Any], parameter: inspect.Parameter) -> inspect.Parameter:
    required = parameter.default is inspect.Parameter.empty
    default = "" if required else f" [{_shown(parameter.default)}]"
    described = next((kind["description"] for kind in _kinds(flow, parameter.name) if "description" in kind), "")
    option = typer.Option(... if required else None, help=f"{described}{default}".strip(), show_default=False)
    return inspect.Parameter(
        parameter.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=str if required else (str | None)
    )


def _kinds(flow: Flow[..., Any], name: str) -> list[dict[str, Any]]:
    """What the API's schema says of a parameter: the whole, and each of its alternatives."""
    schema = flow.parameters.properties[name]
    return [schema, *schema.get("anyOf", ())]


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _value(flow: Flow[..., Any], name: str, text: str) -> str | list[str]:
    return text.split(",") if any(kind.get("type") == "array" for kind in _kinds(flow, name)) else text
