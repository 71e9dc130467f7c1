"""What a deploy would do, as a pure function: the declared objects compared with those of the server give actions.

Nothing here calls a server. `infra/deploy/kinds` declares, reads and writes the objects of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from infra.deploy.kinds import KINDS
from infra.deploy.model import ABSENT, CHANGING, Action, Actual, Change, Desired, Verb

ADDED_BY_HAND = "added by hand"
MADE_UNDER = "made by deploys under the tag {tag}"


def plan(
    desired: Sequence[Desired], actual: Sequence[Actual], *, reset: bool = False, prune: bool = True
) -> list[Action]:
    """The actions after which the server has what is desired.

    An object of a declared name that is not ours is a conflict, unless its kind allows to use it and it is as declared.
    A plan with a conflict must not be applied.

    Args:
        desired: the declared objects; names are unique in their kind.
        actual: the objects on the server.
        reset: overwrite switches that were changed by hand.
        prune: delete our objects that are not desired. Without it only parts of desired objects are deleted.

    Returns:
        The actions in the order in which they can be applied: first creates and updates, in the order of kinds, then
        deletions in the reverse order.
    """
    # The server allows several automations of one name; ours is the one that is compared.
    on_server = {(found.kind, found.name): found for found in sorted(actual, key=lambda found: found.ours)}
    actions: list[Action] = []
    for declared in sorted(desired, key=lambda declared: KINDS[declared.kind].order):
        parent = on_server.get(_parent(declared))
        if parent is None or parent.ours:  # nothing is added to an object that is not ours
            actions += _for_desired(declared, on_server.get((declared.kind, declared.name)), reset=reset)
    names = {(declared.kind, declared.name) for declared in desired}
    others = [found for found in actual if (found.kind, found.name) not in names]
    actions += _for_undeclared(others, names, prune=prune)
    return actions


def plan_destroy(actual: Sequence[Actual]) -> list[Action]:
    """The deletion of all our objects, except those that others may use. Parts are deleted with their objects."""
    deletions = [action for action in plan([], actual) if action.verb is Verb.DELETE]
    return [action for action in deletions if not KINDS[action.kind].shared]


def changing(actions: Sequence[Action]) -> list[Action]:
    """The actions that change something on the server."""
    return [action for action in actions if action.verb in CHANGING]


def conflicts(actions: Sequence[Action]) -> list[Action]:
    """The actions for objects of declared names that are not ours."""
    return [action for action in actions if action.verb is Verb.CONFLICT]


def _parent(part: Desired | Actual) -> tuple[str, str]:
    return KINDS[part.kind].part_of or "", part.parent or ""


def _for_desired(desired: Desired, actual: Actual | None, *, reset: bool) -> Iterator[Action]:
    if actual is None:
        yield Action(Verb.CREATE, desired.kind, desired.name, desired=desired)
        return
    kind = KINDS[desired.kind]
    kept = kind.switch if actual.ours and not reset and _switched_by_hand(desired, actual) else None
    changes = tuple(
        change
        for name, new in desired.fields.items()
        if name != kept
        for change in _differences(actual.fields.get(name, ABSENT), new, (name,), secret=name in desired.secrets)
    )
    if not actual.ours and (changes or not kind.used_as_is):
        note = MADE_UNDER.format(tag=actual.owner) if actual.owner else "not made by our deploys"
        yield Action(Verb.CONFLICT, desired.kind, desired.name, note=note, desired=desired, actual=actual)
        return
    verb = Verb.UPDATE if changes else Verb.UNCHANGED
    yield Action(verb, desired.kind, desired.name, changes, desired=desired, actual=actual)
    if kept:
        note = kind.switched[actual.fields[kept]]
        yield Action(Verb.KEPT, desired.kind, desired.name, note=note, desired=desired, actual=actual)


def _switched_by_hand(desired: Desired, actual: Actual) -> bool:
    """Whether the switch was changed since the last deploy. If its value then is not known, the declared one counts."""
    switch = KINDS[desired.kind].switch
    if switch is None or switch not in desired.fields:
        return False
    last = desired.fields[switch] if actual.last is None else actual.last
    return actual.fields.get(switch) not in (last, desired.fields[switch])


def _for_undeclared(others: Sequence[Actual], declared: set[tuple[str, str]], *, prune: bool) -> Iterator[Action]:
    """For the server's objects that are not declared: ours are deleted, those added by hand are kept and listed."""
    for found in sorted(others, key=lambda found: (-KINDS[found.kind].order, found.name)):
        of_declared = _parent(found) in declared
        if KINDS[found.kind].part_of and not of_declared:
            continue  # it is deleted, or stays, with the object that it is a part of
        if not found.ours:
            made = MADE_UNDER.format(tag=found.owner) if found.owner else ADDED_BY_HAND
            note = f"{made}: {found.about}" if found.about else made
            yield Action(Verb.KEPT, found.kind, found.name, note=note, actual=found)
        elif prune or of_declared:
            by_hand = [part.about for part in others if _parent(part) == (found.kind, found.name) and not part.ours]
            note = f"with what was {ADDED_BY_HAND}: {'; '.join(by_hand)}" if by_hand else ""
            yield Action(Verb.DELETE, found.kind, found.name, note=note, actual=found)


def _differences(old: Any, new: Any, path: tuple[str, ...], *, secret: bool) -> Iterator[Change]:
    if secret:
        if old != new:
            yield Change(path, None, None, secret=True)
    elif isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(old.get(key, ABSENT), new.get(key, ABSENT), (*path, key), secret=False)
    elif old != new:
        yield Change(path, old, new)
