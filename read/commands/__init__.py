"""The command line: `read-adapters`, or `python -m read`. A module for each command; what is heavy loads with its use.

Exit status: 0 all went well; 1 input was bad, and the reason stands on stderr; 2 wrong usage; 130 stopped by Ctrl-C.
"""

import argparse
import os
import sys
from collections.abc import Sequence

from read.commands import app, bundles, predict, studio
from read.errors import InputError, show_everything

ABOUT = """Adapted video-language models at work: moments, highlights and summaries of any video.

A bundle is a folder with a trained model, made by `read-adapters export`."""
STATUS = "exit status: 0 all went well, 1 bad input (the reason is on stderr), 2 wrong usage"


def parser() -> argparse.ArgumentParser:
    """The parser of all commands."""
    top = argparse.ArgumentParser(
        "read-adapters", description=ABOUT, epilog=STATUS, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    commands = top.add_subparsers(title="commands", dest="command", required=True, metavar="COMMAND")
    for module in (predict, bundles, app, studio):
        module.add_to(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status."""
    options = parser().parse_args(argv)
    show_everything()
    try:
        status = options.run(options)
        sys.stdout.flush()
        return status
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # as by `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or the interpreter complains as it ends
        return 1
    except OSError as error:
        if error.filename is None:
            raise
        print(f"error: {error.filename}: {error.strerror}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
