"""What the server has of what can be declared, as `Actual` objects: a handful of reads, all at once.

Ours is what our record on the server says, see `infra/deploy/record.py`. Earlier versions kept no record. Where there
is none, and a deployment has the tag and the description that they gave theirs, what they have made is ours: that
deployment with its declared schedules, the automations and limits that those versions made, and the blocks and pool of
the declared names, which each of their deploys has overwritten.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from prefect.client.orchestration import PrefectClient

from infra.deploy.kinds import KINDS
from infra.deploy.kinds.deployment import CODE
from infra.deploy.kinds.limit import LIMIT
from infra.deploy.model import Actual, Desired, Kind
from infra.deploy.record import Record, key_of, read_record
from infra.deploy.target import Target

# What earlier versions made, by what follows the tag in its name. A tag alone does not say who made an automation.
EARLIER_LIMITS, EARLIER_AUTOMATIONS = ("downloads",), ("silent-runs-crash",)


@dataclass(frozen=True)
class Observed:
    """What the server has, our record there that says what of it is ours, and whether an earlier version deployed."""

    actual: list[Actual]
    record: Record
    earlier: bool


async def observe(
    client: PrefectClient, target: Target, desired: Sequence[Desired], adopt: Collection[str] = ()
) -> Observed:
    """Read what is ours, what has a declared name, and the deployments on the pool.

    Args:
        client: the server's.
        target: names the tag and the pool.
        desired: what is declared.
        adopt: what of no other tag is ours from now on, as `kind/name`.

    Raises what the client raises: an unreachable server is an error, never an empty one.
    """
    declared = {(thing.kind, thing.name): thing for thing in desired}
    names = declared.keys()
    record = await read_record(client, target.tag)
    # The first POST goes alone: of several at once, from a client without a CSRF token, each fetches one, which makes
    # those of the others invalid.
    to_read = {kind: [name for each, name in names if each is kind] for kind in Kind} | {Kind.POOL: [target.pool]}
    limits = await LIMIT.read(client, to_read[Kind.LIMIT])
    others = [each for each in KINDS.values() if each is not LIMIT]
    parts = await asyncio.gather(*(each.read(client, to_read[each.kind]) for each in others))
    everything_there = [thing for part in (limits, *parts) for thing in part]
    earlier = not record.exists and any(_of_earlier_version(thing, target) for thing in everything_there)
    marked = _earlier_marks(everything_there, names, target) if earlier else set()
    found = []
    for thing in everything_there:
        key, owner = key_of(thing.kind, thing.name), record.others.get(thing.id, "")
        claimed = thing.id in marked or key in adopt
        if record.unanswered(thing.kind, thing.name):
            claimed |= _as_declared(thing, declared.get((thing.kind, thing.name)))
        # Two tags that deploy at once may both have one object in their records: neither changes it.
        ours = (record.has(thing.id) or claimed) and not owner
        last = record.switch(thing.kind, thing.name) if ours else None
        found.append(replace(thing, ours=ours, owner=owner, last=last))
    return Observed(_relevant(found, names, target), record, earlier)


def _as_declared(thing: Actual, desired: Desired | None) -> bool:
    return desired is not None and all(thing.fields.get(name) == value for name, value in desired.fields.items())


def _of_earlier_version(thing: Actual, target: Target) -> bool:
    """Whether a version that kept no record has made this deployment, under our tag."""
    if thing.kind is not Kind.DEPLOYMENT:
        return False
    return target.tag in thing.fields["tags"] and CODE in (thing.fields["description"] or "")


def _earlier_marks(found: Sequence[Actual], names: Collection[tuple[Kind, str]], target: Target) -> set[str]:
    """The ids of what a version that kept no record has made."""
    deployments = {thing.name for thing in found if _of_earlier_version(thing, target)}
    limits = {f"{target.prefix}{name}" for name in EARLIER_LIMITS}
    automations = {f"{target.prefix}{name}" for name in EARLIER_AUTOMATIONS}

    def made(thing: Actual) -> bool:
        match thing.kind:
            case Kind.DEPLOYMENT:
                return thing.name in deployments
            case Kind.SCHEDULE:
                return thing.parent in deployments and (thing.kind, thing.name) in names
            case Kind.AUTOMATION:
                return target.tag in thing.fields["tags"] and thing.name in automations
            case Kind.LIMIT:
                return thing.name in limits
            case _:
                return (thing.kind, thing.name) in names

    return {thing.id for thing in found if made(thing)}


def _relevant(found: Sequence[Actual], names: Collection[tuple[Kind, str]], target: Target) -> list[Actual]:
    """What a plan is about: ours, what has a declared name, and what others deployed on our pool."""

    def alone(thing: Actual) -> bool:
        on_pool = thing.kind is Kind.DEPLOYMENT and thing.fields["work_pool_name"] == target.pool
        return thing.ours or (thing.kind, thing.name) in names or on_pool

    deployments = {thing.name for thing in found if thing.kind is Kind.DEPLOYMENT and alone(thing)}
    return [thing for thing in found if alone(thing) or thing.parent in deployments]
