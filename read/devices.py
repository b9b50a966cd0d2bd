"""GPUs of this machine, of which each process takes its own.

A process holds a GPU by a lock on a file of the GPU's name, in a folder that all processes of one user share; the lock
ends with the process. GPUs go by their UUID: a number means another one in each job of a cluster, and CUDA may count
in another order than `nvidia-smi`, whose order `CUDA_VISIBLE_DEVICES` is read in here.
"""

import os
import re
import subprocess
import sys
import time
from pathlib import Path
from typing import IO

from read.errors import InputError

VISIBLE = "CUDA_VISIBLE_DEVICES"
RANK = "LOCAL_RANK"  # torchrun's: of processes that share what their launcher took
PAUSE = 0.5  # seconds between two looks for a free one
GPU, MIG = re.compile(r"^GPU \d+:.*\(UUID: ([\w-]+)\)"), re.compile(r"^\s+MIG .*\(UUID: ([\w/-]+)\)")

_held: dict[str, IO[str]] = {}  # GPU -> its locked file, for the life of the process


def visible_devices() -> list[str]:
    """The GPUs that a process may use, by what CUDA_VISIBLE_DEVICES can say: UUIDs where they are known, else numbers.

    Found without CUDA, which would hold this process to what it sees first.
    """
    there = _all_devices()
    flat = [name for parts in there for name in parts]
    given = os.environ.get(VISIBLE)
    if given is None:
        return flat
    found: list[str] = []
    for word in given.split(","):
        name = word.strip()
        if name.isdigit() and there:
            if int(name) >= len(there):
                break
            name = there[int(name)][0]
        elif not name or name == "-1" or name in found:
            break  # as CUDA reads it: what follows a wrong one is not visible
        found.append(next((known for known in flat if not name.isdigit() and known.startswith(name)), name))
    return found


def take_devices(count: int = 1) -> list[str]:
    """Take free GPUs for the life of this process and set CUDA_VISIBLE_DEVICES to them, before CUDA begins.

    A process that becomes another by exec gives them up. Waits, and says so, while too few are free. Where a single
    one is visible because CUDA_VISIBLE_DEVICES says so, who set it has chosen, and it is not waited for. The
    processes of torchrun have what their launcher took; a process that asks again has what it took before.

    Args:
        count: how many.

    Returns:
        the GPUs; nothing where this machine has none.

    Raises:
        InputError: fewer are visible than are asked for.
    """
    if _held:
        return list(_held)
    visible = visible_devices()
    if RANK in os.environ or (count == 1 and not visible):
        return visible
    if count > len(visible):
        raise InputError(f"{count} GPUs are asked for, and {len(visible)} are visible: {', '.join(visible) or 'none'}")
    if count == len(visible) == 1 and VISIBLE in os.environ:
        return visible
    _wait_for(count, visible)
    os.environ[VISIBLE] = ",".join(_held)
    return list(_held)


def take_device() -> None:
    """Take a free GPU, where there are any and this build of torch can use them."""
    import torch

    if torch.backends.cuda.is_built():
        take_devices()


def _all_devices() -> list[list[str]]:
    """All GPUs in the order of `nvidia-smi`, each with the parts that it is divided into (MIG), or as a whole."""
    try:
        said = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, timeout=60, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return [[str(number)] for number, _ in enumerate(Path("/dev").glob("nvidia[0-9]*"))]
    found: list[list[str]] = []
    for line in said.splitlines():
        if whole := GPU.match(line):
            found.append([whole[1]])
        elif found and (part := MIG.match(line)):
            found[-1] = [name for name in found[-1] if name.startswith("MIG")] + [part[1]]
    return found


def _wait_for(count: int, visible: list[str]) -> None:
    """Lock files of as many GPUs; while one process waits for several, no other takes what gets free."""
    room, told = _room(), False
    with (room / "queue").open("a+") as queue:
        while others := _lock(queue) or _take(count, visible, room):
            if not told:
                which = f"waiting for {count} free of {len(visible)} GPUs (processes {others} have them or wait, too)"
                print(which, file=sys.stderr, flush=True)
            told = True
            time.sleep(PAUSE)


def _take(count: int, visible: list[str], room: Path) -> str:
    """Take what is free, up to a number; the processes that have the others, nothing where the number is reached."""
    job, others = os.environ.get("SLURM_JOB_ID", ""), []  # each Slurm job may mean another GPU by a number
    for name in visible:
        if len(_held) < count and name not in _held:
            file = (room / f"gpu-{job if name.isdigit() else ''}-{name.replace('/', '_')}").open("a+")
            if other := _lock(file):
                file.close()
                others.append(other)
            else:
                _held[name] = file
    return "" if len(_held) == count else ", ".join(dict.fromkeys(others))


def _lock(file: IO[str]) -> str:
    """Lock a file and write into it who did; the process that has locked it, nothing where this one did."""
    import fcntl

    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.seek(0)
        return file.read() or "unknown"
    file.truncate(0)
    file.write(str(os.getpid()))
    file.flush()
    return ""


def _room() -> Path:
    """The folder of the locks: of this machine, so that no shared file system has to know locks."""
    room = Path("/tmp") / f"read-gpus-{os.getuid()}"  # not TMPDIR, of which each job may have its own
    room.mkdir(mode=0o700, exist_ok=True)
    if room.is_symlink() or room.stat().st_uid != os.getuid():
        raise InputError(f"{room}: belongs to somebody else; GPUs are shared out in it, so ask for its removal")
    return room
