"""`python -m tests.faults.killed_deploy OWN COUNT`: kill a deploy, and leave its lock behind, after COUNT actions."""

from __future__ import annotations

import asyncio
import os
import signal
import sys

from prefect.client.orchestration import get_client

from infra.deploy import deploy
from tests.faults.deploy_places import first


async def main(own: str, count: int) -> None:
    done: list[object] = []

    def kill_after(action: object) -> None:
        done.append(action)
        if len(done) == count:
            os.kill(os.getpid(), signal.SIGKILL)

    async with get_client() as client:
        await deploy.apply(await first(own).prepared(), client, on_done=kill_after)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2])))
