"""Checks before anything is changed. Each problem is one line with the script's name."""

from __future__ import annotations

import inspect
import logging
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from jsonschema.protocols import Validator
from jsonschema.validators import validator_for
from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.exceptions import ObjectNotFound, ParameterTypeError
from prefect.utilities.schema_tools.validation import validate

from infra.deploy.entrypoint import NotAFlow, flow_at
from infra.deploy.kinds.block import BLOCK
from infra.deploy.kinds.pool import POOL
from infra.deploy.kinds.schedule import DEPLOYMENT
from infra.deploy.model import Actual, Desired
from infra.deploy.schedules import problems as schedule_problems
from infra.deploy.spec import DeploymentSpec

REFERENCE = re.compile(r"\{\{\s*prefect\.blocks\.([\w-]+)\.([\w-]+)((?:\.\w+|\[\d+\])*)\s*\}\}")


class BlockReference(NamedTuple):
    """A reference in job variables to a field of a block."""

    slug: str
    name: str
    field: str

    @property
    def block(self) -> str:
        """`block-type/name`."""
        return f"{self.slug}/{self.name}"


async def problems_of(specs: Sequence[DeploymentSpec]) -> list[str]:
    """Problems of flows, parameters and schedules that need no server to find."""
    found: list[str] = []
    for spec in specs:
        try:
            flow = flow_at(spec.flow)
        except NotAFlow as wrong:
            found.append(f"{spec.script}: {wrong}")
            continue
        found += [f"{spec.script}: {problem}" for problem in _parameter_problems(spec, flow)]
        for schedule in spec.schedules:
            wrong_with_it = await schedule_problems(schedule.schedule)
            found += [f"{spec.script}: schedule {schedule.slug}: {problem}" for problem in wrong_with_it]
    return found


def find_duplicates(desired: Sequence[Desired]) -> list[str]:
    """Objects that are declared more than once."""
    counts = Counter((each.kind, each.name) for each in desired)
    scripts = {(each.kind, each.name): each.script for each in desired}
    more = {key: count for key, count in counts.items() if count > 1}
    return [f"{scripts[key]}: {key[0]} {key[1]} is declared {count} times" for key, count in more.items()]


async def problems_on(client: PrefectClient, desired: Sequence[Desired], found: Sequence[Actual]) -> list[str]:
    """Problems with this server: the pool's type, its template, and references to blocks."""
    deployments = [each for each in desired if each.kind == DEPLOYMENT]
    problems = []
    for pool in (each for each in desired if each.kind == POOL):
        problems += _pool_problems(pool, deployments, found)
    return problems + await _block_problems(client, desired, deployments)


def _pool_problems(pool: Desired, deployments: Sequence[Desired], found: Sequence[Actual]) -> list[str]:
    problems = [
        f"{pool.script}: work pool {there.name} is of type {there.fields['type']} on the server, not "
        f"{pool.fields['type']}, and a pool's type cannot be changed: delete it there, or set TAXIWAY_WORK_POOL"
        for there in found
        if there.kind == POOL and there.fields["type"] != pool.fields["type"]
    ]
    template = _template_validator(pool.fields["base_job_template"])
    for deployment in deployments:
        problems += _template_problems(deployment, template)
    return problems


def references_in(value: Any) -> Iterator[BlockReference]:
    """The references to blocks in a JSON value. The field is empty in a reference to a whole block."""
    if isinstance(value, str):
        for slug, name, path in REFERENCE.findall(value):
            yield BlockReference(slug, name, re.split(r"[.\[]", path)[1] if path else "")
    elif isinstance(value, Mapping):
        for inner in value.values():
            yield from references_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from references_in(inner)


def _parameter_problems(spec: DeploymentSpec, flow: Flow[..., Any]) -> Iterator[str]:
    signature = inspect.signature(flow.fn)
    required = {name for name, one in signature.parameters.items() if one.default is inspect.Parameter.empty}
    yield from _wrong_values(spec.parameters, flow, required)
    for schedule in spec.schedules:
        where = f"schedule {schedule.slug}"
        given = {**spec.parameters, **schedule.parameters}
        if schedule.parameters:
            yield from (f"{where}: {problem}" for problem in _wrong_values(given, flow, required))
        missing = sorted(required - given.keys())
        yield from (f"{where}: missing required parameter: {name}" for name in missing)


def _wrong_values(given: Mapping[str, Any], flow: Flow[..., Any], required: Iterable[str]) -> Iterator[str]:
    """Parameters that the flow does not have, and values that it does not accept."""
    unknown = sorted(given.keys() - inspect.signature(flow.fn).parameters.keys())
    yield from (f"{flow.name} has no parameter {name}" for name in unknown)
    known = {name: value for name, value in given.items() if name not in unknown}
    if set(required) <= known.keys():
        try:
            with _unlogged():
                flow.validate_parameters(known)
        except ParameterTypeError as wrong:
            yield from (f"parameter {line.strip(' -')}" for line in str(wrong).splitlines()[1:])
        return
    # The flow itself validates only complete parameters. The schema finds most of what it would find.
    schema = flow.parameters.model_dump_for_openapi()
    for error in validate(dict(known), schema, raise_on_error=False, ignore_required=True):
        yield f"parameter {'.'.join(map(str, error.absolute_path))}: {error.message}"


@contextmanager
def _unlogged() -> Iterator[None]:
    """Without Prefect's log of invalid parameters: our message has the script's name."""
    logger = logging.getLogger("prefect.flows")
    before, logger.disabled = logger.disabled, True
    try:
        yield
    finally:
        logger.disabled = before


def _template_validator(template: Mapping[str, Any]) -> Validator:
    """Validates job variables as the server does: a required variable may still come with the run."""
    variables = {key: value for key, value in template["variables"].items() if key != "required"}
    return validator_for(variables)(variables)


def _template_problems(deployment: Desired, template: Validator) -> Iterator[str]:
    for wrong in template.iter_errors(deployment.fields["job_variables"]):
        where = ".".join(map(str, wrong.absolute_path)) or "job variables"
        yield f"{deployment.script}: {where} does not fit the work pool's template: {wrong.message.splitlines()[0]}"


async def _block_problems(
    client: PrefectClient, desired: Sequence[Desired], deployments: Sequence[Desired]
) -> list[str]:
    fields: dict[str, Collection[str]] = {each.name: each.fields.keys() for each in desired if each.kind == BLOCK}
    problems: list[str] = []
    for deployment in deployments:
        for reference in sorted(set(references_in(deployment.fields["job_variables"]))):
            if reference.block not in fields:
                fields[reference.block] = await _fields_on_server(client, reference)
            if not fields[reference.block]:
                problems.append(f"{deployment.script}: there is no block {reference.block}")
            elif reference.field and reference.field not in fields[reference.block]:
                problems.append(f"{deployment.script}: block {reference.block} has no field {reference.field}")
    return list(dict.fromkeys(problems))


async def _fields_on_server(client: PrefectClient, reference: BlockReference) -> Collection[str]:
    """The names of a block's fields; empty if there is no such block."""
    try:
        document = await client.read_block_document_by_name(reference.name, reference.slug, include_secrets=False)
    except ObjectNotFound:
        return ()
    return document.data.keys()
