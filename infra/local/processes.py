"""Start long-lived processes with a log, wait until they are healthy, and stop them with their children."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


class NotHealthy(RuntimeError):
    """A process ended or did not answer in time; the message has the end of its log."""


@dataclass(frozen=True)
class Process:
    """A started process. Its start time distinguishes it from a later process with the same pid."""

    name: str
    pid: int
    created: float
    stop_signal: int = signal.SIGTERM

    def alive(self) -> psutil.Process | None:
        """The process, if it has not ended; None otherwise."""
        try:
            process = psutil.Process(self.pid)
            same = abs(process.create_time() - self.created) < 1.0 and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if same else None


def free_port() -> int:
    """A TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def spawn(
    name: str,
    command: Sequence[str | Path],
    log: Path,
    *,
    env: Mapping[str, str],
    cwd: Path,
    stop_with_parent: bool = True,
    stop_signal: int = signal.SIGTERM,
    **options: Any,
) -> Process:
    """Start a command in its own session, so that Ctrl-C does not reach it and the caller stops it in order.

    With `stop_with_parent` the kernel (Linux) stops it when this process is killed.
    """
    if stop_with_parent and shutil.which("setpriv"):
        command = [*_stop_with_parent(stop_signal), *command]
    with log.open("ab") as out:
        child = subprocess.Popen(
            [str(part) for part in command],
            stdout=out,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=dict(env),
            cwd=cwd,
            start_new_session=True,
            **options,
        )
    return Process(name, child.pid, psutil.Process(child.pid).create_time(), stop_signal)


def _stop_with_parent(stop_signal: int) -> list[str]:
    """The prefix of a command that the kernel stops when this process ends.

    The kernel sends no signal if the parent ended before the request, so the shell then checks its parent once.
    """
    check_parent = '[ "$PPID" = "$0" ] && exec "$@"'
    return ["setpriv", "--pdeathsig", signal.Signals(stop_signal).name, "sh", "-c", check_parent, str(os.getpid())]


def wait_healthy(process: Process, log: Path, healthy: Callable[[], bool], *, seconds: float) -> None:
    """Return when `healthy()` is true. Raises NotHealthy if the process ends before, or after `seconds`."""
    deadline = time.monotonic() + seconds
    while not healthy():
        if process.alive() is None:
            raise NotHealthy(f"{process.name} ended while starting. {log_tail(log)}")
        if time.monotonic() > deadline:
            raise NotHealthy(f"{process.name} did not answer within {seconds:.0f} s. {log_tail(log)}")
        time.sleep(0.1)


def log_tail(log: Path) -> str:
    """The log's path and its last line that is not empty."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"Last line of its log {log}: {lines[-1][:300]}" if lines else f"Its log {log} is empty"


def stop(process: Process, *, seconds: float = 15.0) -> None:
    """Signal the process to stop, wait, and kill it and its descendants if they still run."""
    root = process.alive()
    if root is None:
        return
    tree = [root, *root.children(recursive=True)]
    root.send_signal(process.stop_signal)
    psutil.wait_procs([root], timeout=seconds)
    # Children that it started while stopping.
    with suppress(psutil.NoSuchProcess):
        tree += root.children(recursive=True)
    for member in tree:
        with suppress(psutil.NoSuchProcess):
            member.kill()
    psutil.wait_procs(tree, timeout=5)
