"""The private names of Prefect's blocks that the deployment engine uses: what they give."""

from __future__ import annotations

from prefect.blocks.core import Block
from pydantic import SecretStr

from infra.deploy.kinds.block import TYPE_FIELD, block_fields


class Account(Block):
    """A block with a secret."""

    _block_type_slug = "taxiway-test-account"
    name: str
    password: SecretStr


def test_the_fields_of_a_block():
    fields, secrets = block_fields("mine", Account(name="me", password="hush"), {})
    assert fields.keys() == {TYPE_FIELD, "name", "password"} and secrets == {"password"}
    assert (fields["name"], fields["password"]) == ("me", "hush")
    assert fields[TYPE_FIELD].startswith("sha256:")


def test_a_block_has_an_id_and_a_name_on_a_server():
    """A plan gives them to each block, so that a block that holds it refers to it and does not copy it."""
    assert {"_block_document_id", "_block_document_name"} <= Block.__private_attributes__.keys()
