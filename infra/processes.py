"""Long-lived processes of this machine: started with a log, waited for, stopped in order, none left behind."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil


class NotHealthy(RuntimeError):
    """A process ended, or did not answer in time; the message has the end of its log."""


@dataclass(frozen=True)
class Process:
    """A started process, told from a later one of the same pid by its start time."""

    name: str
    pid: int
    created: float
    stop_signal: int = signal.SIGTERM

    def alive(self) -> psutil.Process | None:
        """The process, if it is still the one that was started and has not ended."""
        try:
            found = psutil.Process(self.pid)
            same = abs(found.create_time() - self.created) < 1.0 and found.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return found if same else None


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on now."""
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
    die_with_us: bool = True,
    stop_signal: int = signal.SIGTERM,
    **options: Any,
) -> Process:
    """Start a command in a session of its own, so that a Ctrl-C reaches us alone and we stop it in order.

    `die_with_us` asks the kernel (Linux) to stop it as well when this process is killed outright.
    """
    if die_with_us and shutil.which("setpriv"):
        command = [*_stopped_with_parent(stop_signal), *command]
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


def _stopped_with_parent(stop_signal: int) -> list[str]:
    """The prefix of a command that the kernel is to stop when this process ends.

    The kernel sends no signal if the parent has ended before the request. So the parent is checked after the request.
    """
    run_if_parent_lives = '[ "$PPID" = "$0" ] && exec "$@"'
    request = ["setpriv", "--pdeathsig", signal.Signals(stop_signal).name]
    return [*request, "sh", "-c", run_if_parent_lives, str(os.getpid())]


def wait_healthy(process: Process, log: Path, healthy: Callable[[], bool], *, seconds: float) -> None:
    """Return once `healthy()`. Raises NotHealthy when the process ends before, or the time is up."""
    deadline = time.monotonic() + seconds
    while not healthy():
        if process.alive() is None:
            raise NotHealthy(f"{process.name} ended at its start. {last_words(log)}")
        if time.monotonic() > deadline:
            raise NotHealthy(f"{process.name} did not answer within {seconds:.0f} s. {last_words(log)}")
        time.sleep(0.1)


def last_words(log: Path) -> str:
    """Where the log is, and its last line that says something."""
    lines = [line.strip() for line in log.read_text(errors="replace").splitlines() if line.strip()]
    return f"Its log, {log}, ends: {lines[-1][:300]}" if lines else f"Its log, {log}, is empty"


def stop(process: Process, *, seconds: float = 15.0) -> None:
    """Ask the process to stop, wait, and kill what is left of it and of its descendants."""
    found = process.alive()
    if found is None:
        return
    family = [found, *found.children(recursive=True)]
    found.send_signal(process.stop_signal)
    psutil.wait_procs([found], timeout=seconds)
    # A child that was started while its parent was stopping is caught by looking again.
    if found.is_running() and found.status() != psutil.STATUS_ZOMBIE:
        family += found.children(recursive=True)
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    psutil.wait_procs(family, timeout=5)
