"""`read-adapters studio`: label, train and ask in the browser."""

import argparse

ABOUT = """Label the videos of a folder, train on them, and ask them, on a page in the browser.

Start it in a checkout of READ, where the Snakefile and params.yaml are. The labels are kept there, in
data/catalog/<name of the folder>/, as the pipeline reads them; nothing is written to FOLDER. Only whoever has the
address that is printed can open the page, and only on this machine."""


def add_to(commands: argparse._SubParsersAction) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "studio",
        help="label, train and ask in the browser",
        description=ABOUT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("folder", metavar="FOLDER", help="folder of videos")
    parser.add_argument("--port", type=int, default=8766, help="0 takes a free one (default: %(default)s)")
    parser.add_argument("--no-browser", action="store_true", help="print the address and open nothing")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Serve until stopped."""
    from read.studio import serve

    serve(options.folder, options.port, open_browser=not options.no_browser)
    return 0
