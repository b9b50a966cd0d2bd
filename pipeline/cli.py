"""What the stages' command lines share."""

import argparse
import errno
import re
import signal
import sys
from collections.abc import Callable
from types import SimpleNamespace
from typing import get_args

from pipeline.engine import leases
from pipeline.engine.holders import job_of_this_process
from pipeline.engine.stopping import end_with_run
from pipeline.params import TaskName, parse_settings
from read.errors import InputError, show_everything

REASONS = {
    errno.ENOSPC: "no space left on the device",
    errno.EROFS: "the file system is read-only",
    errno.EACCES: "permission denied",
}


def settings_parser(description: str | None) -> argparse.ArgumentParser:
    """A parser with `--settings`, the job's part of params.yaml."""
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    add_settings(parser)
    return parser


def task_parser(description: str | None) -> argparse.ArgumentParser:
    """The same, with the task in front."""
    parser = settings_parser(description)
    parser.add_argument("task", choices=get_args(TaskName), help="what the models learn")
    return parser


def add_settings(parser: argparse.ArgumentParser) -> None:
    """Add `--settings` to a parser."""
    parser.add_argument(
        "--settings", type=_settings, required=True, metavar="JSON", help="the job's keys of params.yaml, as JSON"
    )


def _settings(text: str) -> SimpleNamespace:
    try:
        return parse_settings(text)
    except InputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def run(main: Callable[[], None]) -> None:
    """Run a stage, which holds a lease while it works; what a person can mend is printed without a traceback.

    That ends with status 1.
    """
    show_everything()
    try:
        end_with_run()
        if job := job_of_this_process():
            leases.take(job)
            signal.signal(signal.SIGTERM, leases.end)
        main()
    except InputError as error:
        sys.exit(f"error: {error}")
    except Exception as error:
        number = error.errno if isinstance(error, OSError) else _os_error(str(error))
        if number not in REASONS:
            raise
        place = getattr(error, "filename", None) or "the output folder"
        sys.exit(f"error: {place}: {REASONS[number]}; free space or make the folder writable, then run again")


def _os_error(message: str) -> int | None:
    """The system's error number in a message, where a library has it in words only, as safetensors does."""
    found = re.search(r"\(os error (\d+)\)", message)
    return int(found[1]) if found else None


def device_of(name: str) -> str:
    """`auto` is a GPU where there is one. Raises InputError where `cuda` is asked for and absent."""
    import torch

    if name == "cuda" and not torch.cuda.is_available():
        raise InputError(
            "params.yaml: machine.device: cuda was asked for, but torch sees no CUDA device; use auto or cpu"
        )
    return "cuda" if name != "cpu" and torch.cuda.is_available() else "cpu"
