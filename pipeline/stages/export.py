"""Pack trained runs into a bundle: `read-adapters export`, as a job of a run."""

import shutil
import sys

from pipeline.card import CARD, CATALOG
from pipeline.cli import run
from pipeline.paths import ROOT
from read.commands import main as command


def main() -> None:
    """Command line: that of `read-adapters export`."""
    for card in CATALOG.glob(f"*/{CARD}") if ROOT.parts else ():  # a bundle looks for it beside the artifacts
        (ROOT / card).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(card, ROOT / card)
    if status := command(["export", *sys.argv[1:]]):
        sys.exit(status)


if __name__ == "__main__":
    run(main)
