"""A page in public: people who send half of something, too much, or what nobody can read, shut nobody else out."""

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
import requests

from read.app import connections, sessions
from read.app.connections import network_of
from read.app.guard import is_ours
from read.app.jobs import Job, Line
from read.app.sessions import PREFIX, Session, Sessions, sweep_dead
from read.encoders.frames import iter_clips, write_video
from read.encoders.program import on_start
from read.errors import InputError
from tests.app.fake import FakePredictor, Person, files_of, make_video, serving, wait_until

HALF = b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Slow: "


def connect(address, sent=b""):
    place = urlsplit(address)
    found = socket.create_connection((place.hostname, place.port), timeout=90)
    found.sendall(sent)
    return found


def closed(connection):
    """Whether the other side has closed; waits for it."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionError:
        pass
    return True


def test_half_sent_requests_shut_nobody_out(page):
    with ExitStack() as stack:
        for _ in range(connections.MOST + 20):
            stack.enter_context(connect(page[0], HALF))
        assert requests.get(page[0], timeout=90).status_code == 200
        assert Person(page[0]).visit["token"]


@pytest.mark.parametrize("sent", [b"", HALF, b"GET /page.css HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n" + HALF])
def test_who_does_not_finish_a_request_is_let_go(page, monkeypatch, sent):
    monkeypatch.setattr(connections, "HEADER_SECONDS", 0.5)
    began = time.monotonic()
    with connect(page[0], sent) as slow:
        slow.settimeout(0.05)

        def over():
            try:
                slow.sendall(b"x")  # a byte now and then does not help
                return not slow.recv(65536)
            except TimeoutError:
                return False
            except ConnectionError:
                return True

        wait_until(over)
    assert time.monotonic() - began > 0.4


def test_an_upload_that_stalls_is_let_go_with_its_file(page, person, site, monkeypatch):
    cookie = "; ".join(f"{each.name}={each.value}" for each in person.cookies)
    head = f"POST /api/videos?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nContent-Length: 9000\r\n"
    with connect(page[0], f"{head}X-Token: {person.visit['token']}\r\n\r\n".encode() + bytes(100)) as slow:
        wait_until(lambda: files_of(site) == ["upload.mp4"])
        monkeypatch.setattr(connections, "BODY_SECONDS", 0.1)
        slow.sendall(b"x")
        assert closed(slow)
    wait_until(lambda: files_of(site) == [])


def test_one_address_cannot_hold_all_connections(page, person, site, monkeypatch):
    monkeypatch.setattr(connections, "network_of", lambda address: "192.0.2.7")
    monkeypatch.setattr(connections, "MOST_OF_ONE", 5)
    head = b"POST /api/videos/x/answer HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 9000\r\n\r\n"
    cookie = "; ".join(f"{each.name}={each.value}" for each in person.cookies)
    head = f"POST /api/videos?name=a.mp4 HTTP/1.1\r\nHost: 127.0.0.1\r\nCookie: {cookie}\r\nContent-Length: 9000\r\n"
    person.close()
    with ExitStack() as stack:
        for _ in range(5):  # in the midst of something, so that they cannot be let go
            stack.enter_context(connect(page[0], f"{head}X-Token: {person.visit['token']}\r\n\r\n".encode()))
        wait_until(lambda: len(files_of(site)) == 5)
        with pytest.raises(requests.ConnectionError):
            requests.get(page[0], timeout=90)
        monkeypatch.setattr(connections, "network_of", lambda address: "192.0.2.8")
        assert requests.get(page[0], timeout=90).status_code == 200
    wait_until(lambda: files_of(site) == [])


def test_an_address_is_a_network():
    assert network_of("127.0.0.1") == network_of("::1") == network_of("::ffff:127.0.0.1") == network_of(None) == ""
    assert network_of("192.0.2.7") == network_of("::ffff:192.0.2.7") == "192.0.2.7"
    assert network_of("2001:db8::1") == network_of("2001:db8::2") != network_of("2001:db8:0:1::1")


def test_visits_of_nobody_shut_nobody_out(page, clip):
    real = Person(page[0])
    real.add(clip)
    for _ in range(sessions.MAX_SESSIONS + 10):
        page[1].sessions.new()  # as a request without a cookie does
    late = Person(page[0])
    late.add(clip)
    assert len(real.get("/api/session").json()["videos"]) == 1


def test_an_address_ends_its_own_visits_first(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    line = Line()
    visits = Sessions(line, 600.0)
    other = visits.new("192.0.2.8")
    ours = [visits.new("192.0.2.7") for _ in range(sessions.MAX_OF_ONE + 30)]
    assert visits.get(other.id) is other and visits.get(ours[-1].id) is ours[-1] and visits.get(ours[0].id) is None
    assert len(list(visits.root.iterdir())) == sessions.MAX_OF_ONE + 1
    visits.close()
    line.close()


def test_all_uploads_together_have_a_limit(clip, monkeypatch):
    size = clip.stat().st_size
    with serving(FakePredictor(), max_disk=int(2.5 * size)) as (address, site):
        first, second = Person(address), Person(address)
        first.add(clip)
        second.add(clip)
        response = second.upload(clip)
        assert response.status_code == 507 and "no room" in response.json()["error"]
        assert site.sessions.used() == 2 * size
        monkeypatch.setattr(sessions, "IN_USE", -1.0)  # as if the first had been away for a while
        second.add(clip)
        assert first.get("/api/session").json()["videos"] == []


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 100_000, b'{"query":' * 100_000, b'{"query": ' + b"9" * 5000 + b"}", b'{"query": "\\ud800"}',
        b'{"query": "a", "adapter": {"a": []}}', b'{"query": "a", "adapter": "\\udfff"}', b'{"query": ["a"]}',
        b'{"query": null}', b'{"query": true}', b'{"query": NaN}', b'{"query": "a", "query": "b"}', b"", b"\xff",
        b"null",
    ],
)  # fmt: skip
def test_a_question_that_is_none_is_refused(person, clip, body):
    key = person.add(clip)
    for what in ("answer", "summary"):
        response = person.post(f"/api/videos/{key}/{what}", data=body.replace(b"query", what[:5].encode()))
        assert response.status_code in (200, 422) and (what == "summary" or response.status_code == 422)


@pytest.mark.parametrize("key", ["transcript", "kind", "adapter"])
def test_half_characters_of_a_summary_are_refused(person, clip, key):
    body = f'{{"{key}": "\\ud800"}}'.encode()
    assert person.post(f"/api/videos/{person.add(clip)}/summary", data=body).status_code == 422


@pytest.mark.parametrize("bound", ["127.0.0.1", "0.0.0.0", "192.168.0.7"])
@pytest.mark.parametrize(
    "called",
    [
        "a@127.0.0.1", "127.0.0.1@evil.example", "127.0.0.1/evil", "127.0.0.1#evil", "127.0.0.1,evil.example",
        "evil.example,127.0.0.1", "127.0.0.1?evil", "127.0.0.1\\evil", "127.0.0.1 evil", "127.0.0.1:",
        "127.0.0.1:80:80",
        "127.0.0.1:x", "[::1", "::1", "[::1]x", "[127.0.0.1]@x", "localhost%00", "",
    ],
)  # fmt: skip
def test_a_host_that_is_no_host_is_refused(called, bound):
    assert not is_ours(called, bound)


def test_the_names_of_this_machine_are_known():
    assert all(is_ours(name, "127.0.0.1") for name in ("127.0.0.1", "localhost:8765", "[::1]:1", "LOCALHOST.", "[::1]"))


@pytest.mark.skipif(os.name != "posix", reason="locks of POSIX")
def test_what_a_killed_server_left_is_swept(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    code = """import time
from read.app.jobs import Line
from read.app.sessions import Sessions
(Sessions(Line(), 60.0).root / "upload.mp4").write_bytes(b"x")
print("there", flush=True)
time.sleep(60)"""
    command, environment = [sys.executable, "-c", code], {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) as server:
        assert server.stdout.readline() == b"there\n"
        (left,) = tmp_path.glob(f"{PREFIX}*")
        os.utime(left, (0, 0))
        sweep_dead()
        assert (left / "upload.mp4").exists()  # it lives
        server.kill()
    (tmp_path / "letters").mkdir()
    (tmp_path / f"{PREFIX}link").symlink_to(tmp_path / "letters")
    sweep_dead()
    assert not left.exists() and (tmp_path / "letters").exists()


def test_pictures_that_are_too_large_are_refused_at_once(person, site, tmp_path):
    import numpy as np

    large = tmp_path / "large.mp4"
    write_video(large, (np.full((4000, 5000, 3), 7 * shade, np.uint8) for shade in range(2)), fps=3, crf=51)
    response = person.upload(large)
    assert response.status_code == 422 and "large.mp4: 5000 x 4000 pixels; this page takes" in response.json()["error"]
    assert files_of(site) == []


def test_too_many_pixels_a_second_are_refused(person, clip, monkeypatch):
    share = 160 * 90 / (4096 * 2304)
    monkeypatch.setattr("read.app.media.MAX_RATE", 7.9 * share)
    response = person.upload(clip)
    assert response.status_code == 422 and "160 x 90 pixels 8 times a second" in response.json()["error"]
    monkeypatch.setattr("read.app.media.MAX_RATE", 8.5 * share)  # ffmpeg 5 takes the last picture's time for the end
    assert person.upload(clip).status_code == 201


def hang(job):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    on_start.get()(process)
    process.wait()
    raise InputError("ffmpeg was ended by signal 9")


@pytest.mark.parametrize("patience", [None, (0.3, "it took too long")])
def test_a_program_ends_with_its_job(patience):
    """A job whose program hangs, on a single picture say, sees no progress, so it cannot end by itself."""
    line = Line()
    job, after = line.add(Job(hang, patience)), line.add(Job(lambda job: "next"))
    wait_until(lambda: job._processes)
    began = time.monotonic()
    if patience is None:
        line.cancel(job)
    wait_until(lambda: after.state == "done")
    assert time.monotonic() - began < 50  # and not 60
    assert job.state == "failed" and job.error == ("it took too long" if patience else "This video was removed.")
    line.close()


def test_ffmpeg_is_told_of_as_it_begins(tmp_path):
    found = []

    def end(process):
        found.append(process)
        process.kill()

    token = on_start.set(end)
    try:
        with pytest.raises(InputError):
            list(iter_clips(make_video(tmp_path / "a.mp4"), 8.0, 2.0, 64))
    finally:
        on_start.reset(token)
    assert found and all(process.poll() is not None for process in found)


def test_a_visit_knows_where_it_comes_from(person, site):
    (visit,) = site.sessions._sessions.values()
    assert isinstance(visit, Session) and visit.address == ""


def test_one_address_does_not_fill_the_line(site, page, person, clip, monkeypatch):
    monkeypatch.setattr("read.app.site.network_of", lambda address: "192.0.2.7")
    monkeypatch.setattr(sessions, "MAX_WAITING", 2)
    site.predictor.gate.clear()
    strangers = [Person(page[0]) for _ in range(3)]
    statuses = [stranger.upload(clip).status_code for stranger in strangers]
    assert statuses == [201, 201, 429]
    assert person.upload(clip).status_code == 201  # from this machine
