"""What plans are made of: objects as they are declared, objects as the server has them, and actions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Kind(StrEnum):
    """What can be declared, in the order in which it is created: what comes later may refer to what came before."""

    POOL = "work pool"
    BLOCK = "block"
    LIMIT = "concurrency limit"
    AUTOMATION = "automation"
    DEPLOYMENT = "deployment"
    SCHEDULE = "schedule"


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
    """The value of a key that one side does not have; None is a value."""

    def __repr__(self) -> str:
        return "(none)"


ABSENT = Absent()


@dataclass(frozen=True)
class Desired:
    """An object as the code declares it.

    Attributes:
        kind: what it is.
        name: unique in its kind: `flow/deployment`, `flow/deployment#slug`, `block-type/name`, or a plain name.
        fields: JSON values, by field.
        secrets: the fields whose values are never shown.
        parent: a schedule's deployment.
        script: the file that declares it, for messages.
        source: the object itself, where the fields alone cannot be saved: a block.
    """

    kind: Kind
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
        ours: our deploys have made it, see `infra/deploy/record.py`. Nothing else is ever changed or deleted.
        about: what it is, for a person, where its name does not say so.
        last: how the last deploy left its switch; None where that is not known.
        owner: the other tag whose deploys have made it; empty where it is ours or nobody's.
    """

    kind: Kind
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
    """One field, or one key deep in it, that differs. Of a secret neither value is kept."""

    path: tuple[str, ...]
    old: Any
    new: Any
    secret: bool = False


@dataclass(frozen=True)
class Action:
    """One line of the plan."""

    verb: Verb
    kind: Kind
    name: str
    changes: tuple[Change, ...] = ()
    note: str = ""
    desired: Desired | None = None
    actual: Actual | None = None

    def __str__(self) -> str:
        return f"{self.verb} {self.kind} {self.name}"

    @property
    def declared(self) -> Desired:
        """The object as it is declared, of an action that has one."""
        assert self.desired is not None, f"{self} is of an object that is not declared"
        return self.desired

    @property
    def on_server(self) -> Actual:
        """The object on the server, of an action that has one."""
        assert self.actual is not None, f"{self} is of an object that does not exist yet"
        return self.actual

    @property
    def fields(self) -> dict[str, Any]:
        """The values to set: all of them for a create, the ones that differ for an update."""
        if self.desired is None:
            return {}
        if self.verb is Verb.CREATE:
            return dict(self.desired.fields)
        return {change.path[0]: self.desired.fields[change.path[0]] for change in self.changes}
