"""Run every benchmark, one after the other, each in a process of its own so that none inherits threads or memory."""

import multiprocessing
import os
import platform
import sys
import time

from benchmarks import measure, names


def main() -> int:
    """Run them all.

    Returns:
        The exit status: 1 where a benchmark failed; the others have run all the same.
    """
    print(f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}", flush=True)
    start, failed = time.perf_counter(), []
    for name in names():
        process = multiprocessing.get_context("spawn").Process(target=measure, args=(name,))
        process.start()
        process.join()
        if process.exitcode:
            failed.append(name)
    print(f"\n{time.perf_counter() - start:.0f} s in total" + (f"; failed: {', '.join(failed)}" if failed else ""))
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
