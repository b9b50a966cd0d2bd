"""Parts of videos by yt-dlp, from pages and files on loopback."""

import json
import re
import threading
import time
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from pipeline.sources import UnavailableError
from pipeline.sources.youtube import Youtube
from read.encoders.frames import iter_clips, write_video
from read.errors import InputError

pytestmark = pytest.mark.video

PAGE = "a_b-c_d_e-f"  # as YouTube's ids: 11 characters, underscores among them


class Handler(SimpleHTTPRequestHandler):
    """A folder, with ranges, as ffmpeg needs them to seek.

    `cut` is where each answer ends before its time, `most` how many bytes it has; then the server hangs up, after a
    `pause` in seconds.
    """

    protocol_version = "HTTP/1.1"
    cut = most = None
    pause = 0.0

    def log_message(self, *args):
        pass

    def do_GET(self):
        path = Path(self.translate_path(self.path))
        if not path.is_file():
            self.send_error(404)
            return
        data = path.read_bytes().replace(b"HOST", self.headers["Host"].encode())
        wanted = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(wanted[1]) if wanted else 0
        self.send_response(206 if wanted else 200)
        self.send_header("Content-Type", self.guess_type(str(path)))
        self.send_header("Accept-Ranges", "bytes")
        self.send_header("Content-Length", str(len(data) - start))
        if wanted:
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        self.end_headers()
        self.wfile.write(data[start : self.cut][: self.most])
        self.wfile.flush()
        time.sleep(self.pause)
        self.close_connection = True


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """8 seconds, each of another grey, as a file and on a page that says how long it is."""
    folder = tmp_path_factory.mktemp("site")
    frames = [np.full((32, 32, 3), 20 + 25 * second, np.uint8) for second in range(8) for _ in range(8)]
    write_video(folder / f"{PAGE}.mp4", frames, 8)
    video = {"@context": "https://schema.org", "@type": "VideoObject", "name": "x", "duration": "PT8S"}
    data = json.dumps(video | {"contentUrl": f"http://HOST/{PAGE}.mp4"})
    (folder / f"{PAGE}.html").write_text(f'<html><script type="application/ld+json">{data}</script></html>')
    return folder


@pytest.fixture
def address(site, request):
    handler = type("Of", (Handler,), getattr(request, "param", {}))
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(site)))
    server.handle_error = lambda *_: None
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def fetch(address, room, vid, suffix=".mp4", timeout=5.0):
    return Youtube(address + "/{vid}" + suffix, retries=0, timeout=timeout, ranges=True).fetch(vid, room)


def greys(path):
    return [int(clip.mean()) for clip in iter_clips(path, 2.0, 0.5, 16)]


@pytest.mark.parametrize("span", ["2_5", "2.0_5.0"])
def test_a_part_begins_and_ends_where_the_id_says(address, tmp_path, span):
    found = greys(fetch(address, tmp_path, f"{PAGE}_{span}"))  # two clips a second
    assert len(found) == 6
    assert found == pytest.approx([70, 70, 95, 95, 120, 120], abs=4)


def test_a_part_that_the_video_ends_in_is_what_there_is(address, tmp_path):
    assert len(greys(fetch(address, tmp_path, f"{PAGE}_2_30", ".html"))) == 12
    for path in tmp_path.iterdir():
        path.unlink()
    with pytest.raises(UnavailableError, match=r"its cut has 6 s, not 28 s"):  # a file does not say how long it is
        fetch(address, tmp_path, f"{PAGE}_2_30")
    assert list(tmp_path.iterdir()) == []


def test_a_part_after_the_end_is_missing(address, tmp_path):
    with pytest.raises(UnavailableError) as error:
        fetch(address, tmp_path, f"{PAGE}_20_30", ".html")
    assert "\n" not in str(error.value)
    assert [path for path in tmp_path.iterdir() if path.suffix == ".mp4"] == []


def test_a_video_that_is_gone_is_missing(address, tmp_path):
    with pytest.raises(UnavailableError, match="HTTP Error 404"):
        fetch(address, tmp_path, "gone_0_2")


@pytest.mark.parametrize("address", [{"most": 2000}], indirect=True)
def test_a_lost_connection_is_taken_up_again(address, tmp_path):
    assert greys(fetch(address, tmp_path, f"{PAGE}_2_5")) == pytest.approx([70, 70, 95, 95, 120, 120], abs=4)


@pytest.mark.parametrize("address", [{"cut": 2500}, {"cut": 2500, "pause": 30.0}], indirect=True)
def test_a_connection_that_stays_lost_or_silent_does_not_make_a_shorter_video(address, tmp_path):
    start = time.monotonic()
    with pytest.raises(UnavailableError):
        fetch(address, tmp_path, f"{PAGE}_0_8", timeout=0.4)
    assert time.monotonic() - start < 29.0
    assert [path for path in tmp_path.iterdir() if path.suffix == ".mp4"] == []


@pytest.mark.parametrize("vid", [PAGE, f"{PAGE}_5_2", f"{PAGE}_5", f"{PAGE}_a_b", "_0_2x"])
def test_ids_without_a_part_are_named(tmp_path, vid):
    with pytest.raises(InputError, match=rf"video {vid}: its id is no <id>_<start>_<end>"):
        Youtube(None, retries=0, timeout=5.0, ranges=True).fetch(vid, tmp_path)


def test_the_recipe_is_the_page_the_format_and_the_part():
    whole = Youtube(None, retries=0, timeout=5.0)
    parts = Youtube(None, retries=0, timeout=5.0, ranges=True)
    assert whole.recipe(PAGE).startswith(f"https://www.youtube.com/watch?v={PAGE} ")
    assert parts.recipe(f"{PAGE}_60.0_210.0").startswith(f"https://www.youtube.com/watch?v={PAGE} ")
    assert len({whole.recipe(PAGE), parts.recipe(f"{PAGE}_0_2"), parts.recipe(f"{PAGE}_0_3")}) == 3


def test_what_was_downloaded_brings_no_other_file_in(tmp_path):
    """yt-dlp joins pictures and sound by ffmpeg, which would follow a list in their place."""
    from yt_dlp import YoutubeDL
    from yt_dlp.postprocessor.ffmpeg import FFmpegMergerPP, FFmpegPostProcessorError

    write_video(tmp_path / "secret.mp4", [np.full((32, 32, 3), 200, np.uint8)] * 8, 8)
    (tmp_path / "trap.mp4").write_text("ffconcat version 1.0\nfile secret.mp4\n")
    with YoutubeDL(Youtube(None, retries=0, timeout=5.0)._options(tmp_path)) as tool:
        step = FFmpegMergerPP(tool)
        for name, allowed in (("secret", True), ("trap", False)):
            paths = [str(tmp_path / f"{name}.mp4")]
            if allowed:
                step.run_ffmpeg_multiple_files(paths, str(tmp_path / "out.mp4"), ["-c", "copy"])
            else:
                with pytest.raises(FFmpegPostProcessorError):
                    step.run_ffmpeg_multiple_files(paths, str(tmp_path / "other.mp4"), ["-c", "copy"])
    assert (tmp_path / "out.mp4").is_file() and not (tmp_path / "other.mp4").exists()


def test_the_log_of_yt_dlp_holds_no_secret(tmp_path, caplog):
    log = Youtube(None, retries=0, timeout=5.0)._options(tmp_path)["logger"]
    log.warning("retrying https://me:word@h/x?token=hidden&v=1")
    assert "token=***&v=1" in caplog.text and "word" not in caplog.text and "hidden" not in caplog.text
