"""What tabs are told when they ask at once."""

import errno
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.app.fake import wait_until
from tests.studio.fake import Labeller, serving

pytestmark = pytest.mark.video


@pytest.fixture
def rooms(tmp_path):
    """Folders for videos and for a checkout, both empty."""
    found = tmp_path / "videos", tmp_path / "working"
    for folder in found:
        folder.mkdir()
    return found


def test_tabs_that_look_at_once_are_told_of_all_videos(labeller, studio, quick_turns):
    labeller.wait(lambda told: told["walk"]["state"] == "ready")
    names = set(studio.footage.videos)
    with ThreadPoolExecutor(8) as pool:
        looks = list(pool.map(lambda _: studio._changes(-1, -1), range(400)))
    assert all({video["vid"] for video in look["videos"]} == names for look in looks)
    assert not any("gone" in video for look in looks for video in look["videos"])
    assert len({look["seen"] for look in looks}) == len(looks)


def test_each_tab_is_told_of_a_video_that_has_gone(clip, rooms):
    folder, working = rooms
    for name in ("stays", "goes"):
        shutil.copy(clip, folder / f"{name}.mp4")
    with serving(folder, working) as (address, studio), Labeller(address) as one:
        one.wait(lambda told: all(video["state"] == "ready" for video in told.values()))
        seen = one.get("/api/state").json()["seen"]
        (folder / "goes.mp4").unlink()
        studio.look()
        for _ in range(2):  # tabs
            told = one.get("/api/changes", params={"since": 0, "seen": seen}).json()["videos"]
            assert told == [{"vid": "goes", "gone": True}]
        assert [video["vid"] for video in one.get("/api/state").json()["videos"]] == ["stays"]
        shutil.copy(clip, folder / "goes.mp4")
        studio.look()
        one.wait(lambda told: "goes" in told and told["goes"]["state"] == "ready")


@pytest.mark.skipif(os.name != "posix", reason="names are text there")
def test_a_name_that_is_no_text_is_told_and_all_others_with_it(clip, rooms):
    folder, working = rooms
    for name in (b"pond.mp4", b"by\xfftes.mp4"):
        shutil.copy(clip, os.fsencode(folder) + b"/" + name)
    with serving(folder, working) as (address, _), Labeller(address) as one:
        told = {video["file"]: video for video in one.state["videos"]}
        assert set(told) == {"pond.mp4", "by\\udcfftes.mp4"}
        assert "rename it" in told["by\\udcfftes.mp4"]["error"]


def test_sentences_of_a_video_whose_file_has_gone_are_told_with_it(clip, rooms):
    folder, working = rooms
    for name in ("stays", "goes"):
        shutil.copy(clip, folder / f"{name}.mp4")
    with serving(folder, working) as (address, studio), Labeller(address) as one:
        one.wait(lambda told: all(video["state"] == "ready" for video in told.values()))
        label = one.label("goes").json()["label"]
        one.label("stays")
        path = studio.labels.annotations
        path.write_text(path.read_text(encoding="utf-8").replace('"stays"', '"stays.mp4"'), encoding="utf-8")
        key = one.wait(lambda told: len(told) == 3)["goes"]["key"]
        os.utime(folder / "goes.mp4", (1, 1))
        studio.look()
        assert one.wait(lambda told: told["goes"]["state"] == "ready")["goes"]["key"] != key  # another file
        (folder / "goes.mp4").rename(folder / "went.mp4")
        studio.look()
        told = one.wait(lambda told: "went" in told)
        assert (told["goes"]["state"], told["goes"]["labels"], told["goes"]["key"]) == ("failed", 1, "")
        assert "no file of this name" in told["goes"]["error"] and "call it stays in" in told["stays.mp4"]["error"]
        assert one.label("goes", "again").status_code == 404
        assert one.delete(f"/api/labels/{label['qid']}", params={"rev": label["rev"]}).status_code == 200
        assert set(one.wait(lambda told: len(told) == 3)) == {"stays", "stays.mp4", "went"}


def test_a_folder_that_is_away_is_told_and_looked_at_again_when_it_is_back(clip, rooms, tmp_path, monkeypatch):
    monkeypatch.setattr("read.studio.site.LOOK", 0.05)
    folder, working = rooms
    shutil.copy(clip, folder / "walk.mp4")
    with serving(folder, working) as (address, _), Labeller(address) as one:
        one.wait(lambda told: told["walk"]["state"] == "ready")

        def amiss():
            return one.get("/api/changes", params={"since": 0}).json()["amiss"]

        folder.rename(tmp_path / "unplugged")
        wait_until(lambda: "no such folder of videos (any more)" in amiss())
        assert one.get("/api/videos/walk/file").status_code == 404
        shutil.copy(clip, tmp_path / "unplugged" / "new.mp4")
        (tmp_path / "unplugged").rename(folder)
        wait_until(lambda: amiss() == "")
        assert one.wait(lambda told: "new" in told) and one.get("/api/videos/walk/file").status_code == 200


def test_what_cannot_be_saved_now_is_told_apart_from_what_never_can(labeller, studio, monkeypatch):
    """A page keeps the one and tries again."""
    labeller.wait(lambda told: told["walk"]["state"] == "ready")
    assert labeller.label("walk").status_code == 201
    annotations = studio.labels.annotations
    good = annotations.read_bytes()
    annotations.write_bytes(good + b"half of a li")
    response = labeller.label("walk", "again")
    assert response.status_code == 503 and "annotations.jsonl:2" in response.json()["error"]
    annotations.write_bytes(good)
    with monkeypatch.context() as patched:

        def full(*_):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

        patched.setattr("read.studio.saved._write", full)
        response = labeller.label("walk", "again")
        assert response.status_code == 503 and "the disk is full" in response.json()["error"]
    assert labeller.label("walk", "again").status_code == 201
    assert labeller.label("walk", "again", ((5.0, 6.0),)).status_code == 422
