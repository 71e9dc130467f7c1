"""The command of a run's container: a faster start of `prefect flow-run execute`.

Prefect's command imports its whole command line (0.8 s of processor time more than this command), prepares a workspace
for the flow's code in another process (1.0 s), and then starts the flow's engine. The code is in the image, so this
command starts the engine directly. Cancelling, crashes and rescheduling after a stop are Prefect's.
tests/benchmarks/container_start.py measures the start; tests/unit/test_flow_run.py fails when Prefect's private modules
change. Remove this module when Prefect starts the engine without a workspace.
"""

from __future__ import annotations

from pathlib import Path

import anyio
from prefect.cli import flow_run
from prefect.flows import load_flow_from_flow_run
from prefect.runner._control_channel import ControlChannel
from prefect.runner._hook_runner import HookRunner
from prefect.runner._starter_engine import EngineCommandStarter

from infra.server import ends_in_one_line, require_server

# The name in `prefect.cli.flow_run` of the class that EngineStarter replaces.
STARTER = "WorkspaceResolvingEngineCommandStarter"


class EngineStarter(EngineCommandStarter):
    """Starts the flow's engine without a workspace, as Prefect's process worker does."""

    def __init__(self, *, workspace_root: Path, control_channel: ControlChannel) -> None:
        super().__init__(control_channel=control_channel)
        self.hook_runner = HookRunner(resolve_flow=load_flow_from_flow_run)

    def close(self) -> None:
        """Prefect removes its workspace here; there is none."""


def main() -> None:
    """Execute the flow run that PREFECT__FLOW_RUN_ID names; the exit status is Prefect's."""
    setattr(flow_run, STARTER, EngineStarter)
    with ends_in_one_line():
        require_server()
        anyio.run(flow_run.execute)


if __name__ == "__main__":
    main()
