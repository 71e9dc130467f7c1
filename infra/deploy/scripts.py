"""Find the deployment scripts and read what they declare."""

from __future__ import annotations

import runpy
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from prefect.client.schemas.schedules import CronSchedule
from pydantic import ValidationError

from infra.deploy.entrypoint import full_name
from infra.deploy.spec import DeploymentSpec, ScheduleSpec
from infra.deploy.target import Target
from infra.settings import ROOT

COMMAND_LINE = "command-line"
OURS = ("deployments.", "flows.", "infra.")


class Invalid(Exception):
    """Declarations that cannot be deployed; nothing was changed.

    Attributes:
        problems: a line each, with the script's name.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = list(problems)
        super().__init__("\n".join(problems))


def scripts() -> list[str]:
    """The deployment scripts: every file of `deployments/`, as a path from the project's root, by name."""
    return sorted(f"deployments/{path.name}" for path in (ROOT / "deployments").glob("[!_]*.py"))


def declared(of: Sequence[str] | None = None) -> list[DeploymentSpec]:
    """The specs that the scripts (None: all scripts) declare.

    Raises:
        Invalid: a script fails; all failing scripts are named.
    """
    specs: list[DeploymentSpec] = []
    problems: list[str] = []
    for script in scripts() if of is None else of:
        try:
            specs += read_script(script)
        except Exception as wrong:
            problems += [f"{script}: {reason}" for reason in reasons(wrong)]
    if problems:
        raise Invalid(problems)
    return specs


def read_script(script: str) -> list[DeploymentSpec]:
    """The DEPLOYMENTS of a script, which is run as a module and so does not deploy. Raises what the script raises."""
    namespace = runpy.run_path(str(ROOT / script), run_name=Path(script).stem)
    return [replace(spec, script=script) for spec in namespace["DEPLOYMENTS"]]


def reasons(wrong: Exception) -> list[str]:
    """The problems of an exception, one line each."""
    if isinstance(wrong, ValidationError):
        return [error["msg"].removeprefix("Value error, ") for error in wrong.errors()]
    first = (str(wrong).splitlines() or [""])[0]
    # Exceptions of our own code have clear messages.
    return [first if type(wrong).__module__.startswith(OURS) else f"{type(wrong).__name__}: {first}"]


def with_cron(specs: Sequence[DeploymentSpec], name: str, cron: str, target: Target) -> list[DeploymentSpec]:
    """The specs with one more schedule, in UTC, for the deployment `name`. The next deploy without it deletes it.

    Raises Invalid if no spec has the name, or Prefect cannot read the rule.
    """
    script = "command line"
    try:
        schedule = ScheduleSpec(slug=COMMAND_LINE, schedule=CronSchedule(cron=cron, timezone="UTC"))
    except ValidationError as wrong:
        raise Invalid([f"{script}: {reason}" for reason in reasons(wrong)]) from None
    names = [full_name(spec, target) for spec in specs]
    if name not in names:
        raise Invalid([f"{script}: there is no deployment {name}; the deployments are {', '.join(names)}"])
    return [
        replace(spec, schedules=(*spec.schedules, schedule)) if called == name else spec
        for spec, called in zip(specs, names, strict=True)
    ]
