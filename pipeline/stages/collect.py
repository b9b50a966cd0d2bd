"""List the runs of the comparison in a file, and remove those that are no longer asked for.

Only what Snakemake made or DVC's cache holds is removed; files of a person's own are moved aside.
"""

import argparse
import shutil
from pathlib import Path

from pipeline import paths
from pipeline.cli import run
from pipeline.engine import aside, records
from read.files import write_json


def collect(folder: Path, index: Path, runs: list[str], also: Path | None = None) -> None:
    """Write `runs` to `index`; delete every other <strategy>/<run> below `folder` and below `also`."""
    tops = [] if paths.ROOT.parts else filter(None, (folder, also))  # copies of object storage are what was asked for
    for strategy in (path for top in tops for path in top.iterdir() if path.is_dir()):
        for stale in strategy.iterdir():
            if f"{strategy.name}/{stale.name}" not in runs:
                print(f"removing {stale}: no longer in params.yaml")
                files = [path for path in ([stale] if stale.is_file() else stale.rglob("*")) if path.is_file()]
                aside.put_aside(path for path in files if not records.has_record(path))
                shutil.rmtree(stale, ignore_errors=not stale.exists())
        if not any(strategy.iterdir()):
            strategy.rmdir()
    write_json(index, sorted(runs))


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, help="holds <strategy>/<run> folders")
    parser.add_argument("index", type=Path, help="the JSON file to write")
    parser.add_argument("runs", nargs="+", metavar="STRATEGY/RUN")
    parser.add_argument("--also", type=Path, metavar="FOLDER", help="another folder of the same form to clear out")
    arguments = parser.parse_args()
    collect(arguments.folder, arguments.index, arguments.runs, arguments.also)


if __name__ == "__main__":
    run(main)
