"""A stage in two processes that goes wrong, for `test_processes`: `python -m tests.pipeline.ranked refuse | die`."""

import os
import signal
import sys

from pipeline.cli import run
from pipeline.processes import in_processes
from read.errors import InputError


def work():
    import torch
    import torch.distributed as dist

    dist.all_reduce(torch.ones(1))
    if sys.argv[1] == "refuse":
        raise InputError("the features are no good")
    if dist.get_rank() == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    dist.all_reduce(torch.ones(1))


if __name__ == "__main__":
    run(lambda: in_processes(2, work))
