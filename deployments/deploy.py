"""A deploy from end to end: declarations, checks, lock, plan, actions. And what a deploy would do, without doing it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client

from deployments.apply import carry_out
from deployments.check import problems_of, problems_on, twice
from deployments.declaration import DeploymentSpec
from deployments.lock import Pace, deploy_lock
from deployments.observe import observe
from deployments.plan import Action, Found, Kind, Verb, Wanted, plan
from deployments.scripts import Invalid, declared, reasons, with_cron
from deployments.target import Target, target_of
from deployments.wanted import (
    wanted_automations,
    wanted_blocks,
    wanted_deployment,
    wanted_limits,
    wanted_pool,
)
from infra.automations import declared_automations
from infra.blocks import declared_blocks
from infra.limits import declared_limits
from infra.settings import Settings, settings
from infra.work_pool import declared_pool


@dataclass(frozen=True)
class Deploy:
    """What is to be deployed, checked as far as it can be without a server.

    Attributes:
        target: where it goes and which code it is.
        wanted: everything that is declared.
        reset: take the code's word where a person has switched something.
        prune: delete our objects that are not declared.
    """

    target: Target
    wanted: Sequence[Wanted]
    reset: bool = False
    prune: bool = True


async def prepare(
    config: Settings | None = None,
    *,
    specs: Sequence[DeploymentSpec] | None = None,
    blocks: Mapping[str, Block] | None = None,
    cron: tuple[str, str] | None = None,
    reset: bool = False,
    prune: bool = True,
) -> Deploy:
    """Read the declarations, find the image, and check all of it.

    Args:
        config: names, pool type and image; None for the settings.
        specs: what to deploy; None for what all scripts declare.
        blocks: the blocks that are code, by name; None for those of `infra/blocks.py`.
        cron: a deployment's full name and a cron rule, to be one of its schedules for this deploy.
        reset: see `Deploy`.
        prune: see `Deploy`.

    Raises:
        Invalid: something is wrong with the declarations; every problem is a line.
    """
    config = pinned(config or settings())
    target = target_of(config)
    specs = declared() if specs is None else specs
    if cron:
        specs = with_cron(specs, *cron, target)
    problems = await problems_of(specs)
    if problems:
        raise Invalid(problems)
    wanted = [
        wanted_pool(declared_pool(config)),
        *wanted_blocks(code_blocks(config) if blocks is None else blocks),
        *wanted_limits(declared_limits(config)),
        *wanted_automations(declared_automations(config)),
        *(thing for spec in specs for thing in wanted_deployment(spec, target)),
    ]
    if problems := twice(wanted):
        raise Invalid(problems)
    return Deploy(target, wanted, reset, prune)


def pinned(config: Settings) -> Settings:
    """The settings with the image by its digest, where runs are containers. Raises Invalid where there is no image."""
    if config.work_pool_type != "docker":
        return config.model_copy(update={"image": None})
    from deployments.image import by_digest

    return config.model_copy(update={"image": by_digest(config)})


def code_blocks(config: Settings) -> dict[str, Block]:
    """The blocks that are code. Raises Invalid where one cannot be made: a setting is missing or wrong."""
    try:
        return declared_blocks(config)
    except Exception as wrong:
        raise Invalid([f"infra/blocks.py: {reason}" for reason in reasons(wrong)]) from wrong


async def planned(deploy: Deploy, client: PrefectClient) -> list[Action]:
    """What the deploy would do to the server as it is now. Raises Invalid where it cannot be done there."""
    found = await observe(client, deploy.target, deploy.wanted)
    if problems := await problems_on(client, deploy.wanted, found):
        raise Invalid(problems)
    return plan(deploy.wanted, found, reset=deploy.reset, prune=deploy.prune)


async def apply(
    deploy: Deploy,
    client: PrefectClient,
    *,
    on_plan: Callable[[Sequence[Action]], None] = lambda actions: None,
    on_done: Callable[[Action], None] = lambda action: None,
    pace: Pace | None = None,
) -> list[Action]:
    """Plan and carry out, alone: a second deploy waits for its turn. Gives what was done.

    Args:
        deploy: from `prepare`.
        client: the server's.
        on_plan: told the plan before the first change.
        on_done: told each action after it is done.
        pace: how long to wait for another deploy.

    Raises:
        Invalid: it cannot be done on this server; nothing was changed.
        Locked: another deploy is at work; nothing was changed.
        Stopped: the server failed on the way; the message says what was applied. A second run finishes.
    """
    async with deploy_lock(client, deploy.target.tag, pace) as lock:
        actions = await planned(deploy, client)
        on_plan(actions)
        return await carry_out(client, actions, before_each=lock.check, on_done=on_done)


async def deploy(config: Settings | None = None) -> list[Action]:
    """Deploy everything that the scripts declare to the API that Prefect's settings name.

    Gives what was done; raises what `prepare` and `apply` raise.
    """
    async with get_client() as client:
        return await apply(await prepare(config), client)


async def destroy(
    target: Target,
    client: PrefectClient,
    *,
    on_done: Callable[[Action], None] = lambda action: None,
    pace: Pace | None = None,
) -> list[Action]:
    """Delete every deployment, schedule, automation and concurrency limit that is ours, with the runs that wait.

    The work pool and the blocks stay: they carry no tag, and others may use them. Gives what was done; raises Locked
    or Stopped as `apply` does.
    """
    async with deploy_lock(client, target.tag, pace) as lock:
        actions = ours_gone(await observe(client, target, []))
        return await carry_out(client, actions, before_each=lock.check, on_done=on_done)


def ours_gone(found: Sequence[Found]) -> list[Action]:
    """The deletion of all that is ours. Schedules go with their deployments."""
    return [action for action in plan([], found) if action.verb is Verb.DELETE and action.kind is not Kind.SCHEDULE]
