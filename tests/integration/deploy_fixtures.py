"""A place of one test's own on the shared server, and ways to deploy there: fixtures."""

from __future__ import annotations

import asyncio
import datetime as dt
import uuid
from dataclasses import dataclass, field

import pytest

from infra.settings import Settings


@dataclass
class Place:
    """A tag, a pool and specs of one test's own on the shared server."""

    config: Settings
    specs: list
    blocks: dict = field(default_factory=dict)

    async def prepared(self, **options):
        from infra.deploy import deploy

        return await deploy.prepare(self.config, specs=self.specs, blocks=self.blocks, **options)

    async def plan(self, client, **options):
        from infra.deploy import deploy

        return await deploy.planned(await self.prepared(**options), client)

    async def apply(self, client, **options):
        from infra.deploy import deploy

        return await deploy.apply(await self.prepared(**options), client)

    @property
    def name(self) -> str:
        return f"stub_month/{self.specs[0].name}"

    def schedule(self, slug: str) -> str:
        return f"{self.name}#{self.config.tag}-{slug}"


@pytest.fixture
def place(stack):
    """A place with one deployment that has the three kinds of schedules, and one block with a secret."""
    from prefect.blocks.system import Secret
    from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule, RRuleSchedule

    from infra.deploy.spec import DeploymentSpec, ScheduleSpec

    own = f"t{uuid.uuid4().hex[:8]}"
    anchor = dt.datetime(2026, 1, 1, 7, 30, tzinfo=dt.UTC)
    rule = "DTSTART:20260105T060000\nRRULE:FREQ=WEEKLY;BYDAY=MO"
    spec = DeploymentSpec(
        flow="tests/deploy_stubs.py:stub_month",
        name=own,
        description="A month of the test's.",
        script="deployments/of_the_test.py",
        parameters={"service": "green"},
        concurrency_limit=2,
        schedules=(
            ScheduleSpec(slug="monthly", schedule=CronSchedule(cron="0 5 1 * *", timezone="UTC")),
            ScheduleSpec(slug="weekly", schedule=RRuleSchedule(rrule=rule, timezone="America/New_York")),
            ScheduleSpec(
                slug="check",
                schedule=IntervalSchedule(interval=dt.timedelta(hours=12), anchor_date=anchor, timezone="UTC"),
                parameters={"month": 2},
            ),
        ),
    )
    config = Settings(_env_file=None, tag=own, work_pool=own, work_pool_type="process", revision="rev1")
    return Place(config, [spec], {own: Secret(value="hush")})


@pytest.fixture
def on_server(stack):
    """Run a test's coroutine with a client of the server."""

    def run(work):
        from prefect.client.orchestration import get_client

        async def with_client():
            async with get_client() as client:
                return await work(client)

        return asyncio.run(with_client())

    return run


@pytest.fixture
def command(stack, place, monkeypatch):
    """Run the command line on the place's own tag and pool. Gives its result: exit_code, stdout, stderr."""
    from typer.testing import CliRunner

    from infra.settings import settings

    monkeypatch.setenv("TAXIWAY_TAG", place.config.tag)
    monkeypatch.setenv("TAXIWAY_WORK_POOL", place.config.work_pool)
    settings.cache_clear()

    def run(*arguments):
        from infra.deploy.__main__ import app

        return CliRunner().invoke(app, arguments)

    yield run
    settings.cache_clear()


def told(actions) -> set[tuple[str, str]]:
    return {(str(action.verb), action.name) for action in actions}


def changes(actions) -> set[tuple[str, str]]:
    from infra.deploy.plan import changing

    return told(changing(actions))
