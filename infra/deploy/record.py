"""The record on the server: the ids of all objects that deploys under one tag created.

Names and tags do not show who created an object: others may use the same. So each deploy writes the ids of what it
creates into a block document, one for each tag. Only objects in it are ever changed or deleted.

An object is recorded before it is created, without an id. If the server created it and its answer was lost, the next
deploy finds it exactly as declared and knows that it is ours.
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

from infra.deploy.kinds import KINDS
from infra.deploy.model import Action, Actual, Verb
from infra.deploy.pages import all_pages


class DeployedObjects(Block):
    """The objects that deploys under one tag created."""

    _block_type_name: ClassVar[str] = "Taxiway Deployed Objects"
    _block_type_slug: ClassVar[str] = "taxiway-deployed-objects"
    _description: ClassVar[str] = "What deploys created on this server. Each deploy writes it; do not edit it."
    _logo_url = None

    tag: str = Field(description="The tag of these deploys.")
    objects: dict[str, dict[str, Any]] = Field(description="Each object's id and its switch, by kind and name.")


@dataclass(frozen=True)
class Entry:
    """One object of ours.

    Attributes:
        id: its id on the server; None until its creation is confirmed.
        switch: the value of its switch (paused, active, enabled) after the last deploy; None if it has none, or if it
            is not known.
    """

    id: str | None
    switch: bool | None = None


class Record:
    """The objects of one tag on one server.

    Attributes:
        exists: whether the server has a record of this tag.
        entries: by `kind/name`.
        others: the tag of each object of other tags on this server, by the id of the object.
    """

    def __init__(self, client: PrefectClient, tag: str, documents: Sequence[BlockDocument]) -> None:
        """Read the record of the tag, and of all other tags, from `documents` of the type DeployedObjects."""
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
        """Whether a deploy under this tag wrote a record on this server."""
        return self._document_id is not None

    def has(self, id: str) -> bool:
        """Whether the object is in the record."""
        return any(id == entry.id for entry in self.entries.values())

    def creation_unconfirmed(self, kind: str, name: str) -> bool:
        """Whether an object of this name was being created and the server's answer was lost."""
        entry = self.entries.get(key_of(kind, name))
        return entry is not None and entry.id is None

    def switch(self, kind: str, name: str) -> bool | None:
        """The value of the object's switch after the last deploy, if it is known."""
        entry = self.entries.get(key_of(kind, name))
        return entry.switch if entry else None

    def add_unchanged(self, actions: Sequence[Action]) -> None:
        """Record our objects that the plan does not change."""
        for action in actions:
            if action.verb in (Verb.UNCHANGED, Verb.KEPT) and action.actual and _is_ours(action):
                self._add(action, action.actual.id)

    def claim(self, actual: Sequence[Actual], declared: Collection[str]) -> None:
        """Record the ids of our objects that are not recorded yet: of an earlier version, adopted, or unconfirmed.

        An unconfirmed object that is not on the server was not created, so it is removed from the record. That is known
        only of the `declared` objects, given as `kind/name`.
        """
        self.entries = {key: entry for key, entry in self.entries.items() if entry.id or key not in declared}
        ids = {entry.id for entry in self.entries.values()}
        for found in actual:
            if found.ours and found.id not in ids:
                self.entries[key_of(found.kind, found.name)] = Entry(found.id)

    async def before_action(self, action: Action) -> None:
        """Write what the next deploy must know if this one ends during the action."""
        key = key_of(action.kind, action.name)
        if action.verb is Verb.CREATE:
            self._before = self.entries.get(key)
            self.entries[key] = Entry(None)
        elif action.verb is Verb.DELETE and (switch := KINDS[action.kind].switch_when_deleted) is not None:
            self.entries[key] = Entry(action.on_server.id, switch)
        else:
            return
        await self.write()

    def after_action(self, action: Action, id: str) -> None:
        """Record an action that was applied. `id` is the object's."""
        if action.verb is not Verb.DELETE:
            self._add(action, id)
            return
        parts = tuple(f"{kind.name}/{action.name}#" for kind in KINDS.values() if kind.part_of == action.kind)
        deleted = key_of(action.kind, action.name)
        self.entries = {
            key: entry for key, entry in self.entries.items() if key != deleted and not key.startswith(parts)
        }

    def not_created(self, action: Action) -> None:
        """Remove an object that the server refused to create. An earlier entry of its name is restored."""
        if action.verb is Verb.CREATE:
            entry = self.entries.pop(key_of(action.kind, action.name), None)
            if self._before and entry:
                self.entries[key_of(action.kind, action.name)] = self._before

    async def write(self) -> None:
        """Save the record if it differs from the server's."""
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

    def _add(self, action: Action, id: str) -> None:
        switch = KINDS[action.kind].switch
        declared = action.desired.fields.get(switch) if switch and action.desired else None
        self.entries[key_of(action.kind, action.name)] = Entry(id, declared)


def _is_ours(action: Action) -> bool:
    # Our agent creates the pool if it starts before the first deploy.
    unchanged = action.verb is Verb.UNCHANGED and not action.on_server.owner
    by_agent = KINDS[action.kind].created_by_agent and unchanged
    return action.on_server.ours or by_agent


async def read_record(client: PrefectClient, tag: str) -> Record:
    """The record of a tag; empty if there is none yet."""
    slug = DeployedObjects.get_block_type_slug()
    try:
        documents = await all_pages(client.read_block_documents_by_type, block_type_slug=slug, include_secrets=False)
    except httpx.HTTPStatusError as wrong:
        if wrong.response.status_code != httpx.codes.NOT_FOUND:
            raise
        documents = []  # the server does not have this block type yet
    return Record(client, tag, documents)


def key_of(kind: str, name: str) -> str:
    """The name of an object in the record and on the command line: `work pool/taxi`."""
    return f"{kind}/{name}"


def document_name(tag: str) -> str:
    """The name of the tag's document. It is different for every tag."""
    legal = re.sub(r"[^a-z0-9-]", "-", tag.lower())
    return tag if legal == tag else f"{legal}-{hashlib.sha256(tag.encode()).hexdigest()[:8]}"
