"""What plans are made of: objects as they are declared, objects as the server has them, and actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Verb(StrEnum):
    """What happens to an object."""

    CREATE = "create"
    UPDATE = "update"
    UNCHANGED = "unchanged"
    DELETE = "delete"
    KEPT = "kept"
    CONFLICT = "conflict"


CHANGING = frozenset({Verb.CREATE, Verb.UPDATE, Verb.DELETE})


class Absent:
    """The value of a key that one side does not have. None is a value of its own."""

    def __repr__(self) -> str:
        return "(none)"


ABSENT = Absent()


@dataclass(frozen=True)
class Desired:
    """An object as the code declares it.

    Attributes:
        kind: the name of its kind, see `infra/deploy/kinds`.
        name: unique in its kind: `flow/deployment`, `flow/deployment#slug`, `block-type/name`, or a plain name.
        fields: JSON values, by field.
        secrets: the fields whose values are never shown.
        parent: the name of the object that it is a part of: the deployment of a schedule.
        script: the file that declares it, for messages.
        source: the object itself, if it cannot be saved from its fields: a block.
    """

    kind: str
    name: str
    fields: Mapping[str, Any]
    secrets: frozenset[str] = frozenset()
    parent: str | None = None
    script: str = ""
    source: Any = field(default=None, compare=False, repr=False)


@dataclass(frozen=True)
class Actual:
    """An object as the server has it; `fields` has at least the fields of a `Desired` of its kind.

    Attributes:
        id: the server's id of it.
        ours: our deploys created it, see `infra/deploy/record.py`. No other object is ever changed or deleted.
        parent: as in `Desired`.
        about: a description, if its name does not describe it.
        last: the value of its switch after the last deploy; None if that is not known.
        owner: the other tag whose deploys created it; empty if there is none.
    """

    kind: str
    name: str
    fields: Mapping[str, Any]
    id: str
    ours: bool
    parent: str | None = None
    about: str = ""
    last: bool | None = None
    owner: str = ""


@dataclass(frozen=True)
class Change:
    """One field, or one key in it, that differs. The values of a secret are not kept."""

    path: tuple[str, ...]
    old: Any
    new: Any
    secret: bool = False


@dataclass(frozen=True)
class Action:
    """One line of the plan."""

    verb: Verb
    kind: str
    name: str
    changes: tuple[Change, ...] = ()
    note: str = ""
    desired: Desired | None = None
    actual: Actual | None = None

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}"

    @property
    def declared(self) -> Desired:
        """The declared object. The action must have one."""
        assert self.desired is not None, f"{self}: the object is not declared"
        return self.desired

    @property
    def on_server(self) -> Actual:
        """The object on the server. The action must have one."""
        assert self.actual is not None, f"{self}: the object does not exist yet"
        return self.actual

    @property
    def fields(self) -> dict[str, Any]:
        """The values to set: all of them for a create, those that differ for an update."""
        if self.desired is None:
            return {}
        if self.verb is Verb.CREATE:
            return dict(self.desired.fields)
        return {change.path[0]: self.desired.fields[change.path[0]] for change in self.changes}
