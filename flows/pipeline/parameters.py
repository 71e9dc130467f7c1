"""The flows' parameters as validated types, and a flow as a command line program."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Awaitable, Callable, Coroutine
from typing import Annotated, Any, cast

import typer
from prefect import Flow, State
from prefect.exceptions import ParameterTypeError
from prefect.runtime import flow_run
from prefect.states import Failed
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

from flows.datasets.dataset import Dataset, Partitioning
from flows.datasets.registry import datasets, named
from flows.errors import TaxiwayError
from flows.reading.address import NOT_PUBLIC, PUBLIC_URL, require_public
from infra.months import months_of
from infra.server import ends_in_one_line, require_server
from infra.settings import settings

# A parameter's description is in its flow's docstring; Prefect's form in the UI shows it as well.
Service = Annotated[
    str, AfterValidator(lambda name: named(name).name), WithJsonSchema({"type": "string", "enum": sorted(datasets())})
]
Year = Annotated[int, Field(ge=2009, le=2100)]
MonthNumber = Annotated[int, Field(ge=1, le=12)]
Months = Annotated[
    list[MonthNumber],
    Field(min_length=1),
    BeforeValidator(lambda given: months_of(given) if isinstance(given, str) else given),
]
Limit = Annotated[int, Field(ge=1, le=100)]
Concurrency = Annotated[int, Field(ge=1, le=32)]
# Prefect stores and shows parameters: a URL with a password or a token must be in the setting TAXIWAY_SOURCE_URL.
SourceUrl = Annotated[
    str,
    AfterValidator(require_public),
    WithJsonSchema({"type": "string", "pattern": PUBLIC_URL, "x-error": NOT_PUBLIC}),
]


def template(dataset: Dataset, source_url: str | None) -> str:
    """The URL template that a run loads from: the parameter, or the setting, or the dataset's own.

    The setting may hold a password. It has a year and a month, so it does not apply to a dataset of one partition.
    """
    setting = settings().source_url
    if setting and dataset.partitioning is not Partitioning.WHOLE:
        return source_url or setting.get_secret_value()
    return source_url or dataset.source


def fail_in_one_line(work: Callable[..., Awaitable[State]]) -> Callable[..., Awaitable[State]]:
    """Make a flow's function return Failed, with the error's line and no traceback, instead of a TaxiwayError."""

    @functools.wraps(work)
    async def run(*args: Any, **parameters: Any) -> State:
        try:
            return await work(*args, **parameters)
        except TaxiwayError as failure:
            return Failed(message=str(failure))

    return run


def run_name() -> str:
    """The name of a pipeline's run, from its parameters."""
    given = flow_run.parameters
    service = given["service"]
    return f"{service} due" if given["month"] is None else f"{service} {given['year']}-{given['month']:02}"


def command(flow: Flow[..., Any]) -> None:
    """Run a flow from the command line, with an option for every parameter; the exit status is 1 if the run fails.

    The API's validation applies; for an invalid value the command prints one line and exits with 2.
    """

    def run(**given: str | None) -> None:
        parameters = {name: text for name, text in given.items() if text is not None}
        logging.disable(logging.ERROR)  # Prefect would log the error that is printed below
        try:
            flow.validate_parameters(parameters)
        except ParameterTypeError as wrong:
            typer.echo(f"taxiway: {one_line(wrong)}", err=True)
            raise typer.Exit(2) from None
        logging.disable(logging.NOTSET)
        with ends_in_one_line(RuntimeError):  # Prefect raises it if the server stops answering
            require_server()
            state = asyncio.run(cast(Coroutine[Any, Any, State], flow(**parameters, return_state=True)))
        typer.echo(f"taxiway: {flow.name}: {state.name}{f': {state.message}' if state.message else ''}")
        raise typer.Exit(0 if state.is_completed() else 1)

    run.__doc__ = (flow.description or "").partition("Args:")[0]
    parameters = inspect.signature(flow.fn).parameters.values()
    run.__signature__ = inspect.Signature([_option(flow, parameter) for parameter in parameters])  # type: ignore[attr-defined]
    typer.run(run)


def one_line(wrong: ParameterTypeError) -> str:
    """Every invalid parameter, its name first, on one line."""
    lines = str(wrong).splitlines()[1:]
    return "; ".join(line.strip(" -") for line in lines)


def _option(flow: Flow[..., Any], parameter: inspect.Parameter) -> inspect.Parameter:
    described = flow.parameters.properties[parameter.name].get("description", "")
    option = typer.Option(None, help=f"{described} (default: {_shown(parameter.default)})", show_default=False)
    return inspect.Parameter(parameter.name, inspect.Parameter.KEYWORD_ONLY, default=option, annotation=str | None)


def _shown(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
