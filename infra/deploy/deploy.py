"""A deploy from end to end: declarations, checks, lock, plan, actions. And what a deploy would do, without doing it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client

from infra.automations import declared_automations
from infra.blocks import declared_blocks
from infra.deploy.actual import Observed, observe
from infra.deploy.apply import carry_out
from infra.deploy.check import find_duplicates, problems_of, problems_on
from infra.deploy.kinds.automation import desired_automations
from infra.deploy.kinds.block import desired_blocks
from infra.deploy.kinds.deployment import desired_deployment
from infra.deploy.kinds.limit import desired_limits
from infra.deploy.kinds.pool import desired_pool
from infra.deploy.lock import Lock, Pace, deploy_lock
from infra.deploy.model import Action, Actual, Desired, Kind, Verb
from infra.deploy.plan import conflicts, plan
from infra.deploy.record import key_of
from infra.deploy.scripts import Invalid, declared, reasons, with_cron
from infra.deploy.spec import DeploymentSpec
from infra.deploy.target import Target, target_of
from infra.limits import declared_limits
from infra.settings import Settings, settings
from infra.work_pool import declared_pool


@dataclass(frozen=True)
class Deploy:
    """What is to be deployed, checked as far as it can be without a server.

    Attributes:
        target: where it goes and which code it is.
        desired: everything that is declared.
        reset: overwrite what a person has switched.
        prune: delete our objects that are not declared.
        adopt: objects of someone else that become ours, as `kind/name`.
    """

    target: Target
    desired: Sequence[Desired]
    reset: bool = False
    prune: bool = True
    adopt: Collection[str] = ()


async def prepare(
    config: Settings | None = None,
    *,
    specs: Sequence[DeploymentSpec] | None = None,
    blocks: Mapping[str, Block] | None = None,
    cron: tuple[str, str] | None = None,
    reset: bool = False,
    prune: bool = True,
    adopt: Collection[str] = (),
) -> Deploy:
    """Read the declarations, find the image, and check all of it.

    Args:
        config: names, pool type and image; None for the settings.
        specs: what to deploy; None for what all scripts declare.
        blocks: the blocks that are code, by name; None for those of `infra/blocks.py`.
        cron: a deployment's full name and a cron rule, to be one of its schedules for this deploy.
        reset: see `Deploy`.
        prune: see `Deploy`.
        adopt: see `Deploy`.

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
    desired = [
        desired_pool(declared_pool(config)),
        *desired_blocks(code_blocks(config) if blocks is None else blocks),
        *desired_limits(declared_limits(config)),
        *desired_automations(declared_automations(config)),
        *(thing for spec in specs for thing in desired_deployment(spec, target)),
    ]
    if problems := find_duplicates(desired) + unknown(adopt, desired):
        raise Invalid(problems)
    return Deploy(target, desired, reset, prune, adopt)


def prepare_blocks(config: Settings | None = None, *, adopt: Collection[str] = ()) -> Deploy:
    """The blocks that are code, and nothing else. Raises Invalid as `prepare` does."""
    config = pinned(config or settings())
    desired = list(desired_blocks(code_blocks(config)))
    if problems := unknown(adopt, desired):
        raise Invalid(problems)
    return Deploy(target_of(config), desired, prune=False, adopt=adopt)


def unknown(adopt: Collection[str], desired: Sequence[Desired]) -> list[str]:
    """What is to be taken over and is not declared."""
    keys = {key_of(thing.kind, thing.name) for thing in desired}
    return [f"command line: --adopt {key}: nothing of this name is declared" for key in adopt if key not in keys]


def pinned(config: Settings) -> Settings:
    """The settings with the image by its digest, where runs are containers. Raises Invalid where there is no image."""
    if config.work_pool_type != "docker":
        return config.model_copy(update={"image": None})
    from infra.deploy.image_digest import by_digest

    return config.model_copy(update={"image": by_digest(config)})


def code_blocks(config: Settings) -> dict[str, Block]:
    """The blocks that are code. Raises Invalid where one cannot be made: a setting is missing or wrong."""
    try:
        return declared_blocks(config)
    except Exception as wrong:
        raise Invalid([f"infra/blocks.py: {reason}" for reason in reasons(wrong)]) from wrong


async def planned(deploy: Deploy, client: PrefectClient) -> list[Action]:
    """What the deploy would do to the server as it is now. Raises Invalid where it cannot be done there."""
    return (await _observed_and_planned(deploy, client))[1]


async def _observed_and_planned(deploy: Deploy, client: PrefectClient) -> tuple[Observed, list[Action]]:
    observed = await observe(client, deploy.target, deploy.desired, deploy.adopt)
    if observed.earlier and not deploy.prune:
        # Of a part alone it would not be known what else that version has made.
        raise Invalid(["an earlier version, which kept no record, has deployed here: run `make deploy` once"])
    if problems := await problems_on(client, deploy.desired, observed.actual):
        raise Invalid(problems)
    return observed, plan(deploy.desired, observed.actual, reset=deploy.reset, prune=deploy.prune)


def conflict_lines(actions: Sequence[Action]) -> list[str]:
    """A line for each object of someone else that stands in the way: what it is, and what to do."""
    return [
        f"{action.kind} {action.name} was {action.note}: rename one of the two"
        + ("" if action.on_server.owner else f", or take it over with --adopt '{key_of(action.kind, action.name)}'")
        for action in conflicts(actions)
    ]


async def apply(
    deploy: Deploy,
    client: PrefectClient,
    *,
    on_plan: Callable[[Sequence[Action]], Awaitable[None]] | None = None,
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
        Invalid: it cannot be done on this server, or something of someone else is in the way; nothing was changed.
        Locked: another deploy is at work; nothing was changed.
        Stopped: the server failed on the way; the message says what was applied. A second run finishes.
    """
    async with deploy_lock(client, deploy.target.tag, pace) as lock:
        observed, actions = await _observed_and_planned(deploy, client)
        if on_plan:
            await on_plan(actions)
        if lines := conflict_lines(actions):
            raise Invalid(lines)
        return await _carried_out(client, observed, deploy.desired, actions, lock, on_done)


async def _carried_out(
    client: PrefectClient,
    observed: Observed,
    desired: Sequence[Desired],
    actions: Sequence[Action],
    lock: Lock,
    on_done: Callable[[Action], None],
) -> list[Action]:
    record = observed.record
    record.keep(observed.actual, {key_of(thing.kind, thing.name) for thing in desired})
    record.take_in(actions)
    done = await carry_out(client, actions, record, before_each=lock.check, on_done=on_done)
    lock.check()
    await record.write()
    return done


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

    The work pool and the blocks stay: others may use them. Gives what was done; raises Locked or Stopped as `apply`
    does.
    """
    async with deploy_lock(client, target.tag, pace) as lock:
        observed = await observe(client, target, [])
        return await _carried_out(client, observed, [], plan_destroy(observed.actual), lock, on_done)


def plan_destroy(found: Sequence[Actual]) -> list[Action]:
    """The deletion of all that is ours, but the pool and the blocks. Schedules go with their deployments."""
    stays = (Kind.SCHEDULE, Kind.POOL, Kind.BLOCK)
    return [action for action in plan([], found) if action.verb is Verb.DELETE and action.kind not in stays]
