"""From a folder of videos to an answer, in the browser: label, train, ask. `read-adapters studio FOLDER`.

Nothing exists only on the page: what it writes are a dataset's card, its annotations and summaries, and params.yaml, as
the pipeline reads them and as a person would write them by hand.
"""

import os
from pathlib import Path

from read.errors import InputError, optional_imports

PORT = 8766


def serve(folder: str | Path, port: int = PORT, *, working: str | Path = ".", open_browser: bool = False) -> None:
    """Serve the studio of a folder of videos to this machine until it is stopped by Ctrl-C or a signal.

    Args:
        folder: the videos; nothing is written there.
        port: of the loopback; 0 takes a free one.
        working: folder with the Snakefile and params.yaml, below which the labels and everything else are kept.
        open_browser: show the page in the browser of this machine.

    Raises:
        InputError: a package is not installed, there is no such folder, its card or labels are no good, another studio
            has them open, or the port cannot be listened on.
    """
    with optional_imports():
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
        import yaml  # noqa: F401
    from read.studio.server import run

    if not str(folder):
        raise InputError("FOLDER is empty; name the folder of videos")
    run(Path(os.path.realpath(folder)), port, Path(working), open_browser)
