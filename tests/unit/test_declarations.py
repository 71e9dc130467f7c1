"""What the deployment scripts declare: all of them, deployable, and the same as was last reviewed."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

from infra.deploy.check import find_duplicates, problems_of, problems_on
from infra.deploy.kinds import KINDS
from infra.deploy.kinds.deployment import desired_deployment
from infra.deploy.object_kind import Declarations
from infra.deploy.scripts import declared, scripts
from infra.deploy.target import IMAGE_ROOT, Target
from infra.docker_container import DockerContainer, declared_container
from infra.settings import ROOT, Settings
from tests.unit.declared_snapshot import DEFAULTS, DIGEST, FOLDER


@pytest.fixture(scope="module")
def specs():
    return declared()


PROGRAM = """
import json, sys
from infra.deploy.scripts import declared
declared()
loaded = [name for name in sys.modules if name.split(".")[0] in ("flows", "pyarrow", "docker")]
from tests.unit.declared_snapshot import snapshots
print(json.dumps({"loaded": loaded, "snapshots": snapshots()}))
"""


@pytest.fixture(scope="module")
def fresh() -> dict[str, Any]:
    """What a process without this machine's settings and without a server says of the declarations."""
    others = {name: value for name, value in os.environ.items() if not name.startswith("TAXIWAY_")}
    environment = others | DEFAULTS | {"PREFECT_API_URL": "http://127.0.0.1:1/api"}
    made = subprocess.run(
        [sys.executable, "-c", PROGRAM], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    return json.loads(made.stdout)


def test_declarations_match_their_snapshots(fresh):
    """A script without a snapshot has not been reviewed yet."""
    now = fresh["snapshots"]
    reviewed = {path.name: path.read_text() for path in FOLDER.glob("*.json")}
    assert len(reviewed) >= 12
    for name, text in reviewed.items():
        assert json.loads(text) == json.loads(now[name]), f"{name}: python -m tests.unit.declared_snapshot"


def test_scripts_are_found_by_their_folder():
    files = {f"deployments/{path.name}" for path in (ROOT / "deployments").glob("*.py")}
    assert {name for name in files if "\nDEPLOYMENTS = " in (ROOT / name).read_text()} == set(scripts())


def test_declarations_have_no_problems(specs):
    assert asyncio.run(problems_of(specs)) == []


@pytest.mark.parametrize("pool_type", ["docker", "process"])
def test_declarations_fit_the_pool_and_the_block(specs, pool_type):
    target = Target("taxi", pool_type, "taxiway", IMAGE_ROOT, "REVISION", DIGEST)
    config = Settings(work_pool="taxi", work_pool_type=pool_type)
    blocks = {spec.infrastructure: declared_container(DIGEST) for spec in specs[:1]}
    desired = [each for kind in KINDS.values() for each in kind.declare(Declarations(config, target, specs, blocks))]
    assert find_duplicates(desired) == []
    assert asyncio.run(problems_on(None, desired, [])) == []


def test_every_field_of_the_container_comes_from_the_block_by_reference(specs):
    target = Target("taxi", "docker", "taxiway", IMAGE_ROOT, "REVISION", DIGEST)
    deployment = desired_deployment(specs[0], target)
    variables = deployment.fields["job_variables"]
    assert variables["image"] == "{{ prefect.blocks.docker-container.taxi-docker.image }}"
    assert set(variables) == set(DockerContainer.model_fields)


def test_the_three_kinds_of_schedule_are_there_and_the_monthly_load_is_on_the_first(specs):
    schedules = {schedule.slug: schedule.schedule for spec in specs for schedule in spec.schedules}
    assert {type(schedule) for schedule in schedules.values()} == {CronSchedule, RRuleSchedule, IntervalSchedule}
    assert (schedules["monthly"].cron, schedules["monthly"].timezone) == ("0 5 1 * *", "UTC")


def test_a_scheduled_run_is_given_no_fixed_month(specs):
    for spec in specs:
        for schedule in spec.schedules:
            given = {**spec.parameters, **schedule.parameters}
            assert not {"month", "months"} & {name for name, value in given.items() if value is not None}


def test_declarations_need_no_server_and_no_flow_code(fresh):
    assert fresh["loaded"] == []


def test_revision_and_image_are_in_the_description(specs):
    target = Target("taxi", "docker", "taxiway", IMAGE_ROOT, "abc123", DIGEST)
    deployment = desired_deployment(replace(specs[0], description="A load."), target)
    assert deployment.fields["version"] == "abc123"
    assert deployment.fields["description"] == f"A load.\n\nCode: revision abc123, image {DIGEST}."


def test_scripts_run_from_anywhere(tmp_path):
    """`python deployments/NAME.py` finds the project; with no server it says so in one line and changes nothing."""
    script = Path(ROOT / scripts()[0])
    environment = os.environ | {
        "PREFECT_API_URL": "http://127.0.0.1:1/api",
        "TAXIWAY_WORK_POOL_TYPE": "process",
        "TAXIWAY_POSTGRES_URL": "postgresql://u:p@127.0.0.1:1/d",
    }
    ran = subprocess.run(
        [sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert ran.returncode == 1
    assert ran.stderr.startswith("taxiway: ")
    assert "Traceback" not in ran.stderr
