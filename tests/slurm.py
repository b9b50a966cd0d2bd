"""A Slurm on this machine for the life of a test: its own key, controller and nodes, all below one folder."""

import ctypes
import os
import pwd
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from tests.ports import free_port

NEEDED = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "squeue", "scancel")
END_WITH_PARENT = 1  # PR_SET_PDEATHSIG
CPUS, MEMORY = 8, 16000  # of each node, whatever this machine has
CONFIG = """\
ClusterName=loopback
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={controller}
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerParameters=batch_sched_delay=0,sched_min_interval=0
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill
KillWait=2
MinJobAge=7200
ReturnToService=2
{nodes}
PartitionName=main Nodes=ALL Default=YES MaxTime=2-0
"""


def is_here() -> bool:
    """Whether Slurm's programs are installed."""
    return all(map(shutil.which, NEEDED))


@contextmanager
def slurm(folder: Path, nodes: int = 2) -> Iterator[Path]:
    """Start a Slurm and end it with all that it started; yields its configuration, beside which lies a `bin`."""
    (folder / "state").mkdir(parents=True)
    config = folder / "slurm.conf"
    # Executors hide SLURM_CONF from the srun of a job, which finds the file of a whole machine by itself.
    (folder / "bin").mkdir()
    (folder / "bin/srun").write_text(f'#!/bin/sh\nSLURM_CONF={config} exec {shutil.which("srun")} "$@"\n')
    (folder / "bin/srun").chmod(0o755)
    environment = {"SLURM_CONF": str(config)}
    ports = [free_port() for _ in range(nodes + 1)]
    names = [f"n{number}" for number in range(nodes)]
    host = socket.gethostname().partition(".")[0]
    lines = [
        f"NodeName={name} NodeHostname={host} NodeAddr=127.0.0.1 Port={port} CPUs={CPUS} RealMemory={MEMORY}"
        for name, port in zip(names, ports[1:], strict=True)
    ]
    config.write_text(
        CONFIG.format(
            host=host,
            controller=ports[0],
            user=pwd.getpwuid(os.getuid()).pw_name,
            folder=folder,
            nodes="\n".join(lines),
        )
    )
    key = folder / "munge.key"
    key.write_bytes(os.urandom(128))
    key.chmod(0o600)
    places = [f"--{kind}-file={folder}/munge.{end}" for kind, end in (("key", "key"), ("pid", "pid"), ("seed", "seed"))]
    munged = ["munged", "--foreground", "--force", f"--socket={folder}/munge.socket", *places]
    with ExitStack() as stack:
        stack.enter_context(_running(munged, folder / "munged.log"))
        _wait(lambda: (folder / "munge.socket").exists(), folder / "munged.log")
        stack.enter_context(_running(["slurmctld", "-D"], folder / "slurmctld.log", environment))
        for name in names:
            stack.enter_context(_running(["slurmd", "-D", "-N", name], folder / f"{name}.log", environment))
        command = ["sinfo", "--noheader", "--Node", "--format=%T"]
        _wait(lambda: _said(command, environment).split() == ["idle"] * nodes, folder / "slurmctld.log")
        try:
            yield config
        finally:
            _said(["scancel", f"--user={os.getuid()}"], environment)
            _wait(lambda: not _said(["squeue", "--noheader"], environment), folder / "slurmctld.log")


def _said(command: list[str], environment: dict[str, str]) -> str:
    return subprocess.run(command, env=os.environ | environment, capture_output=True, text=True).stdout


@contextmanager
def _running(command: list[str], log: Path, environment: dict[str, str] | None = None) -> Iterator[None]:
    with log.open("w") as file:
        process = subprocess.Popen(
            [shutil.which(command[0]), *command[1:]],
            env=os.environ | (environment or {}),
            stdout=file,
            stderr=file,
            preexec_fn=lambda: ctypes.CDLL(None).prctl(END_WITH_PARENT, signal.SIGTERM),
        )
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait(condition, log: Path, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, log.read_text()[-2000:]
        time.sleep(0.1)
