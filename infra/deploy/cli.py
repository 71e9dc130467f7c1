"""The command line of the deployments: plan, apply, run, schedule, destroy."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Sequence
from typing import Annotated, Any, NoReturn

import typer
from prefect.client.orchestration import get_client
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.objects import Log
from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError
from rich.console import Console

from infra.deploy import deploy, run, schedules
from infra.deploy.apply import Stopped
from infra.deploy.lock import Locked, LockLost
from infra.deploy.model import Action
from infra.deploy.plan import changing, conflicts
from infra.deploy.render import as_json, as_text
from infra.deploy.scripts import Invalid, declared, reasons
from infra.deploy.target import target_of
from infra.server import ends_in_one_line, require_server
from infra.settings import settings

app = typer.Typer(no_args_is_help=True, add_completion=False, help="Deployments as code: plan, apply, run, schedule.")
out = Console(highlight=False, soft_wrap=True)

CHANGES = 2  # the exit status of a plan with changes, as Terraform's users know it

Script = Annotated[str, typer.Option(help="only this script's deployments; nothing else is deleted")]
Cron = Annotated[str, typer.Option(help="one more schedule, for --deployment, until the next deploy without it")]
Deployment = Annotated[str, typer.Option(help="the deployment that --cron is for, as flow/deployment")]
Reset = Annotated[bool, typer.Option("--reset", help="overwrite switches that were changed by hand")]
Adopt = Annotated[
    list[str] | None, typer.Option(help="take over an object that is not ours, as KIND/NAME, e.g. 'work pool/taxi'")
]


@app.command()
def plan(
    script: Script = "",
    cron: Cron = "",
    deployment: Deployment = "",
    reset: Reset = False,
    adopt: Adopt = None,
    json: Annotated[bool, typer.Option("--json", help="one JSON object")] = False,
    detailed_exitcode: Annotated[bool, typer.Option("--detailed-exitcode", help="exit 2 if anything differs")] = False,
) -> None:
    """Show what apply would do. Nothing is changed."""

    async def work() -> int:
        async with get_client() as client:
            actions = await deploy.planned(await _prepared(script, cron, deployment, reset, adopt), client)
        if json:
            print(await as_json(actions))
        else:
            await _show_plan(actions)
        for line in deploy.conflict_lines(actions):
            typer.echo(f"taxiway: {line}", err=True)
        return CHANGES if detailed_exitcode and (changing(actions) or conflicts(actions)) else 0

    _exit_with(work)


@app.command()
def apply(
    script: Script = "", cron: Cron = "", deployment: Deployment = "", reset: Reset = False, adopt: Adopt = None
) -> None:
    """Check the declarations, show the plan and apply it."""

    async def work() -> int:
        await _apply(await _prepared(script, cron, deployment, reset, adopt))
        return 0

    _exit_with(work)


@app.command()
def blocks(adopt: Adopt = None) -> None:
    """Save the declared blocks, and nothing else."""

    async def work() -> int:
        await _apply(deploy.prepare_blocks(adopt=adopt or ()))
        return 0

    _exit_with(work)


async def _apply(prepared: deploy.Deploy) -> None:
    async with get_client() as client:
        done = await deploy.apply(prepared, client, on_plan=_show_plan, on_done=_show)
    if done:
        out.print(f"taxiway: {len(done)} changes applied")


@app.command()
def destroy() -> None:
    """Delete our deployments, schedules, automations and concurrency limits, and the runs that have not started."""

    async def work() -> int:
        async with get_client() as client:
            done = await deploy.destroy(target_of(), client, on_done=_show)
        out.print(f"taxiway: {len(done)} deleted; the work pool and the blocks stay, others may use them")
        return 0

    _exit_with(work)


@app.command("run")
def run_one(
    deployment: Annotated[str, typer.Argument(help="flow/deployment, or a flow for its deployment on our pool")],
    param: Annotated[
        list[str] | None, typer.Option("--param", "-p", help="NAME=VALUE; VALUE as JSON, 1,2,3 or 1-3")
    ] = None,
) -> None:
    """Run a deployment, show its logs, and exit with 0 if it ends as Completed."""

    async def work() -> int:
        given = run.parameters_of(param or [])
        name = deployment if "/" in deployment else f"{deployment}/{settings().work_pool_type}"
        async with get_client() as client:
            started = await run.start(client, name, given)
            out.print(f"taxiway: run {started.name} ({started.id})", markup=False)
            try:
                ended = await run.follow(client, started.id, _log)
            except asyncio.CancelledError:
                out.print("taxiway: the run continues; cancel it on its page in the UI", markup=False)
                raise
        message = f": {ended.message}" if ended.message else ""
        out.print(f"taxiway: {name}: {ended.name}{message}", markup=False)
        return 0 if ended.is_completed() else 1

    _exit_with(work)


@app.command()
def schedule(
    deployment: Annotated[str, typer.Argument(help="flow/deployment")],
    cron: Annotated[str, typer.Argument(help="five fields: minute, hour, day, month, weekday")],
    timezone: Annotated[str, typer.Option(help="an IANA name")] = "UTC",
) -> None:
    """Add a schedule by hand, as in the UI. Deploys keep it."""

    async def work() -> int:
        try:
            rule = CronSchedule(cron=cron, timezone=timezone)
        except ValidationError as wrong:
            raise Invalid(reasons(wrong)) from None
        if problems := await schedules.problems(rule):
            raise Invalid(problems)
        async with get_client() as client:
            found = await run.find(client, deployment)
            body = [DeploymentScheduleCreate(schedule=rule, active=True).model_dump(mode="json", exclude_unset=True)]
            await client.request("POST", "/deployments/{id}/schedules", path_params={"id": found.id}, json=body)
        fields = schedules.as_fields(rule)
        times = ", ".join(f"{time:%Y-%m-%d %H:%M %Z}" for time in await schedules.next_times(fields))
        out.print(f"taxiway: {deployment}: {schedules.describe(fields)}; next: {times}", markup=False)
        return 0

    _exit_with(work)


async def _prepared(script: str, cron: str, deployment: str, reset: bool, adopt: Sequence[str] | None) -> deploy.Deploy:
    if bool(cron) != bool(deployment):
        raise Invalid(["command line: --cron and --deployment belong together"])
    return await deploy.prepare(
        specs=declared([script]) if script else None,
        cron=(deployment, cron) if cron else None,
        reset=reset,
        prune=not script,
        adopt=adopt or (),
    )


def _exit_with(work: Callable[[], Coroutine[Any, Any, int]]) -> None:
    """Run a command. An error is one line on standard error and exit status 1."""
    with ends_in_one_line(Stopped, Locked, LockLost, run.NoDeployment, run.WrongParameter):
        require_server()
        try:
            status = asyncio.run(work())
        except Invalid as wrong:
            _fail(*wrong.problems, "nothing was changed")
    raise typer.Exit(status)


def _fail(*lines: str) -> NoReturn:
    for line in lines:
        typer.echo(f"taxiway: {line}", err=True)
    raise typer.Exit(1)


async def _show_plan(actions: Sequence[Action]) -> None:
    out.print(await as_text(actions))


def _show(action: Action) -> None:
    out.print(str(action), markup=False)


def _log(record: Log) -> None:
    out.print(f"{record.timestamp:%H:%M:%S} {record.message}", markup=False)
