r"""Run a study, or what is asked for of it: cells, commands for another machine, the page, a table in Markdown.

python -m pipeline.study                                 all of it; goes on where it was
python -m pipeline.study --settings montage              some of its settings
python -m pipeline.study --until backbones               what the runs are trained from, and no more
python -m pipeline.study --commands train > train.txt    the runs that are due as shell commands, one a line
python -m pipeline.study --take FOLDER                   what these commands made elsewhere
python -m pipeline.study --page                          the page of what is there
python -m pipeline.study --markdown docs/study.md        the same as tables

The commands are run in a copy of the checkout with the study's folder in it, those of train before those of evaluate:
xargs -d '\n' -n 1 -P 16 bash -c < train.txt
Of what they make, JSON and CSV have to come back: weights and predictions are not asked for again.
"""

import argparse
import os
from pathlib import Path

from pipeline.cli import run
from pipeline.study.cells import Cell, cells_of, prepare, usable_settings
from pipeline.study.machines import note_machine
from pipeline.study.registration import check_study_is, register
from pipeline.study.running import commands, prepare_backbones, run_cells, stop_on_signals, take
from pipeline.study.schema import Study, load_study


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    parser.add_argument("--study", type=Path, default=Path("study.yaml"), help="what is run (default: study.yaml)")
    parser.add_argument("--folder", type=Path, default=Path("results/study"), help="where (default: results/study)")
    parser.add_argument("--settings", nargs="+", metavar="NAME", help="which settings (default: all)")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--until", choices=["backbones"], help="stop before the strategies")
    what.add_argument("--commands", choices=["train", "evaluate"], help="print the commands of jobs that are due")
    what.add_argument("--take", type=Path, metavar="FOLDER", help="a study's folder that came back from elsewhere")
    what.add_argument("--page", action="store_true", help="write the page of what is there")
    what.add_argument("--markdown", type=Path, metavar="FILE", help="write the tables")
    what.add_argument("--note-machine", action="store_true", help="note this machine as one that the study is run on")
    options = parser.parse_args()
    if options.note_machine:
        note_machine(options.folder)
        return
    study = load_study(options.study)
    if options.page or options.markdown:
        tell(study, options)
        return
    cells = made_cells(study, options)
    stop_on_signals()
    if options.until:
        note_machine(options.folder)
        prepare_backbones(cells, options.cores)
        return
    register(study, cells, options.folder, handed_out=bool(options.commands))
    if options.commands:
        print("\n".join(commands(cells, options.commands)))
    elif options.take:
        print(f"{take(cells, options.take, options.folder)} files taken")
    else:
        note_machine(options.folder)
        run_cells(cells, options.cores)
        register(study, cells, options.folder)  # what was run is what is registered, to the end
        tell(study, options)


def made_cells(study: Study, options: argparse.Namespace) -> list[Cell]:
    """The cells of the settings that are asked for, ready to be worked in."""
    settings = list(usable_settings(study, options.folder, options.settings or list(study.settings)))
    cells = cells_of(study, options.folder, settings)
    for cell in cells:
        prepare(cell)
    return cells


def tell(study: Study, options: argparse.Namespace) -> None:
    """Write the page and study.json, or the Markdown, of what is there."""
    from pipeline.study.markdown import as_markdown  # seconds of plotly and torch, only where they are needed
    from pipeline.study.page import outcomes_of, write_page
    from pipeline.study.view import view
    from read.files import write_text

    registered = check_study_is(study, options.folder)
    outcomes = outcomes_of(study, options.folder, options.settings)
    shown = view(study, outcomes, registered, options.folder)
    if options.markdown:
        write_text(options.markdown, as_markdown(shown))
        print(f"{options.markdown}: written")
    else:
        write_page(shown, outcomes, options.folder)
        print(f"\n{shown['first']}\n\nThe study: {(options.folder / 'index.html').resolve().as_uri()}")


if __name__ == "__main__":
    run(main)
