"""The work pool as code: its type, and a job template whose variables can refer to a block."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal

from infra.settings import Settings

# A string that is one or more placeholders and nothing else: `{{ prefect.blocks.docker-container.taxi-docker.env }}`.
PLACEHOLDER = {"type": "string", "pattern": r"^\s*\{\{.*\}\}\s*$", "title": "Placeholder"}
# The keys that stay with a variable when its schema becomes one of two alternatives.
KEPT = ("title", "description", "default", "examples")


@dataclass(frozen=True)
class Pool:
    """A declared work pool.

    Attributes:
        base_job_template: the worker's default template, which also accepts placeholders.
        concurrency_limit: how many runs at once, over all workers; None for no limit.
    """

    name: str
    type: Literal["process", "docker"]
    description: str
    base_job_template: Mapping[str, Any]
    concurrency_limit: int | None


def declared_pool(config: Settings) -> Pool:
    """The pool that the settings describe."""
    return Pool(
        name=config.work_pool,
        type=config.work_pool_type,
        description=f"Runs of the taxi pipelines, each in a {_RUNS_IN[config.work_pool_type]}.",
        base_job_template=declared_template(config),
        concurrency_limit=config.work_pool_limit,
    )


def declared_template(config: Settings) -> dict[str, Any]:
    """The worker's default template, which also accepts placeholders.

    On a Docker pool the defaults are the fields of the container's block, so that a deployment without job variables,
    such as one of `prefect deploy`, runs in this project's image.
    """
    template = with_placeholders(default_template(config.work_pool_type))
    if config.work_pool_type == "docker":
        from infra.docker_container import job_variables

        for name, reference in job_variables(config.container_block).items():
            template["variables"]["properties"][name]["default"] = reference
    elif config.process_command:
        template["variables"]["properties"]["command"]["default"] = config.process_command
    return template


_RUNS_IN = {"process": "process of the worker's machine", "docker": "container"}


def default_template(pool_type: Literal["process", "docker"]) -> dict[str, Any]:
    """The default template of the installed worker of this type."""
    if pool_type == "docker":
        from prefect_docker.worker import DockerWorker as Worker
    else:
        from prefect.workers.process import ProcessWorker as Worker
    return Worker.get_default_base_job_template()


def with_placeholders(template: Mapping[str, Any]) -> dict[str, Any]:
    """The template, with a placeholder accepted for every variable.

    The server validates a deployment's job variables against the template when the deployment is saved, before the
    worker replaces placeholders. The default template accepts a placeholder only where it accepts strings.
    """
    changed = deepcopy(dict(template))
    properties = changed["variables"]["properties"]
    for name, schema in properties.items():
        if not _accepts_strings(schema):
            kept = {key: schema.pop(key) for key in KEPT if key in schema}
            alternatives = schema["anyOf"] if set(schema) == {"anyOf"} else [schema]
            properties[name] = {**kept, "anyOf": [*alternatives, PLACEHOLDER]}
    return changed


def _accepts_strings(schema: Mapping[str, Any]) -> bool:
    return any(branch.get("type") == "string" and "enum" not in branch for branch in schema.get("anyOf", [schema]))
