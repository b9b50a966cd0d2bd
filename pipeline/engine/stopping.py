"""Processes that end when they should: jobs with their run, a run with the `dvc repro` that started it."""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

RUN = "READ_RUN"  # in the environment of jobs: the process of their run, and when it began
PAUSE = 0.3  # seconds between two looks
SHELLS = ("sh", "bash", "dash", "zsh", "fish")
TRAP = "set -euo pipefail; trap '' INT; "  # of every job: Ctrl-C reaches the run alone, which then ends its jobs


def name_run() -> None:
    """Let the jobs of this process know it."""
    import psutil

    own = psutil.Process()
    os.environ[RUN] = f"{own.pid} {own.create_time()}"


def end_with_run() -> None:
    """End this job as soon as its run is gone, lest it write beside the next one; nothing outside a run."""
    if RUN in os.environ:
        pid, began = os.environ[RUN].split()
        _watch(int(pid), float(began), lambda: os.kill(os.getpid(), signal.SIGKILL))


def end_with_parent() -> None:
    """End this run with the process that started it, shells in between aside; at once if that is gone already."""
    import psutil

    def end() -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    parent = next((one for one in psutil.Process().parents() if one.name() not in SHELLS), None)
    if parent is None or _takes_in_orphans(parent):
        end()
    else:
        _watch(parent.pid, parent.create_time(), end)


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


def _watch(pid: int, began: float, then: Callable[[], None]) -> None:
    import psutil

    def look() -> None:
        while True:
            try:
                if abs(psutil.Process(pid).create_time() - began) > 1:
                    break  # its number went to another
                if psutil.Process(pid).status() == psutil.STATUS_ZOMBIE:
                    break
            except psutil.NoSuchProcess:
                break
            time.sleep(PAUSE)
        then()

    threading.Thread(target=look, daemon=True).start()
