"""A deploy from end to end: declarations, checks, lock, plan, actions. And a plan without a deploy."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient, get_client

from infra.blocks import declared_blocks
from infra.deploy.actual import Observed, observe
from infra.deploy.apply import apply_actions
from infra.deploy.check import find_duplicates, problems_of, problems_on
from infra.deploy.kinds import KINDS
from infra.deploy.kinds.block import BLOCK
from infra.deploy.lock import Lock, LockTimes, deploy_lock
from infra.deploy.model import Action, Desired
from infra.deploy.object_kind import Declarations
from infra.deploy.plan import conflicts, plan, plan_destroy
from infra.deploy.record import key_of
from infra.deploy.scripts import Invalid, declared, reasons, with_cron
from infra.deploy.spec import DeploymentSpec
from infra.deploy.target import Target, target_of
from infra.settings import Settings, settings


@dataclass(frozen=True)
class Deploy:
    """A deploy whose declarations passed all checks that need no server.

    Attributes:
        target: where the deploy goes, and the revision of the code.
        desired: the declared objects.
        reset: overwrite switches that were changed by hand.
        prune: delete our objects that are not declared.
        adopt: objects of others that become ours, as `kind/name`.
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
    """Read the declarations, find the image, and check both.

    Args:
        config: names, pool type and image; None: the settings of this process.
        specs: the deployments; None: those of all scripts.
        blocks: the blocks by name; None: those of `infra/blocks.py`.
        cron: the full name of a deployment and a cron rule that this deploy adds to its schedules.
        reset: see `Deploy`.
        prune: see `Deploy`.
        adopt: see `Deploy`.

    Raises:
        Invalid: the declarations have problems; each is one line.
    """
    config = pinned(config or settings())
    target = target_of(config)
    specs = declared() if specs is None else specs
    if cron:
        specs = with_cron(specs, *cron, target)
    problems = await problems_of(specs)
    if problems:
        raise Invalid(problems)
    declarations = Declarations(config, target, specs, code_blocks(config) if blocks is None else blocks)
    desired = [each for kind in KINDS.values() for each in kind.declare(declarations)]
    if problems := find_duplicates(desired) + unknown(adopt, desired):
        raise Invalid(problems)
    return Deploy(target, desired, reset, prune, adopt)


def prepare_blocks(config: Settings | None = None, *, adopt: Collection[str] = ()) -> Deploy:
    """A deploy of the blocks alone. Raises Invalid as `prepare` does."""
    config = pinned(config or settings())
    target = target_of(config)
    desired = list(KINDS[BLOCK].declare(Declarations(config, target, (), code_blocks(config))))
    if problems := unknown(adopt, desired):
        raise Invalid(problems)
    return Deploy(target, desired, prune=False, adopt=adopt)


def unknown(adopt: Collection[str], desired: Sequence[Desired]) -> list[str]:
    """The problems with `adopt`: objects that are not declared."""
    keys = {key_of(each.kind, each.name) for each in desired}
    return [f"command line: --adopt {key}: no object of this name is declared" for key in adopt if key not in keys]


def pinned(config: Settings) -> Settings:
    """The settings with the image by digest on a Docker pool. Raises Invalid if there is no image."""
    if config.work_pool_type != "docker":
        return config.model_copy(update={"image": None})
    from infra.deploy.image_digest import by_digest

    return config.model_copy(update={"image": by_digest(config)})


def code_blocks(config: Settings) -> dict[str, Block]:
    """The blocks of `infra/blocks.py`. Raises Invalid if a setting of one is missing or wrong."""
    try:
        return declared_blocks(config)
    except Exception as wrong:
        raise Invalid([f"infra/blocks.py: {reason}" for reason in reasons(wrong)]) from wrong


async def planned(deploy: Deploy, client: PrefectClient) -> list[Action]:
    """The plan for the server as it is now. Raises Invalid if the declarations do not fit this server."""
    return (await _observed_and_planned(deploy, client))[1]


async def _observed_and_planned(deploy: Deploy, client: PrefectClient) -> tuple[Observed, list[Action]]:
    observed = await observe(client, deploy.target, deploy.desired, deploy.adopt)
    if observed.earlier and not deploy.prune:
        # A deploy of one script would record only a part of what that version created.
        raise Invalid(["an earlier version, which kept no record, deployed here: run `make deploy` once"])
    if problems := await problems_on(client, deploy.desired, observed.actual):
        raise Invalid(problems)
    return observed, plan(deploy.desired, observed.actual, reset=deploy.reset, prune=deploy.prune)


def conflict_lines(actions: Sequence[Action]) -> list[str]:
    """A line for each conflict: what it is, and what to do."""
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
    times: LockTimes | None = None,
) -> list[Action]:
    """Plan and apply under the lock; a second deploy waits for it. Returns the applied actions.

    Args:
        deploy: from `prepare`.
        client: the server's client.
        on_plan: called with the plan before the first change.
        on_done: called with each action after it is applied.
        times: how long to wait for another deploy.

    Raises:
        Invalid: the declarations do not fit this server, or there is a conflict; nothing was changed.
        Locked: another deploy is running; nothing was changed.
        Stopped: an action failed; the message says what was applied before it. A second run finishes.
    """
    async with deploy_lock(client, deploy.target.tag, times) as lock:
        observed, actions = await _observed_and_planned(deploy, client)
        if on_plan:
            await on_plan(actions)
        if lines := conflict_lines(actions):
            raise Invalid(lines)
        return await _apply_and_record(client, observed, deploy.desired, actions, lock, on_done)


async def _apply_and_record(
    client: PrefectClient,
    observed: Observed,
    desired: Sequence[Desired],
    actions: Sequence[Action],
    lock: Lock,
    on_done: Callable[[Action], None],
) -> list[Action]:
    record = observed.record
    record.claim(observed.actual, {key_of(each.kind, each.name) for each in desired})
    record.add_unchanged(actions)
    done = await apply_actions(client, actions, record, before_each=lock.check, on_done=on_done)
    lock.check()
    await record.write()
    return done


async def deploy(config: Settings | None = None) -> list[Action]:
    """Deploy everything that the scripts declare to the API that Prefect's settings name.

    Returns the applied actions; raises what `prepare` and `apply` raise.
    """
    async with get_client() as client:
        return await apply(await prepare(config), client)


async def destroy(
    target: Target,
    client: PrefectClient,
    *,
    on_done: Callable[[Action], None] = lambda action: None,
    times: LockTimes | None = None,
) -> list[Action]:
    """Delete our deployments, schedules, automations and concurrency limits, and the runs that have not started.

    The work pool and the blocks stay: others may use them. Returns the applied actions; raises Locked or Stopped as
    `apply` does.
    """
    async with deploy_lock(client, target.tag, times) as lock:
        observed = await observe(client, target, [])
        return await _apply_and_record(client, observed, [], plan_destroy(observed.actual), lock, on_done)
