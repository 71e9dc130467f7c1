"""What a deploy would do, as pure data: what is declared, compared with what the server has, gives a list of actions.

Nothing here talks to a server. `infra/deploy/kinds` declares, reads and writes objects of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.deploy.kinds import SWITCH, SWITCHED
from infra.deploy.model import ABSENT, CHANGING, Action, Actual, Change, Desired, Kind, Verb

ADDED_BY_HAND = "added by hand"
MADE_UNDER = "made by deploys under the tag {tag}"


def plan(
    desired: Sequence[Desired], actual: Sequence[Actual], *, reset: bool = False, prune: bool = True
) -> list[Action]:
    """What to do so that the server has what is desired.

    An object of a declared name that is not ours is a conflict, unless it is already as declared: then it is used as it
    is. A plan with a conflict is not to be carried out.

    Args:
        desired: what the code declares; names are unique in their kind.
        actual: what the server has.
        reset: overwrite what a person has paused, or switched off or on.
        prune: delete our objects that are not desired. Without it only schedules of desired deployments are deleted.

    Returns:
        The actions, in the order in which they can be carried out: creates and updates first, what is depended on
        before what depends, deletions last and the other way round.
    """
    # Of several automations of one name, which the server allows, ours is the one that is meant.
    there = {(thing.kind, thing.name): thing for thing in sorted(actual, key=lambda thing: thing.ours)}
    actions: list[Action] = []
    for thing in sorted(desired, key=lambda thing: list(Kind).index(thing.kind)):
        parent = there.get((Kind.DEPLOYMENT, thing.parent or ""))
        if parent is None or parent.ours:  # nothing is added to a deployment of someone else
            actions += _for_desired(thing, there.get((thing.kind, thing.name)), reset=reset)
    declared = {(thing.kind, thing.name) for thing in desired}
    others = [thing for thing in actual if (thing.kind, thing.name) not in declared]
    actions += _for_others(others, declared, prune=prune)
    return actions


def changing(actions: Sequence[Action]) -> list[Action]:
    """The actions that change something on the server."""
    return [action for action in actions if action.verb in CHANGING]


def conflicts(actions: Sequence[Action]) -> list[Action]:
    """The actions that stand for an object of someone else under a declared name."""
    return [action for action in actions if action.verb is Verb.CONFLICT]


def _for_desired(desired: Desired, actual: Actual | None, *, reset: bool) -> Iterator[Action]:
    if actual is None:
        yield Action(Verb.CREATE, desired.kind, desired.name, desired=desired)
        return
    kept_switches = (
        {SWITCH[desired.kind]} if actual.ours and not reset and _switched_by_hand(desired, actual) else set()
    )
    changes = tuple(
        change
        for name, new in desired.fields.items()
        if name not in kept_switches
        for change in _differences(actual.fields.get(name, ABSENT), new, (name,), secret=name in desired.secrets)
    )
    if not actual.ours and (changes or desired.kind is Kind.DEPLOYMENT):
        note = MADE_UNDER.format(tag=actual.owner) if actual.owner else "not made by our deploys"
        yield Action(Verb.CONFLICT, desired.kind, desired.name, note=note, desired=desired, actual=actual)
        return
    verb = Verb.UPDATE if changes else Verb.UNCHANGED
    yield Action(verb, desired.kind, desired.name, changes, desired=desired, actual=actual)
    for switch in kept_switches:
        note = SWITCHED[desired.kind, actual.fields[switch]]
        yield Action(Verb.KEPT, desired.kind, desired.name, note=note, desired=desired, actual=actual)


def _switched_by_hand(desired: Desired, actual: Actual) -> bool:
    """Whether a person has switched it since the last deploy; where nobody knows how that left it, as declared now."""
    switch = SWITCH.get(desired.kind)
    if switch is None or switch not in desired.fields:
        return False
    last = desired.fields[switch] if actual.last is None else actual.last
    return actual.fields.get(switch) not in (last, desired.fields[switch])


def _for_others(others: Sequence[Actual], declared: set[tuple[Kind, str]], *, prune: bool) -> Iterator[Action]:
    """What the server has and the code does not declare: ours goes, a person's stays and is listed."""
    for thing in sorted(others, key=lambda thing: (-list(Kind).index(thing.kind), thing.name)):
        of_declared = (Kind.DEPLOYMENT, thing.parent) in declared
        if thing.kind is Kind.SCHEDULE and not of_declared:
            continue  # it goes, or stays, with its deployment
        if not thing.ours:
            made = MADE_UNDER.format(tag=thing.owner) if thing.owner else ADDED_BY_HAND
            note = f"{made}: {thing.about}" if thing.about else made
            yield Action(Verb.KEPT, thing.kind, thing.name, note=note, actual=thing)
        elif prune or of_declared:
            by_hand = [other.about for other in others if other.parent == thing.name and not other.ours]
            note = f"with what was {ADDED_BY_HAND}: {'; '.join(by_hand)}" if by_hand else ""
            yield Action(Verb.DELETE, thing.kind, thing.name, note=note, actual=thing)


def _differences(old: Any, new: Any, path: tuple[str, ...], *, secret: bool) -> Iterator[Change]:
    if secret:
        if old != new:
            yield Change(path, None, None, secret=True)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key, ABSENT), new.get(key, ABSENT), (*path, key), secret=False)
    elif old != new:
        yield Change(path, old, new)
