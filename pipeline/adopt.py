"""What a DVC stage does before its work.

Its inputs are current, as DVC has just made sure, so Snakemake is told to take them as they are. Files in its own
folder that Snakemake did not make here (they came with `dvc pull` or `dvc checkout`) are removed, as DVC itself does
where a stage's outputs do not persist.
"""

import argparse
from pathlib import Path

from pipeline.cli import run
from pipeline.engine import adopt, forget_unknown
from pipeline.params import load_params


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--own", type=Path, action="append", required=True, metavar="FOLDER", help="what the stage makes"
    )
    parser.add_argument(
        "targets", nargs="*", metavar="FILE",
        help="outputs of rules that the stage takes as inputs; {task} stands for each task of params.yaml",
    )  # fmt: skip
    arguments = parser.parse_args()
    if arguments.targets:
        tasks = load_params().task
        adopt(list(dict.fromkeys(target.replace("{task}", task) for target in arguments.targets for task in tasks)))
    for folder in arguments.own:
        forget_unknown(folder)


if __name__ == "__main__":
    run(main)
