"""Pieces of the folder's videos, as files to keep."""

import re

import pytest

from read.encoders.frames import stated_seconds
from read.studio.video_routes import VideoRoutes

pytestmark = pytest.mark.video


def test_a_piece_is_cut_out_and_nothing_of_it_stays(labeller, studio, videos, tmp_path):
    name = "dog & cat 100% (1)"
    labeller.wait(lambda told: told[name]["state"] == "ready")
    before = sorted(videos.iterdir())
    response = labeller.get(f"/api/videos/{name.replace('%', '%25')}/clip", params={"start": 6, "end": 8})
    assert response.status_code == 200 and "6.0-8.0" in response.headers["Content-Disposition"]
    (tmp_path / "piece.mp4").write_bytes(response.content)
    assert stated_seconds(tmp_path / "piece.mp4") == pytest.approx(2.0, abs=0.3)
    room = studio.footage.cache / "pieces"
    assert [*room.iterdir()] == [] and sorted(videos.iterdir()) == before
    (room / "left by a kill.mp4").touch()
    VideoRoutes(studio.labels, studio.footage, studio.reading)
    assert not room.exists()


@pytest.mark.parametrize(
    "vid, piece, why",
    [
        ("walk", "", "a start and an end"),
        ("walk", "start=3&end=3", "no such piece"),
        ("walk", "start=nan&end=2", "no such piece"),
        ("walk", "start=500&end=502", "no such piece"),
        ("broken", "start=0&end=1", "could not be read"),
        ("other", "start=0&end=1", "no such video"),
    ],
)
def test_no_such_piece(labeller, vid, piece, why):
    labeller.wait(lambda told: all(video["state"] != "unread" for video in told.values()))
    response = labeller.get(f"/api/videos/{vid}/clip?{piece}")
    assert 400 <= response.status_code < 500 and re.search(why, response.json()["error"])
