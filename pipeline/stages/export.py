"""Pack trained runs into a bundle: `read-adapters export`, as a job of a run."""

import sys

from pipeline.cli import run
from read.commands import main as command


def main() -> None:
    """Command line: that of `read-adapters export`."""
    if status := command(["export", *sys.argv[1:]]):
        sys.exit(status)


if __name__ == "__main__":
    run(main)
