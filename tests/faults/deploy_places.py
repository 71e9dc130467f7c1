"""Two states of the declarations, one after the other, and a client whose calls can be made to fail."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass, replace

import httpx
from prefect.blocks.system import Secret
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.schedules import CronSchedule, IntervalSchedule

from infra.deploy import deploy
from infra.deploy.actual import observe
from infra.deploy.lock import LockTimes
from infra.deploy.model import Action
from infra.deploy.plan import changing, plan
from infra.deploy.spec import DeploymentSpec, ScheduleSpec
from infra.settings import Settings

# No sign of life within a test, and a lock that was left behind is soon free.
LOCK_TIMES = LockTimes(renew_every=600, stale_after=0.2, max_wait=2, poll_every=0.02)


@dataclass(frozen=True)
class Declared:
    """Settings, specs and blocks of one state."""

    config: Settings
    specs: tuple[DeploymentSpec, ...]
    blocks: dict

    async def prepared(self) -> deploy.Deploy:
        return await deploy.prepare(self.config, specs=self.specs, blocks=self.blocks)

    async def apply(self, client: PrefectClient):
        return await deploy.apply(await self.prepared(), client, times=LOCK_TIMES)

    async def on_server(self, client: PrefectClient) -> tuple[str, list[Action]]:
        """What the server has of it, the same for the same state: with neither ids nor the place's own name. And what
        is left to do."""
        prepared = await self.prepared()
        found = (await observe(client, prepared.target, prepared.desired)).actual
        rows = sorted(json.dumps([thing.kind, thing.name, thing.fields], sort_keys=True) for thing in found)
        return "\n".join(rows).replace(self.config.tag, "TAG"), changing(plan(prepared.desired, found))

    async def removed(self, client: PrefectClient) -> None:
        """Leave nothing for the next place to read past."""
        prepared = await self.prepared()
        await deploy.destroy(prepared.target, client, times=LOCK_TIMES)


def first(own: str) -> Declared:
    """Two deployments, one with two schedules; a block."""
    spec = DeploymentSpec(
        flow="tests/deploy_stubs.py:stub_month",
        name=f"{own}-one",
        description="One.",
        schedules=(
            # Switched off, so that the server has no runs to make for hundreds of them.
            ScheduleSpec(slug="monthly", schedule=CronSchedule(cron="0 5 1 * *", timezone="UTC"), active=False),
            ScheduleSpec(slug="yearly", schedule=CronSchedule(cron="0 5 1 1 *", timezone="UTC"), active=False),
        ),
    )
    config = Settings(_env_file=None, tag=own, work_pool=own, work_pool_type="process", revision="rev1")
    return Declared(config, (spec, replace(spec, name=f"{own}-gone")), {own: Secret(value="hush")})


def second(own: str) -> Declared:
    """From the first to here everything happens: create, update and delete, of every kind that knows it."""
    before = first(own)
    one = before.specs[0]
    anchor = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
    daily = IntervalSchedule(interval=dt.timedelta(days=1), anchor_date=anchor, timezone="UTC")
    changed = replace(
        one,
        description="One, changed.",
        concurrency_limit=1,
        schedules=(
            replace(one.schedules[0], parameters={"month": 1}),
            ScheduleSpec(slug="daily", schedule=daily, active=False),
        ),
    )
    more = {"revision": "rev2", "work_pool_limit": 5, "downloads_at_once": 7}
    new = replace(changed, name=f"{own}-new", schedules=())
    blocks = {own: Secret(value="psst"), f"{own}-more": Secret(value="more")}
    return Declared(before.config.model_copy(update=more), (changed, new), blocks)


class Calls:
    """Counts a client's calls, and makes the call of number `fail_at` fail: never sent, or done and not answered."""

    def __init__(self, client: PrefectClient, fail_at: int = 0, *, after: bool = False) -> None:
        self.made: list[str] = []
        self._send, self._fail_at, self._after = client._client.send, fail_at, after
        client._client.send = self.send

    async def send(self, request: httpx.Request, *arguments, **options) -> httpx.Response:
        self.made.append(f"{request.method} {request.url.path}")
        if len(self.made) != self._fail_at:
            return await self._send(request, *arguments, **options)
        if self._after:
            await self._send(request, *arguments, **options)
        raise httpx.ConnectError("the connection was cut")
