"""A page in the browser that answers questions about a video: `read app BUNDLE`.

Starlette, uvicorn and a page of our own rather than gradio, the field's habit: gradio has no time line over a player to
seek with, and brings dozens of packages, telemetry, and a server that has more than once given out files that it should
not have.
"""

from pathlib import Path

from read.errors import optional_imports

PORT = 8765
MAX_BYTES = 1024**3
MAX_SECONDS = 60 * 60.0
MAX_DISK = 20 * 1024**3


def serve(
    bundle: str | Path,
    host: str = "127.0.0.1",
    port: int = PORT,
    *,
    device: str = "auto",
    max_bytes: int = MAX_BYTES,
    max_seconds: float = MAX_SECONDS,
    max_disk: int = MAX_DISK,
    open_browser: bool = False,
) -> None:
    """Serve the page until it is stopped by Ctrl-C or a signal; all files are removed then.

    Args:
        bundle: folder that `read-adapters export` made.
        host: address to listen on. With any other than the loopback's, whoever reaches this machine can use the page.
        port: 0 takes a free one.
        device: where the models run, as `Predictor.from_bundle` takes it.
        max_bytes: of an uploaded file.
        max_seconds: of an uploaded video.
        max_disk: bytes of all uploads together.
        open_browser: show the page in the browser of this machine.

    Raises:
        InputError: the extra `app` is not installed, the bundle is no good, or the address cannot be listened on.
    """
    with optional_imports():
        import starlette  # noqa: F401
        import uvicorn  # noqa: F401
    from read.app.server import run
    from read.predictor import Predictor

    run(Predictor.from_bundle(bundle, device=device), host, port, max_bytes, max_seconds, open_browser, max_disk)
