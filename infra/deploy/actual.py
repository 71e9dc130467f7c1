"""The objects on the server that a plan compares, as `Actual` objects.

The record on the server says which are ours, see `infra/deploy/record.py`. Earlier versions kept no record. If there is
none, and a deployment has the tag and the description of those versions, then what they created is ours: that
deployment with its declared schedules, their automations and limits, and the blocks and the pool of the declared names,
which each of their deploys overwrote.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from prefect.client.orchestration import PrefectClient

from infra.deploy.kinds import KINDS
from infra.deploy.kinds.automation import AUTOMATION
from infra.deploy.kinds.deployment import CODE
from infra.deploy.kinds.limit import LIMIT
from infra.deploy.kinds.schedule import DEPLOYMENT, SCHEDULE
from infra.deploy.model import Actual, Desired
from infra.deploy.record import Record, key_of, read_record
from infra.deploy.target import Target

# What earlier versions created, by the part of the name after the tag. The tag alone does not show who created it.
EARLIER_LIMITS, EARLIER_AUTOMATIONS = ("downloads",), ("silent-runs-crash",)


@dataclass(frozen=True)
class Observed:
    """The objects on the server, our record there, and whether an earlier version deployed."""

    actual: list[Actual]
    record: Record
    earlier: bool


async def observe(
    client: PrefectClient, target: Target, desired: Sequence[Desired], adopt: Collection[str] = ()
) -> Observed:
    """Read our objects, those of declared names, and the deployments on the pool.

    Args:
        client: the server's client.
        target: the tag and the pool.
        desired: the declared objects.
        adopt: objects to take over, as `kind/name`, unless they belong to another tag.

    Raises what the client raises: a server that does not answer is not taken for an empty one.
    """
    declared = {(each.kind, each.name): each for each in desired}
    names = declared.keys()
    record = await read_record(client, target.tag)
    on_server = [
        found
        for kind in KINDS.values()
        for found in await kind.read(client, [name for of_kind, name in names if of_kind == kind.name], target)
    ]
    earlier = not record.exists and any(_of_earlier_version(found, target) for found in on_server)
    marked = _made_by_earlier_version(on_server, names, target) if earlier else set()
    actual = []
    for found in on_server:
        key, owner = key_of(found.kind, found.name), record.others.get(found.id, "")
        claimed = found.id in marked or key in adopt
        if record.creation_unconfirmed(found.kind, found.name):
            claimed |= _as_declared(found, declared.get((found.kind, found.name)))
        # Two tags that deploy at once may both have one object in their records: neither changes it.
        ours = (record.has(found.id) or claimed) and not owner
        last = record.switch(found.kind, found.name) if ours else None
        actual.append(replace(found, ours=ours, owner=owner, last=last))
    return Observed(_relevant(actual, names, target), record, earlier)


def _as_declared(found: Actual, desired: Desired | None) -> bool:
    return desired is not None and all(found.fields.get(name) == value for name, value in desired.fields.items())


def _of_earlier_version(found: Actual, target: Target) -> bool:
    """Whether it is a deployment under our tag of a version that kept no record."""
    if found.kind != DEPLOYMENT:
        return False
    return target.tag in found.fields["tags"] and CODE in (found.fields["description"] or "")


def _made_by_earlier_version(
    on_server: Sequence[Actual], names: Collection[tuple[str, str]], target: Target
) -> set[str]:
    """The ids of what a version that kept no record created."""
    deployments = {found.name for found in on_server if _of_earlier_version(found, target)}
    limits = {f"{target.prefix}{name}" for name in EARLIER_LIMITS}
    automations = {f"{target.prefix}{name}" for name in EARLIER_AUTOMATIONS}

    def made(found: Actual) -> bool:
        if found.kind == DEPLOYMENT:
            return found.name in deployments
        if found.kind == AUTOMATION:
            return target.tag in found.fields["tags"] and found.name in automations
        if found.kind == LIMIT:
            return found.name in limits
        return (found.kind, found.name) in names and (found.kind != SCHEDULE or found.parent in deployments)

    return {found.id for found in on_server if made(found)}


def _relevant(actual: Sequence[Actual], names: Collection[tuple[str, str]], target: Target) -> list[Actual]:
    """Our objects, those of declared names and the deployments on our pool; each with its parts."""

    def relevant(found: Actual) -> bool:
        on_pool = found.kind == DEPLOYMENT and found.fields["work_pool_name"] == target.pool
        return found.ours or (found.kind, found.name) in names or on_pool

    keys = {(found.kind, found.name) for found in actual if relevant(found)}
    return [found for found in actual if relevant(found) or (KINDS[found.kind].part_of, found.parent) in keys]
