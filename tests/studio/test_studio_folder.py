"""The videos of a folder: as the pipeline finds them, and never written to."""

import os
import shutil
import time

import numpy as np
import pytest

from pipeline.sources.local import Folder
from read.encoders.frames import write_video
from read.errors import InputError
from read.studio.folder import Footage

pytestmark = pytest.mark.video


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    frames = np.random.default_rng(0).integers(0, 255, (16, 48, 64, 3), np.uint8)
    write_video(path, frames, 8)
    return path


@pytest.fixture
def opened(tmp_path):
    found = []

    def open_folder(folder=tmp_path / "videos", **more):
        found.append(Footage(folder, tmp_path / "cache", **more))
        return found[-1]

    (tmp_path / "videos").mkdir()
    yield open_folder
    for footage in found:
        footage.close()


def until(ready, patience=90.0):
    end = time.monotonic() + patience
    while not (found := ready()):
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)
    return found


def read_all(footage):
    until(lambda: all(video.state != "unread" for video in footage.videos.values()))
    return footage.videos


NAMES = ["a b'\"ü%d.mp4", "-lead.MP4", "日" * 60 + ".mp4", "pond.mp4"]


def test_names_of_any_kind_are_read_and_found_by_the_pipeline_too(tmp_path, opened, clip):
    folder = tmp_path / "videos"
    for name in NAMES:
        shutil.copy(clip, folder / name)
    before = sorted(folder.iterdir())
    footage = opened()
    videos = read_all(footage)
    assert {video.path.name for video in videos.values()} == set(NAMES)
    for vid, video in videos.items():
        assert (video.state, video.playable, video.played_as) == ("ready", True, "video/mp4")
        assert video.seconds == pytest.approx(2.0, abs=0.01)
        assert Folder(folder).find(vid) == video.path == footage.shown(vid).path == footage.find(video.path.name).path
        strip = until(lambda vid=vid: footage.thumbnail(vid)).read_bytes()
        assert strip[:2] == b"\xff\xd8" and size_of(strip) == (8 * 160, 90)
    assert sorted(folder.iterdir()) == before


def size_of(jpeg):
    from io import BytesIO

    from PIL import Image

    return Image.open(BytesIO(jpeg)).size


def test_what_labels_cannot_name_is_told_and_stops_nothing_else(tmp_path, opened, clip):
    folder = tmp_path / "videos"
    for name in ("new\nline.mp4", "x" * 240 + ".mp4", "twice.mp4", "twice.mov", ".hidden.mp4", "fine.mp4", "note.txt"):
        shutil.copy(clip, folder / name)
    shutil.copy(clip, os.fsencode(folder) + b"/by\xfftes.mp4")
    (folder / "gone.mp4").symlink_to("nowhere")
    (folder / "folder.mp4").mkdir()
    videos = read_all(opened())
    assert videos["fine"].state == "ready" and len(videos) == 6
    failed = {vid[:9]: video.error for vid, video in videos.items() if video.state == "failed"}
    assert "control character" in failed["new\\nline"] and "200" in failed["xxxxxxxxx"]
    assert failed["twice"].startswith("twice.mov and twice.mp4 have one name") and "link to" in failed["gone"]
    assert "rename it" in failed["by\\udcfft"]


def test_what_is_broken_has_a_sentence(tmp_path, opened, footage):
    for path in (footage / "bad").iterdir():
        shutil.copy(path, tmp_path / "videos")
    videos = read_all(opened())
    errors = {vid: video.error for vid, video in videos.items()}
    assert {video.state for video in videos.values()} == {"failed"} and len(videos) == 4
    assert "no video stream" in errors["audio_only"] and "cut short" in errors["truncated"]
    assert all(error.startswith(f"{videos[vid].path.name}: ") for vid, error in errors.items())
    assert not any(str(tmp_path) in error for error in errors.values())


def test_what_browsers_do_not_play_gets_a_copy_when_it_is_wanted(tmp_path, opened, footage):
    shutil.copy(footage / "videos/city.mpg", tmp_path / "videos")
    there = opened()
    assert not read_all(there)["city"].playable and there.shown("city") is None
    there.want("city")
    copy = until(lambda: there.shown("city")).path
    assert tmp_path / "cache" in copy.parents and there.videos["city"].playable
    assert opened().videos["city"].playable, "what was found out is kept"


def test_a_folder_that_changes_is_looked_at_again(tmp_path, opened, clip):
    footage, folder = opened(), tmp_path / "videos"
    assert footage.videos == {} and not footage.rescan()
    shutil.copy(clip, folder / "a.mp4")
    assert footage.rescan() and not footage.rescan()
    first, count = read_all(footage)["a"], footage.changes
    (folder / "a.mp4").write_bytes(b"no video any more")
    assert footage.rescan() and read_all(footage)["a"].state == "failed" and footage.changes > count
    shutil.copy(clip, folder / "a.mp4")
    os.utime(folder / "a.mp4", (1, 1))
    footage.rescan()
    assert read_all(footage)["a"].seconds == first.seconds
    (folder / "a.mp4").unlink()
    assert footage.rescan() and footage.videos == {}
    folder.rmdir()
    with pytest.raises(InputError, match="no such folder of videos"):
        footage.rescan()


def test_a_video_of_nothing_is_none(tmp_path, opened, footage):
    """The index of the file is whole, and all that it points to is blank."""
    content = bytearray((footage / "videos/charades.mp4").read_bytes())
    start = content.index(b"mdat") + 4
    end = start - 8 + int.from_bytes(content[start - 8 : start - 4], "big")
    content[start:end] = bytes(end - start)
    (tmp_path / "videos/blank.mp4").write_bytes(content)
    (video,) = read_all(opened()).values()
    assert (video.state, video.error) == ("failed", "blank.mp4: the video has no pictures")
