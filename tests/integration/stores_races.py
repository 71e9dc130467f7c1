"""Two concurrent loads of one month into any store, and one of them killed; what must hold afterwards."""

from __future__ import annotations

import multiprocessing
import threading
import time
from multiprocessing.connection import Connection
from pathlib import Path

from flows.datasets.tlc import GREEN
from flows.stores.reconcile import verify
from flows.stores.store import Store
from tests.integration.stores_fixtures import JANUARY, Pass, Place, source

# Rows and rejected rows of the two contents of the month, by the checksum of the source.
CONTENTS = {"sha256:A": (10, 1), "sha256:B": (20, 3)}

# A process of these starts in milliseconds, with the imports done, and shares no connection with this one.
PROCESSES = multiprocessing.get_context("forkserver")
PROCESSES.set_forkserver_preload(["tests.integration.stores_races"])


def load(place: Place, checksum: str, directory: Path, start: threading.Barrier) -> None:
    rows, bad = CONTENTS[checksum]
    store, cleaning = place.open(), Pass(JANUARY, directory, rows=rows, bad=bad)
    start.wait()
    store.replace(cleaning, source(checksum))


def race(place: Place, directory: Path) -> None:
    """Two threads, each with a store of its own, load at once; both must end well."""
    start, errors = threading.Barrier(2), []

    def one(checksum: str) -> None:
        try:
            load(place, checksum, directory, start)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=one, args=(checksum,)) for checksum in CONTENTS]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    whole(place.open())


def race_with_a_kill(place: Place, directory: Path, after: float) -> None:
    """One process loads beside another one that is killed, `after` seconds into its load; then the month loads again.

    Args:
        place: where.
        directory: for the files of the loads.
        after: rounds with many of these reach every step of a load.
    """
    ours, theirs = PROCESSES.Pipe()
    victim = PROCESSES.Process(target=_load_when_told, args=(place, directory, theirs))
    victim.start()
    ours.recv()
    start = threading.Barrier(1)
    survivor = threading.Thread(target=load, args=(place, "sha256:A", directory, start))
    ours.send("go")
    survivor.start()
    time.sleep(after)
    victim.kill()
    victim.join()
    survivor.join()
    whole(place.open())
    load(place, "sha256:A", directory, threading.Barrier(1))
    assert whole(place.open()) == "sha256:A"


def _load_when_told(place: Place, directory: Path, orders: Connection) -> None:
    place.open()
    orders.send("ready")
    orders.recv()
    load(place, "sha256:B", directory, threading.Barrier(1))


def whole(store: Store) -> str:
    """Assert that rows, rejected rows and ledger entry are of one load; give the checksum of its source."""
    entry = store.entry(JANUARY)
    assert entry is not None
    stored = store.count(JANUARY), store.count_rejected(JANUARY)
    assert stored == (entry.rows_loaded, entry.rows_rejected) == CONTENTS[entry.checksum]
    assert verify({"store": store}, [GREEN]).differences == []
    return entry.checksum
