"""The page with a real bundle: it answers what `Predictor` answers."""

import pytest

from read.predictor import Predictor
from tests.app.fake import Person, files_of, serving, wait_until

pytest_plugins = ["tests.packed"]
pytestmark = pytest.mark.video


@pytest.fixture(scope="module")
def predictor(packed):
    return Predictor.from_bundle(packed)


def test_from_a_video_to_moments_and_a_summary(predictor, videos):
    path, query = videos / "größe Ü.mp4", "the dog jumps over the fence"
    expected = predictor.encode(path)
    with serving(predictor) as (address, site):
        person = Person(address)
        assert person.visit["adapters"] == {task: list(predictor.bundle.adapters(task)) for task in predictor.tasks}
        key = person.add(path)
        for adapter in person.visit["adapters"]["grounding"]:
            (known,) = expected.answer([query], adapter)
            answer = person.ask(key, query, adapter=adapter).json()
            assert [tuple(moment.values()) for moment in answer["moments"]] == list(map(tuple, known.moments))
            assert answer["saliency"] == known.saliency and answer["duration"] == expected.duration
            assert answer["threshold"] == predictor.threshold(adapter)
        said = {"transcript": "look at the dog"}
        assert person.post(f"/api/videos/{key}/summary", json=said).json()["summary"] == expected.summary(**said)
        assert person.get(f"/api/videos/{key}/clip", params={"start": 0, "end": 1}).status_code == 200
        wait_until(lambda: files_of(site) == ["upload.mp4"])


def test_a_video_that_ffmpeg_gives_up_on_is_told_by_its_name(predictor, footage, monkeypatch):
    monkeypatch.setattr("read.app.media.cut_short", lambda lines: None)  # as if its packets did not tell
    with serving(predictor) as (address, site):
        person = Person(address)
        told = person.wait(person.upload(footage / "bad" / "truncated.mp4").json()["id"])
        assert told["state"] == "failed" and told["error"].startswith("truncated.mp4: the file is cut short")
        assert str(site.sessions.root) not in told["error"]


def test_removing_a_video_stops_its_encoding(predictor, footage):
    with serving(predictor) as (address, site):
        person = Person(address)
        key = person.upload(footage / "videos" / "charades.mp4").json()["id"]
        person.wait(key, ["running"])
        assert person.delete(f"/api/videos/{key}").status_code == 204
        site.line.close(patience=60)
        assert files_of(site) == []
