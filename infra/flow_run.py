"""What a run's container runs: `prefect flow-run execute`, with one start of Python fewer and a shorter one.

Prefect's command first loads all of its command line (0.8 s of processor time more than the one command, where it was
measured), then prepares a workspace for the flow's code in a process of its own (1.0 s), then starts the flow's engine.
The code is in the image, so the engine can start at once. Everything else is Prefect's: cancelling, crashes, and the
run that goes back on the schedule when the container is told to stop. tests/benchmarks/container_start.py measures the
whole.
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


class EngineStarter(EngineCommandStarter):
    """Starts the flow's engine, in the place of Prefect's starter with a workspace.

    Prefect's own process worker starts a run's command in this way. Remove this module when Prefect starts the engine
    of code that needs no workspace without one.
    """

    def __init__(self, *, workspace_root: Path, control_channel: ControlChannel) -> None:
        super().__init__(control_channel=control_channel)
        self.hook_runner = HookRunner(resolve_flow=load_flow_from_flow_run)

    def close(self) -> None:
        """Nothing was made that has to go."""


def main() -> None:
    """Execute the flow run that PREFECT__FLOW_RUN_ID names; the exit status is Prefect's."""
    flow_run.WorkspaceResolvingEngineCommandStarter = EngineStarter
    with ends_in_one_line():
        require_server()
        anyio.run(flow_run.execute)


if __name__ == "__main__":
    main()
