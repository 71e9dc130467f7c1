"""Which objects on the server are ours: the ids of all that deploys under one tag have made, kept on the server itself.

Names and tags do not say who made an object: anyone may choose the same. So each deploy writes the ids of what it makes
into a block document, one for each tag. Only what is in it is ever changed or deleted.

An object is entered before it is created, still without an id: where the server made it and its answer was lost, the
next deploy finds it just as declared and knows it as ours.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, ClassVar
from uuid import UUID

import httpx
from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import BlockDocumentUpdate
from prefect.client.schemas.objects import BlockDocument
from pydantic import Field

from infra.deploy.kinds import SWITCH
from infra.deploy.model import Action, Actual, Kind, Verb
from infra.deploy.pages import everything


class DeployedObjects(Block):
    """The objects that deploys under one tag have made."""

    _block_type_name: ClassVar[str] = "Taxiway Deployed Objects"
    _block_type_slug: ClassVar[str] = "taxiway-deployed-objects"
    _description: ClassVar[str] = "What deploys have made on this server. Written by each deploy; not to be edited."
    _logo_url = None

    tag: str = Field(description="The tag of these deploys.")
    objects: dict[str, dict[str, Any]] = Field(description="Each object's id and its switch, by kind and name.")


@dataclass(frozen=True)
class Entry:
    """One object of ours.

    Attributes:
        id: the server's id of it; None from before its creation until its id is known.
        switch: how the last deploy left its switch (paused, active, enabled); None if it has none, or is unknown.
    """

    id: str | None
    switch: bool | None = None


class Record:
    """The objects of one tag on one server.

    Attributes:
        exists: whether the server has a record of this tag.
        entries: by `kind/name`.
        others: the tag by id, for the objects of all other tags on this server.
    """

    def __init__(self, client: PrefectClient, tag: str, documents: Sequence[BlockDocument]) -> None:
        """Take a tag's own record and those of the others from `documents`, all of type DeployedObjects."""
        self._client, self._tag = client, tag
        own = [document for document in documents if document.data.get("tag") == tag]
        self._document_id = own[0].id if own else None
        self.entries = {
            key: Entry(entry["id"], entry.get("switch"))
            for document in own
            for key, entry in document.data.get("objects", {}).items()
        }
        self.others: Mapping[str, str] = {
            entry["id"]: document.data["tag"]
            for document in documents
            if document not in own
            for entry in document.data.get("objects", {}).values()
            if entry["id"]
        }
        self._written = dict(self.entries)
        self._before: Entry | None = None

    @property
    def exists(self) -> bool:
        """Whether a deploy under this tag has written here before."""
        return self._document_id is not None

    def has(self, id: str) -> bool:
        """Whether the object is in the record."""
        return any(id == entry.id for entry in self.entries.values())

    def unanswered(self, kind: Kind, name: str) -> bool:
        """Whether an object of this name was to be created, and no more was heard of it."""
        entry = self.entries.get(key_of(kind, name))
        return entry is not None and entry.id is None

    def switch(self, kind: Kind, name: str) -> bool | None:
        """How the last deploy left the object's switch, if that is known."""
        entry = self.entries.get(key_of(kind, name))
        return entry.switch if entry else None

    def take_in(self, actions: Sequence[Action]) -> None:
        """Enter what a plan found to be ours and has nothing to do with: what stays as it is."""
        for action in actions:
            if action.verb in (Verb.UNCHANGED, Verb.KEPT) and action.actual and _is_ours(action):
                self._enter(action, action.actual.id)

    def keep(self, found: Sequence[Actual], declared: Collection[str]) -> None:
        """Enter the ids of what is ours: made by an earlier version, adopted, or never answered.

        What was to be created and is not there was not: its name is anyone's again. Only of what is `declared`, as
        `kind/name`, is it known.
        """
        self.entries = {key: entry for key, entry in self.entries.items() if entry.id or key not in declared}
        ids = {entry.id for entry in self.entries.values()}
        for thing in found:
            if thing.ours and thing.id not in ids:
                self.entries[key_of(thing.kind, thing.name)] = Entry(thing.id)

    async def before(self, action: Action) -> None:
        """Write what must be known if the action is carried out and no more is heard of it."""
        key = key_of(action.kind, action.name)
        if action.verb is Verb.CREATE:
            self._before = self.entries.get(key)
            self.entries[key] = Entry(None)
        elif action.verb is Verb.DELETE and action.kind is Kind.DEPLOYMENT:
            self.entries[key] = Entry(action.on_server.id, switch=True)  # it is paused before it is deleted
        else:
            return
        await self.write()

    def after(self, action: Action, id: str) -> None:
        """Enter an action that was carried out."""
        if action.verb is not Verb.DELETE:
            self._enter(action, id)
            return
        gone = key_of(action.kind, action.name)
        for key in [key for key in self.entries if key == gone or key.startswith(f"{Kind.SCHEDULE}/{action.name}#")]:
            del self.entries[key]

    def refused(self, action: Action) -> None:
        """Take out an object that the server did not create; one that was known under its name before stays known."""
        if action.verb is Verb.CREATE:
            entry = self.entries.pop(key_of(action.kind, action.name), None)
            if self._before and entry:
                self.entries[key_of(action.kind, action.name)] = self._before

    async def write(self) -> None:
        """Save the record, if it differs from what the server has."""
        if self.entries == self._written and self.exists:
            return
        objects = {key: asdict(entry) for key, entry in sorted(self.entries.items())}
        document = DeployedObjects(tag=self._tag, objects=objects)
        if self._document_id is None:
            self._document_id = await document.asave(document_name(self._tag), client=self._client)
        else:
            update = BlockDocumentUpdate(data=document.model_dump(mode="json"), merge_existing_data=False)
            await self._client.update_block_document(UUID(str(self._document_id)), update)
        self._written = dict(self.entries)

    def _enter(self, action: Action, id: str) -> None:
        switch = SWITCH.get(action.kind)
        declared = action.desired.fields.get(switch) if switch and action.desired else None
        self.entries[key_of(action.kind, action.name)] = Entry(id, declared)


def _is_ours(action: Action) -> bool:
    # A pool that is as declared to the last word was made by our agent, which makes it if it starts before a deploy.
    by_agent = action.kind is Kind.POOL and action.verb is Verb.UNCHANGED and not action.on_server.owner
    return action.on_server.ours or by_agent


async def read_record(client: PrefectClient, tag: str) -> Record:
    """The record of a tag, empty where there is none yet."""
    slug = DeployedObjects.get_block_type_slug()
    try:
        documents = await everything(client.read_block_documents_by_type, block_type_slug=slug, include_secrets=False)
    except httpx.HTTPStatusError as wrong:
        if wrong.response.status_code != httpx.codes.NOT_FOUND:
            raise
        documents = []  # the server does not know this type of block yet
    return Record(client, tag, documents)


def key_of(kind: Kind, name: str) -> str:
    """What an object is called in the record, and on the command line: `work pool/taxi`."""
    return f"{kind}/{name}"


def document_name(tag: str) -> str:
    """The name of a tag's document; two tags never share one."""
    legal = re.sub(r"[^a-z0-9-]", "-", tag.lower())
    return tag if legal == tag else f"{legal}-{hashlib.sha256(tag.encode()).hexdigest()[:8]}"
