"""Parts of videos: the right ones, as long as asked for, whatever the container says of time."""

import subprocess

import numpy as np
import pytest

from read.encoders.cut import cut
from read.encoders.frames import read_clips
from read.encoders.program import ffmpeg_binary, stated_seconds
from read.errors import InputError

pytestmark = pytest.mark.video
FPS = 8


def run(*arguments):
    subprocess.run([ffmpeg_binary(), "-v", "error", *map(str, arguments)], check=True)


def seen(path):
    """What extraction sees: (n, 64, 64, 3)."""
    return np.concatenate([clip[:real] for clip, real in read_clips(path, FPS, 1.0, 64)]).astype(float)


def check(path, start, end, out):
    """The part is that of the whole, picture by picture, and of no other place."""
    cut(path, start, end, out)
    whole, part = seen(path)[round(start * FPS) : round(end * FPS)], seen(out)
    assert abs(len(part) - (end - start) * FPS) <= 1
    assert stated_seconds(out) == pytest.approx(end - start, abs=0.1)
    count = min(len(whole), len(part))
    apart = np.abs(whole[:count] - part[:count]).mean((1, 2, 3))
    assert np.median(apart) < 4 and apart.mean() < 5  # one picture to either side where two rates round


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("cut-ts/gop5.ts", 6, 8), ("cut-ts/gop5.ts", 1, 11), ("cut-changing-size/webrtc.webm", 4, 8),
        ("cut-changing-size/webrtc.webm", 1, 11), ("cut-changing-size/slow.mp4", 2, 4),
        ("cut-changing-size/slow.mp4", 3, 17),
    ],
)  # fmt: skip
def test_parts_that_seeking_gets_wrong(shared, tmp_path, name, start, end):
    check(shared / "faults" / name, start, end, tmp_path / "part.mp4")


@pytest.mark.parametrize(("name", "start", "end"), [
    ("hello.mp4", 3.5, 5), ("city.mpg", 1, 7.5), ("tree.avi", 3, 20), ("box.mp4", 8, 11), ("dog.mp4", 0.25, 1.25),
    ("cup.mp4", 0, 8.125), ("bikes.mp4", 2, 3),
])  # fmt: skip
def test_parts_of_real_clips(footage, tmp_path, name, start, end):
    check(footage / "videos" / name, start, end, tmp_path / "part.mp4")


@pytest.fixture(scope="module")
def late(tmp_path_factory):
    """8 s: sound from 0, a tone only from 4 s on; pictures from 1.5 s on, white from 4 s on. In four containers."""
    folder = tmp_path_factory.mktemp("late")
    picture = "color=gray:s=64x48:r=25:d=6.5,geq=lum='if(gte(T,2.5),235,20+8*T)':cb=128:cr=128"
    tone = "aevalsrc='if(gte(t,4),sin(2000*t),0)':d=8"
    for suffix in ("mkv", "mp4", "ts", "mov"):
        codec = ["-c:v", "libx264", "-g", "125", "-pix_fmt", "yuv420p", "-c:a", "aac"]
        run(
            "-f",
            "lavfi",
            "-i",
            tone,
            "-itsoffset",
            1.5,
            "-f",
            "lavfi",
            "-i",
            picture,
            *codec,
            folder / f"late.{suffix}",
        )
    return folder


@pytest.mark.parametrize("suffix", ["mkv", "mp4", "ts", "mov"])
def test_sound_stays_in_step_and_late_pictures_in_their_place(late, tmp_path, suffix):
    out = tmp_path / "part.mp4"
    assert (seen(late / f"late.{suffix}").mean((1, 2, 3)) > 150).argmax() / FPS == pytest.approx(4.0, abs=0.13)
    check(late / f"late.{suffix}", 1, 6, out)
    white = seen(out).mean((1, 2, 3)) > 150
    sound = subprocess.run(
        [ffmpeg_binary(), "-v", "error", "-i", out, "-f", "f32le", "-ac", "1", "-ar", "8000", "-"],
        stdout=subprocess.PIPE, check=True,
    ).stdout  # fmt: skip
    loud = np.abs(np.frombuffer(sound, np.float32)) > 0.2
    assert white.argmax() / FPS == pytest.approx(3.0, abs=0.13)
    assert loud.argmax() / 8000 == pytest.approx(3.0, abs=0.1)


def test_one_picture_is_a_part(shared, tmp_path):
    cut(shared / "faults/short-video/one25.mp4", 0, 0.125, tmp_path / "part.mp4")
    assert len(seen(tmp_path / "part.mp4")) >= 1


@pytest.mark.parametrize(("start", "end", "reason"), [(5, 12, r"3\.\d s of pictures"), (9, 10, "no picture")])
def test_a_part_beyond_the_end_is_refused_and_leaves_nothing(late, tmp_path, start, end, reason):
    with pytest.raises(InputError, match=rf"late\.mp4: from {start} to {end} s there is {reason}"):
        cut(late / "late.mp4", start, end, tmp_path / "part.mp4")
    assert list(tmp_path.iterdir()) == []
    cut(late / "late.mp4", 7, 8.5, tmp_path / "part.mp4", slack=0.5)
