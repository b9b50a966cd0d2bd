"""Video files in and out: times, padding, colours, damage, and no process left behind."""

import subprocess
import sys

import numpy as np
import pytest

from read.encoders import program
from read.encoders.base import Framing
from read.encoders.frames import frames_per_clip, iter_clips, read_clips, read_views, transcode_for_web, write_video
from read.encoders.program import ffmpeg_binary
from read.errors import InputError

pytestmark = pytest.mark.video

# Seconds that a player shows, from the README beside the clips; tree.avi holds 68 pictures spread over 29.6 s.
SECONDS = {
    "bikes.mp4": 10.0,
    "box.mp4": 15.18,
    "charades.mp4": 30.7,
    "city.mpg": 7.6,
    "cup.mp4": 8.1,
    "dog.mp4": 1.6,
    "hello.mp4": 8.32,
    "tree.avi": 29.6,
    "vtest.avi": 79.5,
}


def picture(height=48, width=64, value=128):
    return np.full((height, width, 3), value, np.uint8)


@pytest.fixture
def started(monkeypatch):
    """The processes that are started during the test."""
    processes, popen = [], subprocess.Popen

    def record(*args, **kwargs):
        processes.append(popen(*args, **kwargs))
        return processes[-1]

    monkeypatch.setattr(program.subprocess, "Popen", record)
    return processes


@pytest.mark.parametrize("name", SECONDS)
def test_real_clips_fill_their_duration(footage, name):
    clips = list(read_clips(footage / "videos" / name, 8, 2.0, 64))
    assert {clip.shape for clip, _ in clips} == {(16, 64, 64, 3)}
    assert {clip.dtype for clip, _ in clips} == {np.dtype(np.uint8)}
    assert len(clips) == -(-SECONDS[name] // 2.0)
    assert sum(real for _, real in clips) / 8 == pytest.approx(SECONDS[name], abs=0.3)


def test_several_views_of_one_decoding_are_each_what_it_is_alone(tmp_path):
    """A view of the middle does not show what is at the sides; one of the whole picture does."""
    path, frames = tmp_path / "sides.mp4", np.full((9, 48, 96, 3), 255, np.uint8)
    frames[:, :, :24] = 0
    write_video(path, frames, 4)
    views = [
        Framing(32),
        Framing(48, squash=True),
        Framing(40),
        Framing(32, squash=True),
        Framing(32, short=48),
        Framing(48),
    ]
    found = list(read_views(path, 4, 2.0, views))
    assert [real for _, real in found] == [8, 1]
    for number, view in enumerate(views):
        alone = [clip for (clip,), _ in read_views(path, 4, 2.0, [view])]
        np.testing.assert_array_equal([clip[number] for clip, _ in found], alone)
    clips = found[0][0]
    np.testing.assert_array_equal(clips[0], next(iter_clips(path, 4, 2.0, 32)))
    np.testing.assert_array_equal(clips[4], clips[5][:, 8:40, 8:40])
    assert [int((clip[0, 16, :, 1] < 128).sum()) for clip in clips] == [0, 12, 0, 8, 0, 0]


@pytest.mark.parametrize("name", ["audio_only.m4a", "empty.mp4", "text.mp4", "truncated.mp4"])
def test_bad_files_end_in_one_line(footage, name, started):
    path = footage / "bad" / name
    with pytest.raises(InputError) as error:
        list(iter_clips(path, 8, 2.0, 64))
    message = str(error.value)
    assert message.startswith(f"{path}: ")
    assert len(message) > len(str(path)) + 10
    assert "\n" not in message
    assert "0x5" not in message, "addresses in memory say nothing"
    assert all(process.poll() is not None for process in started)


def test_sound_only_is_named(footage):
    with pytest.raises(InputError, match="no video stream"):
        list(iter_clips(footage / "bad" / "audio_only.m4a", 8, 2.0, 64))


def test_what_is_no_file_is_told_for_what_it_is(tmp_path):
    (tmp_path / "link.mp4").symlink_to(tmp_path / "gone.mp4")
    for name, reason in (
        ("nothing.mp4", "no such file"),
        ("", "is a folder"),
        ("link.mp4", r"is a link to .*gone\.mp4"),
    ):
        with pytest.raises(InputError, match=reason):
            next(iter_clips(tmp_path / name, 8, 2.0, 64))


@pytest.mark.parametrize("seconds", [0.04, 0.05])
def test_a_video_shorter_than_half_a_step_has_its_one_clip(tmp_path, seconds):
    write_video(tmp_path / "a.mp4", [picture(value=90)], 1 / seconds)
    ((clip, real),) = read_clips(tmp_path / "a.mp4", 8, 2.0, 48)
    assert clip.shape == (16, 48, 48, 3) and real == 1
    assert np.abs(clip.astype(int) - 90).max() < 4


def test_a_change_of_size_does_not_begin_the_time_line_anew(tmp_path):
    """Two sizes in one transport stream: a grey for each second, 8 seconds in all."""
    for number, size in enumerate(("64x48", "128x96")):
        greys = f"color=gray:s={size}:r=25:d=4,geq=lum='40+50*floor(T)+{10 * number}':cb=128:cr=128"
        options = ["-pix_fmt", "yuv420p", "-output_ts_offset", str(4 * number), str(tmp_path / f"{number}.ts")]
        subprocess.run([ffmpeg_binary(), "-v", "error", "-f", "lavfi", "-i", greys, *options], check=True)
    whole = tmp_path / "whole.ts"
    whole.write_bytes(b"".join((tmp_path / f"{number}.ts").read_bytes() for number in range(2)))
    clips = list(read_clips(whole, 8, 1.0, 32))
    assert [real for _, real in clips[:-1]] == [8] * 7 and clips[-1][1] in (7, 8)
    levels = [float(clip.mean()) for clip, _ in clips]
    assert levels == sorted(levels[:4]) + sorted(levels[4:]) and len({round(level) for level in levels}) == 8
    assert max(clip.std() for clip, _ in clips) < 2


def test_last_clip_is_filled_with_its_last_frame(tmp_path):
    write_video(tmp_path / "a.mp4", [picture(value=10 * i) for i in range(20)], 8)
    (first, whole), (last, real) = read_clips(tmp_path / "a.mp4", 8, 2.0, 48)
    assert (whole, real) == (16, 4)
    assert first.shape == last.shape
    assert (last[real:] == last[real - 1]).all()
    assert np.diff(first.mean((1, 2, 3))).min() > 5


def test_streaming_equals_decoding_at_once(tmp_path):
    rng = np.random.default_rng(0)
    write_video(tmp_path / "a.mp4", rng.integers(0, 255, (40, 48, 64, 3), dtype=np.uint8), 8)
    parts = np.concatenate([clip[:real] for clip, real in read_clips(tmp_path / "a.mp4", 8, 0.5, 48)])
    (whole,) = iter_clips(tmp_path / "a.mp4", 8, 5.0, 48)
    assert np.array_equal(parts, whole)


def test_other_rate_keeps_the_times(tmp_path):
    write_video(tmp_path / "a.mp4", [picture(value=20 if i < 30 else 220) for i in range(60)], 30)
    (clip,) = iter_clips(tmp_path / "a.mp4", 8, 2.0, 48)
    assert (clip[:8] < 60).all()
    assert (clip[8:] > 180).all()


def test_shorter_side_is_resized_and_the_centre_kept(tmp_path):
    for shape, sides in (((64, 128), np.s_[:, :30]), ((128, 64), np.s_[:30])):
        image = np.zeros((*shape, 3), np.uint8)
        image[...] = (0, 200, 0)
        image[sides] = image[::-1, ::-1][sides] = (200, 0, 0)
        write_video(tmp_path / "a.mp4", [image] * 16, 8)
        (clip,) = iter_clips(tmp_path / "a.mp4", 8, 2.0, 32)
        red, green, blue = clip.astype(int).mean((0, 1, 2))
        assert green > 180
        assert max(red, blue) < 25


def test_any_character_in_a_path(tmp_path):
    path = tmp_path / "a: 100%d 'x', [y];.mp4"
    write_video(path, [picture()] * 16, 8)
    assert len(list(iter_clips(path, 8, 2.0, 48))) == 1


@pytest.mark.parametrize(("fps", "clip_len"), [(7.3, 2.0), (0.1, 2.0), (8, 0.0)])
def test_clips_hold_whole_numbers_of_frames(fps, clip_len):
    with pytest.raises(InputError, match="whole number"):
        frames_per_clip(fps, clip_len)


def test_no_process_outlives_its_consumer(tmp_path, started):
    write_video(tmp_path / "a.mp4", [picture()] * 400, 8)
    stream = iter_clips(tmp_path / "a.mp4", 8, 0.5, 48)
    next(stream)
    stream.close()
    assert len(started) == 2
    assert all(process.poll() is not None for process in started)


def test_equal_frames_give_equal_bytes(tmp_path):
    images = np.random.default_rng(1).integers(0, 255, (30, 48, 64, 3), dtype=np.uint8)
    write_video(tmp_path / "a.mp4", images, 8)
    write_video(tmp_path / "b.mp4", iter(images), 8)
    assert (tmp_path / "a.mp4").read_bytes() == (tmp_path / "b.mp4").read_bytes()


def test_a_video_is_written_whole_or_not_at_all(tmp_path, started):
    def broken():
        yield picture()
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        write_video(tmp_path / "a.mp4", broken(), 8)
    with pytest.raises(InputError, match=r"a\.mp4: no frames"):
        write_video(tmp_path / "a.mp4", [], 8)
    with pytest.raises(InputError, match="divisible by 2"):
        write_video(tmp_path / "a.mp4", [picture(47, 63)] * 9, 8)
    with pytest.raises(InputError, match="shape"):
        write_video(tmp_path / "a.mp4", [picture(), picture(24)], 8)
    assert list(tmp_path.iterdir()) == []
    assert all(process.poll() is not None for process in started)


def test_the_web_copy_has_the_time_line_of_extraction(tmp_path):
    """Sound from 0, pictures from 1.5 s on, each half second another grey."""
    greys = "color=gray:s=64x48:r=10:d=2.5,geq=lum='40+40*floor(2*T)':cb=128:cr=128"
    source = ["-f", "lavfi", "-i", "sine=d=4", "-itsoffset", "1.5", "-f", "lavfi", "-i", greys]
    subprocess.run([ffmpeg_binary(), "-v", "error", *source, tmp_path / "late.mkv"], check=True)
    transcode_for_web(tmp_path / "late.mkv", tmp_path / "web.mp4", width=64)
    for name in ("late.mkv", "web.mp4"):
        levels = [float(clip.mean()) for clip, _ in read_clips(tmp_path / name, 10, 0.5, 48)]
        steps = np.diff(levels[:8])
        assert np.abs(steps[:3]).max() < 2 < 40 < steps[3:].min(), (name, levels)


def test_web_copy_plays_from_its_first_bytes(footage, tmp_path):
    out = tmp_path / "tree.mp4"
    transcode_for_web(footage / "videos" / "tree.avi", out, width=160)
    data = out.read_bytes()
    assert 0 < data.index(b"moov") < data.index(b"mdat")
    assert sum(real for _, real in read_clips(out, 8, 2.0, 64)) / 8 == pytest.approx(29.6, abs=0.3)
    with pytest.raises(InputError, match=r"text\.mp4"):
        transcode_for_web(footage / "bad" / "text.mp4", tmp_path / "b.mp4")
    assert list(tmp_path.iterdir()) == [out]


def test_the_room_imports_without_the_models():
    code = (
        "import sys, read.encoders.extractor, read.encoders.tiny\n"
        "assert not {'open_clip', 'torchvision', 'transformers'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
