"""Processes that end when they should: jobs with their run, a run with the `dvc repro` that started it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from pipeline.engine import leases
from pipeline.engine.holders import OF_RUN
from read.errors import InputError
from read.files import machine
from read.processes import birth, is_alive

PAUSE = 0.3  # seconds between two looks
SHELLS = ("sh", "bash", "dash", "zsh", "fish")
TRAP = "set -euo pipefail; trap '' INT; "  # of every job: Ctrl-C reaches the run alone, which then ends its jobs


def end_with_run() -> None:
    """End this job as soon as its run is gone, lest it write beside the next one; nothing outside a run.

    On the run's own machine by its process. Elsewhere the job works on while the run's lease is there, whether or not
    it is touched, and ends when another run holds it, or the run gave it up.

    Raises:
        InputError: the run is gone already, as that of a job that waited in a queue.
    """
    if OF_RUN not in os.environ:
        return
    run = os.environ[OF_RUN]
    where, pid, began = run.split()
    here = where == machine()

    def lives() -> bool:
        return is_alive(int(pid), float(began)) if here else leases.is_run(run)

    def end() -> None:
        leases.release()
        os.kill(os.getpid(), signal.SIGKILL)

    if not lives():
        raise InputError(f"the run that this job belongs to is gone (process {pid}); it makes nothing")
    _watch(lives, end, PAUSE if here else leases.BEAT)


def end_with_launcher(launcher: str) -> None:
    """End this process as soon as the one that shares its work out among several is gone, be it already.

    Args:
        launcher: its number and the time at which it began (`read.processes.birth`).
    """
    pid, began = launcher.split()

    def end() -> None:
        leases.release()
        os.kill(os.getpid(), signal.SIGKILL)

    _watch(lambda: is_alive(int(pid), float(began)), end)


def end_with_parent() -> None:
    """End this run with the process that started it, shells in between aside; at once if that is gone already."""
    import psutil

    def end() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    parent = next((one for one in psutil.Process().parents() if one.name() not in SHELLS), None)
    if parent is None or _takes_in_orphans(parent):
        end()
    else:
        began = birth(parent.pid)
        _watch(lambda: began is not None and is_alive(parent.pid, began), end)


def _takes_in_orphans(process: Any) -> bool:
    """Whether this is who becomes the parent of those that lose theirs; DVC may be a container's first process."""
    return process.name() == "systemd" or (process.pid == 1 and not any("dvc" in word for word in process.cmdline()))


def stop_on_signals(scheduler: Any) -> None:
    """On Ctrl-C and SIGTERM, end the jobs at once and say that the next run goes on.

    Args:
        scheduler: Snakemake's class of schedulers, which would let jobs work on for as long as they like.
    """

    def stop(*_: Any) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        end_children()
        print("\nstopped; run again to go on", file=sys.stderr, flush=True)
        raise KeyboardInterrupt

    signal.signal(signal.SIGINT, stop)
    signal.signal(signal.SIGTERM, stop)
    scheduler.exit_gracefully = stop


def end_children() -> None:
    """End all that this process started."""
    import psutil

    children = psutil.Process().children(recursive=True)
    for child in children:
        try:
            child.terminate()
        except psutil.NoSuchProcess:
            continue
    for child in psutil.wait_procs(children, timeout=5)[1]:
        child.kill()


def _watch(lives: Callable[[], bool], then: Callable[[], None], pause: float = PAUSE) -> None:
    def look() -> None:
        while lives():
            time.sleep(pause)
        then()

    threading.Thread(target=look, daemon=True).start()
