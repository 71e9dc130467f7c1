"""Blocks that are code.

A block's document, the checksum of its type and its id on a server have private names in Prefect. This file uses them,
and `tests/unit/test_block_kind.py` fails when they change. It can stop once Prefect has public ones.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Any
from uuid import UUID

from prefect.blocks.core import Block
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.objects import BlockDocument
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from pydantic_core import to_jsonable_python

from infra.deploy.model import Action, Actual, Desired, Verb
from infra.deploy.object_kind import Declarations, NotOurs, ObjectKind, Server
from infra.deploy.target import Target

BLOCK = "block"

# A block's document cannot be made without the ids that the server gives; the values in it do not depend on them.
NO_ID = UUID(int=0)
# The field under which the plan shows that a block's type has changed; no block can have a field of this name.
TYPE_FIELD = "(type)"


def declare(declared: Declarations) -> Iterator[Desired]:
    """The blocks that are code, by `block-type/name`."""
    blocks = declared.blocks
    names = {id(block): block_name(name, block) for name, block in blocks.items()}
    for name, block in blocks.items():
        fields, secrets = block_fields(name, block, names)
        yield Desired(BLOCK, names[id(block)], fields, secrets, script="infra/blocks.py", source=block)


def block_name(name: str, block: Block) -> str:
    """`block-type/name`."""
    return f"{block.get_block_type_slug()}/{name}"


def block_fields(name: str, block: Block, names: Mapping[int, str]) -> tuple[dict[str, Any], frozenset[str]]:
    """A block's values as JSON, secrets in clear, and which fields hold secrets. A block in it stands as its name."""
    document = block._to_block_document(name, NO_ID, NO_ID, include_secrets=True)
    inner = {field: names[id(value)] for field, value in held_blocks(block) if id(value) in names}
    values = to_jsonable_python(document.data | {field: {"$ref": name} for field, name in inner.items()})
    secret_paths = type(block).model_json_schema().get("secret_fields", [])
    secrets = frozenset(path.split(".")[0] for path in secret_paths) - inner.keys()
    return {TYPE_FIELD: block._calculate_schema_checksum(), **values}, secrets


def held_blocks(block: Block) -> Iterator[tuple[str, Block]]:
    """The fields of a block that are blocks themselves."""
    for field in type(block).model_fields:
        value = getattr(block, field)
        if isinstance(value, Block):
            yield field, value


async def read(client: PrefectClient, names: Collection[str], target: Target) -> list[Actual]:
    """The blocks of these names, as `block-type/name`."""
    return [block for name in names for block in await _read_one(client, name)]


async def _read_one(client: PrefectClient, name: str) -> list[Actual]:
    slug, _, block = name.partition("/")
    try:
        document = await client.read_block_document_by_name(block, slug, include_secrets=True)
    except ObjectNotFound:
        return []
    return [Actual(BLOCK, name, block_document_fields(document), str(document.id), ours=False)]


def block_document_fields(document: BlockDocument) -> dict[str, Any]:
    """The block's values under the names of `block_fields`; a block in it stands as its name."""
    values = document.model_dump(mode="json")["data"]
    for field, reference in document.block_document_references.items():
        inner = reference["block_document"]
        if not inner.get("is_anonymous"):
            values[field] = {"$ref": f"{inner['block_type']['slug']}/{inner['name']}"}
    return {TYPE_FIELD: document.block_schema.checksum if document.block_schema else None, **values}


def prepare(actions: Sequence[Action]) -> None:
    """Set the id of each block on this server, so that a block that contains it refers to it and does not copy it."""
    for action in actions:
        block = action.declared.source
        block._block_document_id = UUID(action.on_server.id) if action.actual else None
        block._block_document_name = action.name.partition("/")[2]


async def write(server: Server, action: Action) -> UUID:
    """Carry out an action on a block. Returns the id of a new one."""
    name = action.name.partition("/")[2]
    if action.verb is Verb.CREATE and await _exists(server, action):
        raise NotOurs
    # It is updated by the id that `prepare` gave it.
    try:
        return await action.declared.source.asave(name, overwrite=action.verb is Verb.UPDATE, client=server.client)
    except ValueError as taken:
        if isinstance(taken.__cause__, ObjectAlreadyExists):
            raise NotOurs from taken
        raise


async def _exists(server: Server, action: Action) -> bool:
    slug, _, name = action.name.partition("/")
    try:
        await server.client.read_block_document_by_name(name, slug, include_secrets=False)
    except ObjectNotFound:
        return False
    return True


KIND = ObjectKind(BLOCK, 2, declare, read, write, prepare, shared=True)
