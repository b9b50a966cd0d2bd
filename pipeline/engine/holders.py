"""Who holds a lease: a process, told from every other one of this machine and of others."""

import os
import secrets
import socket
import sys
import time
from dataclasses import dataclass
from itertools import pairwise, takewhile
from pathlib import Path

from read.files import machine
from read.processes import birth

OF_RUN = "READ_RUN"  # in the environment of jobs: the process of their run, as `Lease.process`
JOBS = "pipeline.stages."


@dataclass(frozen=True)
class Lease:
    """What a lease says.

    Attributes:
        job: what is made.
        host: the holder's machine, as people call it.
        machine: the same, as `read.files.machine` tells it from others.
        folder: where the holder works.
        pid: the holder.
        began: when that began, in seconds since its machine did.
        slurm: the Slurm job that it belongs to.
        run: the process that started it, as `process` of that one's lease; None of one that was started by hand.
        since: when the lease was taken, for people.
        token: tells it from others of the same process.
    """

    job: str
    host: str = "an unknown machine"
    machine: str = ""
    folder: str = ""
    pid: int = 0
    began: float = 0.0
    slurm: str | None = None
    run: str | None = None
    since: str = "an unknown time"
    token: str = ""

    @classmethod
    def own(cls, job: str) -> "Lease":
        """That of this process."""
        return cls(
            job,
            socket.gethostname(),
            machine(),
            str(Path.cwd()),
            os.getpid(),
            birth(os.getpid()) or 0.0,
            os.environ.get("SLURM_JOB_ID"),
            os.environ.get(OF_RUN),
            time.strftime("%Y-%m-%d %H:%M:%S %Z"),
            secrets.token_hex(8),
        )

    @property
    def process(self) -> str:
        """The holder, told from every other process."""
        return f"{self.machine} {self.pid} {self.began:.2f}"

    def __str__(self) -> str:
        """The holder, in words."""
        slurm = f", Slurm job {self.slurm}" if self.slurm else ""
        return f"{self.job}, by process {self.pid} on {self.host}{slurm}, since {self.since}"

    @property
    def end(self) -> str:
        """The command that ends the holder."""
        if self.slurm:
            return f"scancel {self.slurm}"
        return f"kill {self.pid}" if self.machine == machine() else f"ssh {self.host} kill {self.pid}"


def is_here(lease: Lease) -> bool:
    """Whether the holder is a process of this machine, in this folder; a lease may come with a copy of its folder."""
    return lease.machine == machine() and lease.folder == str(Path.cwd())


def job_of_this_process() -> str | None:
    """What this process makes, as its command says; None where it is none of the stages, or helps one by torchrun."""
    spec = getattr(sys.modules["__main__"], "__spec__", None)
    given = sys.argv[1:]
    if (
        spec is None
        or not spec.name.startswith(JOBS)
        or os.environ.get("RANK", "0") != "0"
        or {"-h", "--help"} & {*given}
    ):
        return None
    words = takewhile(lambda word: not word.startswith("-"), given)
    which = [f"{key} {value}" for key, value in pairwise(given) if key in ("--shots", "--seed")]
    return " ".join([spec.name.removeprefix(JOBS), *words, *which])
