"""One encoding at a time, in the order in which people came; and nothing stays of those who have gone."""

import threading
import time

import requests

from read.app.jobs import UNEXPECTED, Job, Line
from read.app.sessions import MAX_VIDEOS
from read.errors import InputError
from tests.app.fake import FakePredictor, Person, end_all_visits, files_of, make_video, serving, wait_until


def test_two_people_at_once(person, other, site, clip):
    predictor = site.predictor
    predictor.gate.clear()
    predictor.most = 0
    mine, theirs = person.upload(clip).json()["id"], other.upload(clip).json()["id"]
    assert person.wait(mine, ["running"])["before"] == 0
    told = other.look(theirs)
    assert told["state"] == "waiting" and told["before"] == 1
    assert other.ask(theirs).status_code == 409
    predictor.gate.set()
    assert person.wait(mine)["state"] == other.wait(theirs)["state"] == "done"
    assert predictor.most == 1
    assert person.ask(mine).status_code == other.ask(theirs).status_code == 200


def test_questions_are_answered_while_another_video_is_read(person, other, site, clip):
    key = person.add(clip)
    site.predictor.gate.clear()
    theirs = other.upload(clip).json()["id"]
    other.wait(theirs, ["running"])
    assert person.ask(key).status_code == 200


def test_progress_is_told(person, site, clip):
    site.predictor.gate.clear()
    key = person.upload(clip).json()["id"]
    wait_until(lambda: person.look(key)["done"])
    told = person.look(key)
    assert told["done"] == 2.0 and 11 < told["total"] <= 12


def test_removing_a_video_makes_way_for_the_next(person, other, site, clip):
    site.predictor.gate.clear()
    mine, theirs = person.upload(clip).json()["id"], other.upload(clip).json()["id"]
    person.wait(mine, ["running"])
    assert person.delete(f"/api/videos/{mine}").status_code == 204
    assert other.wait(theirs, ["running"])["before"] == 0
    wait_until(lambda: files_of(site) == ["upload.mp4"])


def test_bad_files_are_told_in_sentences(person, site, footage):
    bad = footage / "bad"
    for name, words in {
        "empty.mp4": "empty.mp4: could not be read as a video (ffmpeg: Invalid data found",
        "text.mp4": "text.mp4: could not be read as a video (ffmpeg: Invalid data found",
        "audio_only.m4a": "audio_only.mp4: the file has no video stream",
        "truncated.mp4": "truncated.mp4: the file is cut short or damaged",
    }.items():
        response = person.upload(bad / name, name.replace(".m4a", ".mp4"))
        assert response.status_code == 422 and response.json()["error"].startswith(words)


def test_what_shows_only_when_a_video_is_read_is_told_by_its_name(person, site, clip, monkeypatch):
    def encode(path, progress=None):
        raise InputError(f"{path}: nothing in it can be decoded")

    monkeypatch.setattr(site.predictor, "encode", encode)
    told = person.wait(person.upload(clip, "mine.mp4").json()["id"])
    assert told["state"] == "failed" and told["error"] == "mine.mp4: nothing in it can be decoded"
    response = person.ask(told["id"])
    assert response.status_code == 409 and response.json()["error"] == told["error"]


def test_the_oldest_video_of_a_visit_makes_room(person, site, clip):
    keys = [person.add(clip) for _ in range(MAX_VIDEOS + 1)]
    assert [video["id"] for video in person.get("/api/session").json()["videos"]] == keys[1:]
    assert len(files_of(site)) == MAX_VIDEOS
    person.look(keys[1])  # as another tab does that shows it
    keys.append(person.add(clip))
    left = [video["id"] for video in person.get("/api/session").json()["videos"]]
    assert sorted(left) == sorted([keys[1], *keys[3:]])


def test_a_visit_ends_with_its_files_when_nobody_uses_it(clip, monkeypatch):
    monkeypatch.setattr("read.app.site.SWEEP", 0.05)
    with serving(FakePredictor()) as (address, site):
        gone, here = Person(address), Person(address)
        gone.add(clip)
        key = here.add(clip)
        visits = list(site.sessions._sessions.values())
        for _ in range(2):  # as if so much time went by
            for visit in visits:
                visit.seen -= 0.7 * site.sessions.idle_seconds
            assert here.look(key)["state"] == "done"
        wait_until(lambda: len(files_of(site)) == 1)
        assert here.look(key)["state"] == "done"
        response = gone.get("/api/session")
        assert response.status_code == 200 and response.json()["videos"] == []


def test_a_visit_that_has_ended_says_so(person, site, clip):
    key = person.add(clip)
    end_all_visits(site)
    response = person.ask(key)
    assert response.status_code == 403 and "This visit has ended" in response.json()["error"]
    assert list(site.sessions.root.iterdir()) == []


def test_the_number_of_visits_is_limited(page, clip, monkeypatch):
    monkeypatch.setattr("read.app.sessions.MAX_SESSIONS", 2)
    people = [Person(page[0]) for _ in range(2)]
    for person in people:
        person.add(clip)
    late = requests.get(f"{page[0]}/api/session", timeout=90)
    assert late.status_code == 503 and "Too many people" in late.json()["error"]
    monkeypatch.setattr("read.app.sessions.IN_USE", -1.0)  # as if both had been away for a while
    assert requests.get(f"{page[0]}/api/session", timeout=90).status_code == 200
    assert len(people[1].get("/api/session").json()["videos"]) == 1


def test_everything_is_removed_at_the_end_in_the_middle_of_an_encoding(tmp_path):
    predictor = FakePredictor()
    with serving(predictor) as (address, site):  # which checks that the folder is gone
        person = Person(address)
        predictor.gate.clear()
        key = person.upload(make_video(tmp_path / "a.mp4")).json()["id"]
        person.wait(key, ["running"])
        root = site.sessions.root
        threading.Timer(0.5, predictor.gate.set).start()
    assert not root.exists()


def test_the_line_keeps_order_and_outlives_faults(capfd):
    line, done = Line(), []

    def work(number):
        def act(job):
            done.append(number)
            if number == 1:
                raise InputError("a bad video")
            if number == 2:
                raise ZeroDivisionError
            return number

        return act

    jobs = [line.add(Job(work(number))) for number in range(5)]
    wait_until(lambda: jobs[-1].state == "done")
    line.close()
    assert done == [0, 1, 2, 3, 4]
    assert [job.state for job in jobs] == ["done", "failed", "failed", "done", "done"]
    assert [job.error for job in jobs] == ["", "a bad video", UNEXPECTED, "", ""]
    assert [job.result for job in jobs] == [0, None, None, 3, 4]
    assert "ZeroDivisionError" in capfd.readouterr().err


def test_a_cancelled_job_never_begins_and_a_running_one_ends():
    line, held, ran = Line(), threading.Event(), []

    def hold(job):
        while True:
            job.progress(1.0)
            held.set()
            time.sleep(0.005)

    first, second = line.add(Job(hold)), line.add(Job(lambda job: ran.append(2)))
    assert held.wait(90) and line.before(second) == 1
    line.cancel(second)
    assert line.before(second) == 0
    line.close(90)
    assert first.state == "failed" and first.result is None and ran == []


def test_what_somebody_waits_for_comes_before_all_that_waits():
    line, gate, done = Line(), threading.Event(), []
    line.add(Job(lambda job: gate.wait(90)))
    jobs = [line.add(Job(lambda job, name=name: done.append(name)), first=name == "c") for name in "abc"]
    gate.set()
    wait_until(lambda: all(job.state == "done" for job in jobs))
    line.close()
    assert done == ["c", "a", "b"]
