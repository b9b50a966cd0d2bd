"""The studio on a port of this machine, until it is stopped."""

from contextlib import ExitStack
from pathlib import Path

from read.app.server import listening, serve_until_stopped
from read.app.sessions import unguessable
from read.studio.card import find_or_make_card
from read.studio.folder import Footage
from read.studio.labels import Labels
from read.studio.reading import FootageReading
from read.studio.site import Studio
from read.studio.training import Training
from read.studio.working import ParamsFile

HOST = "127.0.0.1"


def open_studio(held: ExitStack, folder: Path, working: Path) -> Studio:
    """The studio of a folder of videos, whose parts end with `held`.

    Raises:
        InputError: there is no such folder, its card or labels are no good, or another studio has them open.
    """
    place = find_or_make_card(working, folder)
    cache = working / ".studio" / place.name
    clip_len = place.clip_len or ParamsFile(working).get("clip_len")
    labels = Labels(place.folder, place.annotations, place.summaries, clip_len)
    held.callback(labels.close)
    footage = Footage(folder, cache, place.extensions)
    held.callback(footage.close)
    reading = FootageReading(footage, cache, working)
    held.callback(reading.close)
    labels.twins = reading.twins
    training = Training(working, place.name, cache)
    held.callback(training.close)
    return Studio(place.name, labels, footage, reading, training)


def run(folder: Path, port: int, working: Path, open_browser: bool) -> None:
    """Serve the studio; arguments as of `read.studio.serve`."""
    secret = unguessable()
    with ExitStack() as held:
        socket = held.enter_context(listening(HOST, port))
        studio = open_studio(held, folder, working)
        address = f"http://{HOST}:{socket.getsockname()[1]}/?key={secret}"
        serve_until_stopped(studio.app(HOST, secret), socket, address, open_browser)
