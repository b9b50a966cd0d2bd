"""Stages in several processes, by torchrun: each runs the stage, with its rank in its environment; see `read.ranks`.

A stage that is to have several starts them with the command line that it was started with. They meet in a folder and
talk over the loopback device, so that nothing listens to the network. What one of them cannot do is told once, and ends
all; so does the end of any, and that of the process that started them.
"""

import logging
import os
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from pipeline.engine import leases
from pipeline.engine.stopping import end_with_launcher
from pipeline.machine import device, told
from pipeline.params import Machine
from read.devices import RANK, take_devices, visible_devices
from read.processes import birth

FOLDER = "READ_RANKS"  # in the environment of ranks: where they meet,
LAUNCHER = "READ_LAUNCHER"  # and who started them
LOST = ("closed by peer", "reset by peer", "Broken pipe", "pair closure", "remote process")  # that another has ended


def processes_of(machine: Machine, method: str | None = None) -> int:
    """In how many processes a pretraining goes, or a run of a strategy's `method`: of these, only full fine-tuning."""
    return machine.processes if method in (None, "full") else 1


def in_processes(count: int, work: Callable[[], None]) -> None:
    """Do a stage's work in this process, or let `count` do it together, each by this stage's command line.

    Raises:
        InputError: as `work`; or there are fewer GPUs than processes.
    """
    if RANK in os.environ:
        _join(work)
    elif count == 1:
        work()
    else:
        _start(count)


def _start(count: int) -> None:
    """Start the processes and wait for them."""
    import torch
    from torch.distributed import run as torchrun
    from torch.distributed.elastic.multiprocessing import SignalException
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError

    if told().device != "cpu" and torch.backends.cuda.is_built() and visible_devices():
        take_devices(count)
    leases.release()  # the first process takes its own, by which its drafts are known
    logging.getLogger("torch.distributed").setLevel(logging.CRITICAL)
    threads = int(os.environ.get("OMP_NUM_THREADS") or os.cpu_count() or 1)
    with TemporaryDirectory(prefix="read-ranks-") as folder:
        os.environ |= {
            FOLDER: folder,
            LAUNCHER: f"{os.getpid()} {birth(os.getpid())}",
            "OMP_NUM_THREADS": str(max(1, threads // count)),
            "TORCH_DISABLE_SHARE_RDZV_TCP_STORE": "1",  # it would listen to the network
        }
        meeting = ["--rdzv-backend=c10d", "--rdzv-conf=store_type=file", f"--rdzv-endpoint={folder}/launchers"]
        stage = sys.modules["__main__"].__spec__.name
        try:
            torchrun.main(["--nnodes=1", f"--nproc-per-node={count}", *meeting, "-m", stage, *sys.argv[1:]])
        except SignalException as error:
            sys.exit(128 + error.sigval)
        except ChildFailedError as error:
            codes = {rank: failure.exitcode for rank, failure in error.failures.items()}
            sys.exit(1 if _told(Path(folder)).exists() else _words(codes, count))


def _words(codes: dict[int, int], count: int) -> str:
    """Which process ended first, of those that say nothing; SIGTERM is what the others are ended by."""
    ended = {rank: code for rank, code in codes.items() if code not in (1, -signal.SIGTERM)} or codes
    rank, code = min(ended.items())
    by = f"by {signal.Signals(-code).name}" if code < 0 else f"with status {code}"
    hint = ", as where memory runs out" if code == -signal.SIGKILL else ""
    return f"error: process {rank + 1} of {count} was ended {by}{hint}; the others were ended with it"


def _join(work: Callable[[], None]) -> None:
    """Do the work beside the others."""
    import torch
    import torch.distributed as dist

    folder = Path(os.environ[FOLDER]) if FOLDER in os.environ else None  # None: by a torchrun of somebody's own
    if folder is not None:
        end_with_launcher(os.environ[LAUNCHER])
        loopback = next((name for _, name in socket.if_nameindex() if name.startswith("lo")), "lo")
        os.environ |= {"GLOO_SOCKET_IFNAME": loopback, "NCCL_SOCKET_IFNAME": loopback}
    where, rank = torch.device(device()), int(os.environ["RANK"])
    if where.type == "cuda":
        torch.cuda.set_device(where)
    if rank:
        sys.stdout = Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - to the end of the process
    dist.init_process_group(
        "cpu:gloo,cuda:nccl" if where.type == "cuda" else "gloo",
        init_method=None if folder is None else f"file://{folder}/ranks",
        rank=rank,
        world_size=int(os.environ["WORLD_SIZE"]),
    )
    try:
        work()
    except Exception as error:
        if folder is not None and (any(word in str(error) for word in LOST) or not _tell(folder)):
            sys.exit(1)
        raise
    finally:
        dist.destroy_process_group()


def _told(folder: Path) -> Path:
    return folder / "told"


def _tell(folder: Path) -> bool:
    """Whether this process is the one to say what went wrong: the first that it did so for."""
    try:
        _told(folder).touch(exist_ok=False)
    except FileExistsError:
        return False
    return True
