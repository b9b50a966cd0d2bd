"""Scripts in processes of their own, which need not load torch anew: they are forked from one that has."""

import multiprocessing
import os
import runpy
import sys
from functools import cache
from pathlib import Path

LOADED = ["torch", "transformers", "read.adapters"]  # what most of a script's time goes for


@cache
def _server():
    found = multiprocessing.get_context("forkserver")
    found.set_forkserver_preload(LOADED)
    return found


def run_script(script: Path) -> tuple[int, str]:
    """Run a script in its folder. Returns how it ended, and what it wrote to either stream."""
    out = script.with_suffix(".out")
    process = _server().Process(target=_run, args=(script, out))
    process.start()
    process.join()
    return process.exitcode, out.read_text(encoding="utf-8")


def _run(script: Path, out: Path) -> None:
    with out.open("wb") as stream:
        for number in (1, 2):
            os.dup2(stream.fileno(), number)
    os.chdir(script.parent)
    sys.argv = [str(script)]
    sys.path[0] = str(script.parent)
    runpy.run_path(str(script), run_name="__main__")
