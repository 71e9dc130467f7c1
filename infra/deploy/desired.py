"""The declarations as `Desired` objects: field by field what the server is to have."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from pathlib import PurePosixPath
from typing import Any
from uuid import UUID

from prefect import Flow
from prefect.blocks.core import Block
from prefect.events.schemas.automations import AutomationCore
from pydantic_core import to_jsonable_python

from infra.deploy.plan import Desired, Kind
from infra.deploy.schedules import as_fields
from infra.deploy.spec import POOL_TYPE, DeploymentSpec, ScheduleSpec
from infra.deploy.target import Target
from infra.limits import Limit
from infra.work_pool import Pool

# A block's document cannot be made without the ids that the server gives; the values in it do not depend on them.
NO_ID = UUID(int=0)
# The field under which the plan shows that a block's type has changed; no block can have a field of this name.
TYPE_FIELD = "(type)"
# In every deployment's description, before the revision.
CODE = "\n\nCode: revision "


class NotAFlow(ValueError):
    """An entrypoint that leads to no flow; the message says why."""


@cache
def flow_at(entrypoint: str) -> Flow[..., Any]:
    """The flow at `path/from/root.py:name`. Raises NotAFlow, whatever the import raises."""
    path, _, name = entrypoint.partition(":")
    module = ".".join(PurePosixPath(path).with_suffix("").parts)
    try:
        found = getattr(importlib.import_module(module), name, None)
    except Exception as wrong:
        reason = (str(wrong).splitlines() or [""])[0]
        raise NotAFlow(f"{entrypoint} does not import: {type(wrong).__name__}: {reason}") from wrong
    if not isinstance(found, Flow):
        raise NotAFlow(f"{entrypoint} is not a flow" if found else f"{path} has no {name}")
    return found


def full_name(spec: DeploymentSpec, target: Target) -> str:
    """`flow name/deployment name`, as people and the API call it. Raises NotAFlow."""
    return f"{flow_at(spec.flow).name}/{spec.name.replace(POOL_TYPE, target.pool_type)}"


def desired_deployment(spec: DeploymentSpec, target: Target) -> Iterator[Desired]:
    """The deployment and its schedules. Raises NotAFlow."""
    flow, name = flow_at(spec.flow), full_name(spec, target)
    yield Desired(
        Kind.DEPLOYMENT,
        name,
        {
            "version": target.version,
            "description": described(spec, target),
            "tags": sorted({target.tag, *spec.tags}),
            "work_pool_name": target.pool,
            "work_queue_name": spec.work_queue,
            "entrypoint": spec.flow,
            "path": target.root,
            # Without it Prefect copies the whole of `path` into each run's folder.
            "pull_steps": [{"prefect.deployments.steps.set_working_directory": {"directory": target.root}}],
            "parameters": to_jsonable_python(spec.parameters),
            "parameter_openapi_schema": flow.parameters.model_dump_for_openapi(),
            "enforce_parameter_schema": True,
            "job_variables": job_variables(spec, target),
            "concurrency_limit": spec.concurrency_limit,
            "on_collision": spec.on_collision if spec.concurrency_limit else None,
            "paused": spec.paused,
        },
        script=spec.script,
    )
    for schedule in spec.schedules:
        yield desired_schedule(schedule, name, target, spec.script)


def desired_schedule(spec: ScheduleSpec, deployment: str, target: Target, script: str) -> Desired:
    """A schedule of a deployment; our tag stands before its slug."""
    slug = f"{target.prefix}{spec.slug}"
    fields = {
        "schedule": as_fields(spec.schedule),
        "parameters": to_jsonable_python(spec.parameters),
        "active": spec.active,
    }
    return Desired(Kind.SCHEDULE, f"{deployment}#{slug}", fields, parent=deployment, script=script)


def described(spec: DeploymentSpec, target: Target) -> str:
    """The description, and under it which code a run of this deployment runs."""
    image = f", image {target.image}" if target.image else ""
    return f"{inspect.cleandoc(spec.description)}{CODE}{target.version}{image}."


def job_variables(spec: DeploymentSpec, target: Target) -> dict[str, Any]:
    """The block's fields by reference on a pool of containers, and what the spec sets besides."""
    by_reference: dict[str, Any] = {}
    if spec.infrastructure and target.pool_type == "docker":
        from infra.docker_container import job_variables as of_block

        by_reference = of_block(spec.infrastructure)
    return {**by_reference, **to_jsonable_python(spec.job_variables)}


def desired_pool(pool: Pool) -> Desired:
    """The work pool."""
    fields = {
        "type": pool.type,
        "description": pool.description,
        "base_job_template": dict(pool.base_job_template),
        "concurrency_limit": pool.concurrency_limit,
    }
    return Desired(Kind.POOL, pool.name, fields, script="infra/work_pool.py")


def desired_limits(limits: Iterable[Limit]) -> Iterator[Desired]:
    """The global concurrency limits."""
    for limit in limits:
        yield Desired(Kind.LIMIT, limit.name, {"limit": limit.limit}, script="infra/limits.py")


def desired_automations(automations: Iterable[AutomationCore]) -> Iterator[Desired]:
    """The automations."""
    for automation in automations:
        yield Desired(Kind.AUTOMATION, automation.name, automation_fields(automation), script="infra/automations.py")


def automation_fields(automation: AutomationCore) -> dict[str, Any]:
    """An automation's values as JSON, without ids and with sets in order: the same whichever side wrote it."""
    parts = {"tags", "description", "enabled", "trigger", "actions"}
    values = _plain(automation.model_dump(mode="json", include=parts))
    values["tags"] = sorted(values["tags"])
    return values


def desired_blocks(blocks: Mapping[str, Block]) -> Iterator[Desired]:
    """The blocks that are code, by `block-type/name`."""
    names = {id(block): block_name(name, block) for name, block in blocks.items()}
    for name, block in blocks.items():
        fields, secrets = block_fields(name, block, names)
        yield Desired(Kind.BLOCK, names[id(block)], fields, secrets, script="infra/blocks.py", source=block)


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


def _plain(value: Any) -> Any:
    """Without ids; lists of words, which sets have become, in order."""
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items() if key != "id"}
    if isinstance(value, list) and all(isinstance(inner, str) for inner in value):
        return sorted(value)
    if isinstance(value, list):
        return [_plain(inner) for inner in value]
    return value
