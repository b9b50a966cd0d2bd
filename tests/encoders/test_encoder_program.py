"""ffmpeg: which one, what it may open, how long it may take, and how its end is told."""

import ast
import os
import subprocess
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from read.app.media import inspect
from read.encoders import program
from read.encoders.cut import cut
from read.encoders.frames import iter_clips, read_clips, transcode_for_web, write_video
from read.encoders.program import ffmpeg_binary, ffmpeg_version, stated_seconds
from read.errors import InputError
from read.video_files import VIDEO_SUFFIXES

pytestmark = pytest.mark.video
ROOT = Path(__file__).parents[2]
SECRET = 201  # the grey of a picture that no list may bring in


@pytest.fixture(scope="module")
def secret(tmp_path_factory):
    """Two seconds of another file of this machine, as mp4 and as a transport stream."""
    folder = tmp_path_factory.mktemp("secret")
    write_video(folder / "secret.mp4", [np.full((48, 64, 3), SECRET, np.uint8)] * 16, 8)
    command = [ffmpeg_binary(), "-v", "error", "-i", folder / "secret.mp4", "-c", "copy", folder / "secret.ts"]
    subprocess.run(command, check=True)
    return folder


@pytest.fixture
def hits():
    """The requests that a server on loopback is sent, and its address."""
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            seen.append(self.path)
            self.send_error(404)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield seen, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


HLS = "#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\n{}\n#EXT-X-ENDLIST\n"
DASH = (
    '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" mediaPresentationDuration="PT2S" '
    'profiles="urn:mpeg:dash:profile:isoff-on-demand:2011"><Period><AdaptationSet mimeType="video/mp4"><Representation '
    'id="1" bandwidth="1"><BaseURL>{}</BaseURL></Representation></AdaptationSet></Period></MPD>'
)
LISTS = {
    "hls": HLS.format("file://{room}/secret.ts"),
    "hls-relative": HLS.format("secret.ts"),
    "hls-net": HLS.format("{net}/hls.ts"),
    "hls-nested": HLS.format("concat:{room}/secret.ts"),
    "ffconcat": "ffconcat version 1.0\nfile secret.mp4\n",
    "ffconcat-net": "ffconcat version 1.0\nfile {net}/concat.mp4\n",
    "dash": DASH.format("{room}/secret.mp4"),
    "dash-net": DASH.format("{net}/dash.mp4"),
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    "rtsp": "[Reference]\nRef1={net}/ref.mp4\n",
}


@pytest.mark.parametrize("suffix", [".mp4", ".ts"])
@pytest.mark.parametrize("name", LISTS)
def test_no_call_follows_a_list_to_another_file_or_address(secret, hits, tmp_path, name, suffix):
    seen, net = hits
    trap = secret / f"{name}{suffix}"
    trap.write_text(LISTS[name].format(room=secret, net=net))
    out = tmp_path / "out.mp4"
    for use in (
        lambda: list(read_clips(trap, 8, 1.0, 32)),
        lambda: transcode_for_web(trap, out),
        lambda: cut(trap, 0.0, 1.0, out),
        lambda: inspect(trap, 100.0, "trap"),
    ):
        with pytest.raises(InputError, match=r"of a kind|could not be read|ffmpeg: "):
            use()
    assert stated_seconds(trap) is None
    assert seen == [] and not out.exists()


def test_the_secret_can_be_read_where_it_is_asked_for(secret):
    """The trap would be worth something."""
    for name in ("secret.mp4", "secret.ts"):
        assert np.concatenate(list(iter_clips(secret / name, 8, 1.0, 32))).mean() == pytest.approx(SECRET, abs=3)


# A codec and a format of pixels that each container takes; several suffixes may mean one container.
CONTENT = {
    "mp4 m4v mov 3gp 3g2 f4v": "libx264 yuv420p", "mkv webm": "libvpx yuv420p", "avi divx": "mpeg4 yuv420p",
    "mpg mpeg vob": "mpeg2video yuv420p", "ts mts m2ts": "libx264 yuv420p", "wmv asf": "msmpeg4 yuv420p",
    "flv": "flv yuv420p", "ogv ogg": "libtheora yuv420p", "mxf": "mpeg2video yuv420p", "rm": "rv20 yuv420p",
    "y4m": "wrapped_avframe yuv420p", "gif": "gif rgb8",
}  # fmt: skip


@pytest.mark.parametrize("suffixes", CONTENT)
def test_every_container_that_cards_know_is_let_through(tmp_path, suffixes):
    codec, pixels = CONTENT[suffixes].split()
    path = tmp_path / f"a.{suffixes.split()[0]}"
    make(path, "color=gray:s=176x144:r=25:d=1", codec, pixels)
    assert np.concatenate(list(iter_clips(path, 8, 1.0, 32))).mean() == pytest.approx(127, abs=3)


def test_no_suffix_of_cards_is_left_out():
    told = {f".{suffix}" for suffixes in CONTENT for suffix in suffixes.split()}
    assert set(VIDEO_SUFFIXES) - told == {".m4a", ".rmvb"}  # mov's and rm's, as .m4v and .rm


def make(path, picture, codec, pixels):
    command = [ffmpeg_binary(), "-v", "error", "-f", "lavfi", "-i", picture, "-c:v", codec, "-pix_fmt", pixels]
    subprocess.run([*command, path], check=True)


def test_all_calls_go_through_one_module():
    """Nobody else builds a command line of ffmpeg's; three modules hand its place on or ask whether it is there."""
    for path in [*(ROOT / "read").rglob("*.py"), *(ROOT / "pipeline").rglob("*.py")]:
        name = path.relative_to(ROOT).as_posix()
        if name == "read/encoders/program.py":
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import | ast.ImportFrom) else []
            module = getattr(node, "module", "") or ""
            assert module.split(".")[0] not in ("ffmpeg", "imageio_ffmpeg"), name
            assert not {"ffmpeg", "imageio_ffmpeg"} & set(names), name
            if "ffmpeg_binary" in names:
                assert name in (
                    "pipeline/sources/youtube.py",
                    "pipeline/stages/extract.py",
                    "pipeline/stages/transcribe.py",
                ), name


@pytest.fixture
def stand_in(tmp_path, monkeypatch):
    """Another program in ffmpeg's place."""

    def put(script):
        path = tmp_path / "ffmpeg"
        path.write_text(f"#!{sys.executable}\nimport os, signal, sys, time\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("READ_FFMPEG", str(path))
        (tmp_path / "a.mp4").write_bytes(b"x")
        return tmp_path / "a.mp4"

    return put


def test_a_killed_ffmpeg_is_told_from_a_damaged_file(stand_in):
    path = stand_in("os.kill(os.getpid(), signal.SIGKILL)")
    with pytest.raises(InputError, match=r"a\.mp4: ffmpeg was ended by signal 9 \(Killed\); was the memory full\?"):
        list(iter_clips(path, 8, 2.0, 64))


HANGS = {"reading": "time.sleep(60)", "ending": "os.close(1); time.sleep(60)"}


@pytest.mark.parametrize("script", HANGS.values(), ids=HANGS)
def test_an_ffmpeg_that_hangs_is_given_up(stand_in, monkeypatch, script):
    path = stand_in(script)
    monkeypatch.setattr(program, "PATIENCE", 0.1)
    start = time.monotonic()
    with pytest.raises(InputError, match=r"a\.mp4: ffmpeg did not get done with 2 s of video in 0.3 s and was ended"):
        list(iter_clips(path, 8, 2.0, 64))
    assert time.monotonic() - start < 50.0  # and not 60


def test_whoever_is_told_of_an_ffmpeg_can_end_it(stand_in, tmp_path):
    """In every call, within a moment."""
    path = stand_in("time.sleep(60)")
    killed = []

    def end(process):
        killed.append(process)
        threading.Timer(0.1, process.kill).start()

    token = program.on_start.set(end)
    try:
        for use in (
            lambda: list(read_clips(path, 8, 1.0, 32)),
            lambda: cut(path, 0.0, 1.0, tmp_path / "out.mp4"),
            lambda: transcode_for_web(path, tmp_path / "out.mp4"),
            lambda: inspect(path, 100.0, "trap"),
        ):
            start = time.monotonic()
            with pytest.raises(InputError):
                use()
            assert time.monotonic() - start < 50.0  # and not 60
    finally:
        program.on_start.reset(token)
    assert len(killed) == 5 and all(process.poll() is not None for process in killed)


def test_pictures_of_a_huge_size_are_refused(tmp_path):
    make(tmp_path / "a.mkv", "color=gray:s=9000x9000:r=5:d=0.2", "mjpeg", "yuvj420p")
    with pytest.raises(InputError, match=r"Picture size 9\d+x9\d+ exceeds"):
        list(iter_clips(tmp_path / "a.mkv", 8, 2.0, 64))


def test_the_systems_ffmpeg_comes_first_and_the_choice_before_it(tmp_path, monkeypatch):
    (tmp_path / "ffmpeg").write_text("#!/bin/sh\necho ffmpeg version 1.2.3-test\n")
    (tmp_path / "ffmpeg").chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    monkeypatch.delenv("READ_FFMPEG", raising=False)
    assert ffmpeg_binary() == str(tmp_path / "ffmpeg")
    assert ffmpeg_version() == "ffmpeg 1.2.3-test"
    monkeypatch.setenv("READ_FFMPEG", "wheel")
    assert "imageio_ffmpeg" in ffmpeg_binary()
    monkeypatch.setenv("READ_FFMPEG", str(tmp_path / "none"))
    with pytest.raises(InputError, match=r"READ_FFMPEG: .*none is no program; say system, wheel"):
        ffmpeg_binary()


def test_without_ffmpeg_the_message_says_how_to_get_it(monkeypatch):
    monkeypatch.setenv("PATH", "")
    monkeypatch.delenv("READ_FFMPEG", raising=False)
    monkeypatch.setitem(sys.modules, "imageio_ffmpeg", None)
    with pytest.raises(InputError, match="pip install imageio-ffmpeg"):
        ffmpeg_binary()
    monkeypatch.setenv("READ_FFMPEG", "system")
    with pytest.raises(InputError, match=r"READ_FFMPEG is system, but ffmpeg was not found"):
        ffmpeg_binary()
