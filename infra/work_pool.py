"""The work pool as code: its type, and the job template that lets a deployment take its settings from a block."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from infra.settings import Settings, settings

# A string that is one or more placeholders and nothing else: `{{ prefect.blocks.docker-container.taxi-docker.env }}`.
PLACEHOLDER = {"type": "string", "pattern": r"^\s*\{\{.*\}\}\s*$", "title": "Placeholder"}
# What stays with the variable when its schema becomes one of two: what a form shows, and the default.
KEPT = ("title", "description", "default", "examples")


@dataclass(frozen=True)
class Pool:
    """A work pool as it is to be.

    Attributes:
        base_job_template: the worker's own, widened.
        concurrency_limit: how many runs at once over all workers; None for any number.
    """

    name: str
    type: Literal["process", "docker"]
    description: str
    base_job_template: Mapping[str, Any]
    concurrency_limit: int | None


def declared_pool(config: Settings | None = None) -> Pool:
    """The pool that the settings ask for."""
    config = config or settings()
    return Pool(
        name=config.work_pool,
        type=config.work_pool_type,
        description=f"Runs of the taxi pipelines, each in a {_PLACE[config.work_pool_type]}.",
        base_job_template=declared_template(config),
        concurrency_limit=config.work_pool_limit,
    )


def declared_template(config: Settings) -> dict[str, Any]:
    """The worker's own template, widened. On a pool of containers its defaults are the fields of the container's block:
    a deployment that says nothing of its container, as one that `prefect deploy` makes, runs in our image.
    """
    template = widened(default_template(config.work_pool_type))
    if config.work_pool_type == "docker":
        from infra.docker_container import job_variables

        for name, reference in job_variables(config.container_block).items():
            template["variables"]["properties"][name]["default"] = reference
    elif config.process_command:
        template["variables"]["properties"]["command"]["default"] = config.process_command
    return template


_PLACE = {"process": "process of the worker's machine", "docker": "container"}


def default_template(pool_type: Literal["process", "docker"]) -> dict[str, Any]:
    """The template that the installed worker of the type brings."""
    if pool_type == "docker":
        from prefect_docker.worker import DockerWorker as Worker
    else:
        from prefect.workers.process import ProcessWorker as Worker
    return Worker.get_default_base_job_template()


def widened(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template with a placeholder taken for any variable.

    The server checks a deployment's job variables against the template when it is saved, long before the worker puts
    the block's value in place of the placeholder; as it comes, the template takes a placeholder only for strings.
    """
    wider = deepcopy(dict(template))
    properties = wider["variables"]["properties"]
    for name, schema in properties.items():
        if not _takes_strings(schema):
            kept = {key: schema.pop(key) for key in KEPT if key in schema}
            properties[name] = {**kept, "anyOf": [*_branches(schema), PLACEHOLDER]}
    return wider


def _branches(schema: Mapping[str, Any]) -> list[dict[str, Any]]:
    return schema["anyOf"] if set(schema) == {"anyOf"} else [dict(schema)]


def _takes_strings(schema: Mapping[str, Any]) -> bool:
    return any(branch.get("type") == "string" and "enum" not in branch for branch in schema.get("anyOf", [schema]))
