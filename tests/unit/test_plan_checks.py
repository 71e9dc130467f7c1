"""What is refused before anything is changed: one clear line each, with the script's name."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest
from prefect.client.schemas.schedules import CronSchedule

from infra.deploy import scripts
from infra.deploy.check import BlockReference, find_duplicates, problems_of, problems_on, references_in
from infra.deploy.kinds import KINDS
from infra.deploy.model import Actual, Desired
from infra.deploy.object_kind import Declarations
from infra.deploy.scripts import Invalid, declared, with_cron
from infra.deploy.spec import DeploymentSpec, ScheduleSpec
from infra.deploy.target import Target
from infra.settings import Settings

SCRIPT = "deployments/some.py"
TARGET = Target(pool="taxi", pool_type="process", tag="t", root="/code", version="abc")
MONTHLY = ScheduleSpec(slug="monthly", schedule=CronSchedule(cron="0 5 1 * *", timezone="UTC"))
GOOD = DeploymentSpec(
    flow="tests/deploy_stubs.py:stub_month",
    name="process",
    description="One month.",
    script=SCRIPT,
    schedules=(MONTHLY,),
)


class NoServer:
    """A client on which any call fails the test."""


def refused(**changes) -> list[str]:
    return asyncio.run(problems_of([replace(GOOD, **changes)]))


def refused_on_server(found=(), pool_type="process", **changes) -> list[str]:
    desired = desired_of(replace(GOOD, **changes), pool_type=pool_type)
    return asyncio.run(problems_on(NoServer(), [Desired("block", "secret/s", {"value": "x"}), *desired], found))


def desired_of(*specs: DeploymentSpec, pool_type: str = "process") -> list[Desired]:
    declared = Declarations(Settings(work_pool="taxi", work_pool_type=pool_type), TARGET, specs, {})
    return [each for kind in KINDS.values() for each in kind.declare(declared)]


def test_a_valid_declaration_has_no_problems():
    assert refused() == []
    assert refused_on_server() == []


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"flow": "tests/deploy_stubs.py:gone"}, "tests/deploy_stubs.py has no gone"),
        ({"flow": "tests/deploy_stubs.py:not_a_flow"}, "is not a flow"),
        ({"flow": "tests/no_such_file.py:x"}, "does not import: ModuleNotFoundError"),
        ({"parameters": {"year": 2021}}, "stub_month has no parameter year"),
        ({"parameters": {"month": 13}}, "parameter month: Input should be less than or equal to 12"),
        (
            {"schedules": (replace(MONTHLY, parameters={"month": 0}),)},
            "schedule monthly: parameter month: Input should",
        ),
        (
            {"schedules": (replace(MONTHLY, schedule=CronSchedule(cron="0 0 5 1 * *", timezone="UTC")),)},
            "schedule monthly: cron '0 0 5 1 * *' UTC: a cron rule has five fields",
        ),
        (
            {"flow": "tests/deploy_stubs.py:stub_required"},
            "schedule monthly: missing required parameter: year",
        ),
        ({"flow": "tests/deploy_stubs.py:stub_required", "parameters": {"service": 1}}, "parameter service: 1 is not"),
    ],
)
def test_refused_without_a_server(changes, why):
    problem, *more = refused(**changes)
    assert why in problem
    assert problem.startswith(f"{SCRIPT}: ")
    assert all("\n" not in line for line in (problem, *more))


def test_a_flow_with_a_required_parameter_may_be_deployed_without_a_schedule():
    assert refused(flow="tests/deploy_stubs.py:stub_required", schedules=()) == []


def test_prefect_does_not_log_the_reported_problems(caplog, capfd):
    assert refused(parameters={"month": 13})
    assert caplog.text == ""
    assert capfd.readouterr() == ("", "")


def test_every_problem_is_reported():
    assert len(refused(parameters={"year": 2021, "month": 13})) == 2


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"job_variables": {"env": {"A": {"no": "text"}}}}, "env does not fit the work pool's template"),
        ({"job_variables": {"command": "{{ prefect.blocks.secret.s.valeu }}"}}, "block secret/s has no field valeu"),
    ],
)
def test_refused_for_the_pool_and_the_blocks(changes, why):
    (problem,) = refused_on_server(**changes)
    assert why in problem
    assert problem.startswith(f"{SCRIPT}: ")


def test_a_block_that_this_deploy_creates_can_be_referred_to():
    assert refused_on_server(job_variables={"command": "{{ prefect.blocks.secret.s.value }}"}) == []


def test_a_pool_of_another_type_is_refused_because_a_type_cannot_be_changed():
    (problem,) = refused_on_server(found=[Actual("work pool", "taxi", {"type": "docker"}, "id", ours=False)])
    assert "work pool taxi is of type docker on the server, not process" in problem


def test_references_are_found_wherever_they_are():
    value = {
        "image": "{{ prefect.blocks.docker-container.taxi-docker.image }}",
        "env": {"A": "x {{ prefect.blocks.secret.s.value.inner }}"},
        "volumes": ["{{prefect.blocks.docker-container.taxi-docker.volumes[1]}}", 3],
        "whole": "{{ prefect.blocks.docker-registry-credentials.reg }}",
    }
    assert set(references_in(value)) == {
        BlockReference("docker-container", "taxi-docker", "image"),
        BlockReference("secret", "s", "value"),
        BlockReference("docker-container", "taxi-docker", "volumes"),
        BlockReference("docker-registry-credentials", "reg", ""),
    }


def test_an_object_declared_twice_is_refused():
    desired = desired_of(GOOD, GOOD)
    assert f"{SCRIPT}: deployment stub_month/process is declared 2 times" in find_duplicates(desired)
    assert f"{SCRIPT}: schedule stub_month/process#t-monthly is declared 2 times" in find_duplicates(desired)


def test_every_failing_script_is_named(tmp_path, monkeypatch):
    made = "CronSchedule(cron='0 5 1 * *', timezone='Mars/Olympus')"
    (tmp_path / "zone.py").write_text(f"from prefect.client.schemas.schedules import CronSchedule\n{made}")
    (tmp_path / "broken.py").write_text("import no_such_module")
    (tmp_path / "empty.py").write_text("")
    monkeypatch.setattr(scripts, "ROOT", tmp_path)
    with pytest.raises(Invalid) as caught:
        declared(["zone.py", "broken.py", "empty.py"])
    zone, broken, empty = caught.value.problems
    assert zone.startswith('zone.py: Invalid timezone: "Mars/Olympus"')
    assert broken == "broken.py: ModuleNotFoundError: No module named 'no_such_module'"
    assert empty.startswith("empty.py: ")


def test_the_cron_option_adds_a_schedule():
    other = replace(GOOD, name="other")
    changed, same = with_cron([GOOD, other], "stub_month/process", "*/1 * * * *", TARGET)
    assert [schedule.slug for schedule in changed.schedules] == ["monthly", "command-line"]
    assert same == other


@pytest.mark.parametrize(
    ("name", "cron", "why"),
    [
        (
            "stub_month/gone",
            "0 5 1 * *",
            "there is no deployment stub_month/gone; the deployments",
        ),
        ("stub_month/process", "every month", "Invalid cron string"),
    ],
)
def test_an_invalid_cron_option_is_refused(name, cron, why):
    with pytest.raises(Invalid, match=why):
        with_cron([GOOD], name, cron, TARGET)
