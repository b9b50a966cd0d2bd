"""Who works on what, so that nobody writes beside another: leases, which hardly outlive their process.

A lease is a small file in `.snakemake/leases` that a process holds while it works: a run, and each of its jobs. It
names the process, its machine and its Slurm job. The holder touches it every `BEAT` seconds and removes it at its end.
On the holder's own machine a lease lives as long as its process does. From elsewhere it is watched: it lives if it is
touched, and is over `STALE` seconds after the last time, by the clock of the file server, whatever those of the two
machines say. Who finds that its own lease went to another, as after hours of sleep, ends at once.

The lease of a run stays when the run ends, as old as can be: by it jobs of a run that is gone know that another came.
"""

import atexit
import errno
import json
import os
import re
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pipeline.engine.holders import Lease, is_here
from read.errors import InputError
from read.files import digest_of, machine
from read.processes import is_alive

FOLDER = Path(".snakemake/leases")
RUN = "run"  # the lease of a run
BEAT = 10.0  # seconds between two touches
STALE = 120.0  # seconds without one, after which a process of another machine counts as gone
PAUSE = 0.3  # seconds between two looks
NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)  # of a file system without `flock`
LONGEST = 100  # characters of a lease's name


def take(job: str) -> Lease:
    """Hold the lease of a job until this process ends, however it ends.

    Raises:
        InputError: another process works on it. It says which, and how to end it.
    """
    own, place = Lease.own(job), _place(job)
    text = json.dumps(asdict(own))
    while (found := _claim(place, text)) is not None:
        other = _parse(found, job)
        if _is_live(place, other):
            what = "another run is at work in this folder" if job == RUN else "another process works on the same"
            raise InputError(f"{what} (process {other.pid}); wait for it, or end it: `{other.end}` ({other})")
        _take_away(place, found)
    _ends[own] = _keep(place, text)
    return own


@contextmanager
def holding(job: str) -> Iterator[None]:
    """Hold a lease for the length of a block; others of the same job wait for it."""
    own = None
    while own is None:
        try:
            own = take(job)
        except InputError:
            time.sleep(PAUSE)
    try:
        yield
    finally:
        _ends.pop(own)()


def wait_for_jobs() -> None:
    """At the beginning of a run, wait for jobs of a run that is gone: they end when they see another run's lease.

    Raises:
        InputError: jobs that do not end, or that were started by hand. It says which, and how to end them.
    """
    last, told = time.monotonic() + STALE + 2 * BEAT, False
    seen: dict[Path, int] = {}
    while others := list(_jobs()):
        began = [seen.setdefault(place, touched) for place, _, touched in others]
        stay = [
            lease
            for (_, lease, touched), first in zip(others, began, strict=True)
            if time.monotonic() > last or (lease.run is None and (touched != first or is_here(lease)))
        ]
        if stay:
            lines = [f"  {lease}; to end it: `{lease.end}`" for lease in stay]
            raise InputError("jobs are at work in this folder; wait for them, or end them:\n" + "\n".join(lines))
        if not told:
            names = "\n".join(f"  {lease}" for _, lease, _ in others)
            print(f"waiting for jobs of an earlier run to end:\n{names}", file=sys.stderr, flush=True)
        told = True
        time.sleep(PAUSE)


def is_running() -> bool:
    """Whether a run is at work in this folder, as far as can be told without waiting and writing."""
    try:
        text, touched = _read(_place(RUN))
    except FileNotFoundError:
        return False
    lease = _parse(text, RUN)
    return is_alive(lease.pid, lease.began) if is_here(lease) else time.time() - touched / 1e9 < STALE


def is_run(process: str) -> bool:
    """Whether a run is the one whose lease is here; also where none is, as where no files are shared with it."""
    try:
        text, touched = _read(_place(RUN))
    except OSError:
        return True
    lease = _parse(text, RUN)
    return touched > 0 and (lease.process == process or not lease.machine)


def makers() -> set[str]:
    """The processes that hold a lease and may be alive, as drafts name them: their machine and number."""
    return {f"{lease.machine}-{lease.pid}" for _, lease, _ in _jobs()}


def release() -> None:
    """Give up what this process holds."""
    for end in list(_ends.values()):
        end()


def end(*_: Any) -> None:
    """On SIGTERM: give up what this process holds, and end."""
    release()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    os.kill(os.getpid(), signal.SIGTERM)


_ends: dict[Lease, Callable[[], None]] = {}  # what gives up each lease of this process


def _place(job: str) -> Path:
    name = re.sub(r"[^\w.]+", "-", job)
    return FOLDER / (f"{name}.json" if len(name) <= LONGEST else f"{name[:LONGEST]}-{digest_of(job)}.json")


def _claim(place: Path, text: str) -> str | None:
    """Write a lease where none is, whole; what the one says that is there, None where it is ours now."""
    place.parent.mkdir(parents=True, exist_ok=True)
    draft = place.with_name(f".{place.name}.{machine()}-{os.getpid()}")
    draft.write_text(text, encoding="utf-8")
    try:
        try:
            os.link(draft, place)  # one step for the file server, too, that only one process can take
        except FileExistsError:
            raise
        except OSError:  # a file system without hard links
            with place.open("x", encoding="utf-8") as file:
                file.write(text)
    except FileExistsError:
        with suppress(FileNotFoundError):
            found = _read(place)[0]
            return None if found == text else found  # the server may have heard a request twice
        return _claim(place, text)
    finally:
        draft.unlink(missing_ok=True)
    return None


def _read(place: Path) -> tuple[str, int]:
    """What a lease says, and when it was touched: ns. Opened, since a network file system then asks its server."""
    with place.open(encoding="utf-8", errors="replace") as file:
        return file.read(), os.fstat(file.fileno()).st_mtime_ns


def _parse(text: str, job: str) -> Lease:
    """What a lease says; of half of one, as a file system without links may show, nothing is known but its time."""
    try:
        return Lease(**json.loads(text))
    except (ValueError, TypeError):
        return Lease(job)


def _is_live(place: Path, lease: Lease) -> bool:
    """Whether a holder lives; one of another machine is watched until its lease is touched, or was not for too long."""
    if is_here(lease):
        return is_alive(lease.pid, lease.began)
    told, first = False, None
    with suppress(FileNotFoundError):
        while _now() - (touched := _read(place)[1]) < STALE * 1e9:
            if touched != (first := first or touched):
                return True
            if not told:
                print(f"waiting to see whether it still works: {lease}", file=sys.stderr, flush=True)
            told = True
            time.sleep(PAUSE)
    return False


def _now() -> int:
    """The time by the clock that writes the leases' times, ns."""
    probe = FOLDER / f".clock.{machine()}-{os.getpid()}-{threading.get_ident()}"
    probe.touch()
    now = probe.stat().st_mtime_ns
    probe.unlink()
    return now


def _take_away(place: Path, text: str) -> None:
    """Remove a lease that is over, unless another process was quicker and holds it now."""
    away = place.with_name(f".{place.name}.{machine()}-{os.getpid()}.over")
    with suppress(FileNotFoundError):
        place.rename(away)
        if away.read_text(encoding="utf-8", errors="replace") != text:
            with suppress(OSError):
                os.link(away, place)  # its holder does the same at its next beat
        away.unlink()


def _jobs() -> Iterator[tuple[Path, Lease, int]]:
    """The leases of jobs that may be live, and when each was touched; those that are over are removed."""
    places = sorted(set(FOLDER.glob("*.json")) - {_place(RUN)})
    now = _now() if places else 0
    for place in places:
        with suppress(FileNotFoundError):
            text, touched = _read(place)
            lease = _parse(text, place.stem)
            if is_alive(lease.pid, lease.began) if is_here(lease) else now - touched < STALE * 1e9:
                yield place, lease, touched
            else:
                _take_away(place, text)


def _keep(place: Path, text: str) -> Callable[[], None]:
    """Touch a lease until this process ends, and give it up then; what gives it up before."""
    place, own, ended, guard = place.absolute(), os.getpid(), threading.Event(), threading.Lock()

    def touch() -> bool:
        try:
            if _read(place)[0] == text:
                os.utime(place)
                return True
            return False
        except FileNotFoundError:  # somebody tidied up
            return _claim(place, text) is None
        except OSError:
            return True  # the file server is away; it will tell when it is back

    def beat() -> None:
        while not ended.wait(BEAT):
            with guard:
                if not ended.is_set() and not touch():
                    print(f"error: {place} went to another process; this one ends", file=sys.stderr, flush=True)
                    os.kill(own, signal.SIGKILL)

    def end() -> None:
        if ended.is_set() or os.getpid() != own:
            return
        ended.set()
        atexit.unregister(end)
        held = guard.acquire(timeout=2)
        with suppress(OSError):
            if _read(place)[0] == text:
                os.utime(place, (0, 0)) if place.name == _place(RUN).name else place.unlink()
        if held:
            guard.release()

    atexit.register(end)
    threading.Thread(target=beat, daemon=True).start()
    return end
