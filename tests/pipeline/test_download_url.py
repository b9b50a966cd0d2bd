"""Downloads against a real HTTP server on loopback."""

import email.utils
import hashlib
import ipaddress
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import pytest

from pipeline.sources import UnavailableError
from pipeline.sources.url import Url, download
from read import addresses
from read.encoders.weights import download as fetch_weights
from read.errors import InputError

CONTENT = random.Random(0).randbytes(300_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    """Answers as the list of behaviours of the server says, one for each request; the last one goes on."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *args):
        pass

    def do_GET(self):
        with self.server.lock:
            number = len(self.server.requests)
            self.server.requests.append({"path": self.path, **self.headers})
        behaviours = self.server.behaviours
        behaviours[min(number, len(behaviours) - 1)](self)
        self.close_connection = True

    def body(self, content=CONTENT, *, cut=None, tag='"v1"', ranges=True, stated=True):
        """Send `content`, from where the client asks, at most `cut` bytes of it."""
        wanted = self.headers.get("Range")
        current = self.headers.get("If-Range", tag) == tag
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and ranges and current else 0
        if start >= len(content):
            self.send_error(416)
            return
        self.send_response(206 if start else 200)
        if stated:
            self.send_header("Content-Length", str(len(content) - start))
        if start:
            self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
        if tag:
            self.send_header("ETag", tag)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content[start:][:cut])
        self.wfile.flush()

    def status(self, code, **headers):
        self.send_response(code)
        for name, value in {"Content-Length": "0", **headers}.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()


class Quiet(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request, client_address):
        """Clients that hang up are part of the tests."""


@pytest.fixture
def serve():
    servers = []

    def start(*behaviours):
        server = Quiet(("127.0.0.1", 0), Handler)
        server.behaviours, server.requests, server.lock = behaviours, [], threading.Lock()
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        servers.append(server)
        return server, f"http://127.0.0.1:{server.server_port}/clip.mp4"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def get(url, path, **options):
    download(url, path, **{"retries": 3, "timeout": 30.0, "wait": 0.001} | options)


def whole(handler):
    handler.body()


def test_a_file_comes_whole_and_leaves_nothing_beside(serve, tmp_path):
    _, url = serve(whole)
    get(url, tmp_path / "clip.mp4", sha256=SHA256)
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_cut_connection_is_resumed_where_it_ended(serve, tmp_path):
    server, url = serve(lambda h: h.body(cut=100_000), lambda h: h.body(cut=120_000), whole)
    get(url, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT
    assert [request.get("Range") for request in server.requests] == [None, "bytes=100000-", "bytes=220000-"]
    assert server.requests[1]["If-Range"] == '"v1"'


def test_a_later_call_goes_on_too(serve, tmp_path):
    server, url = serve(lambda h: h.body(cut=100_000), whole)
    with pytest.raises(UnavailableError, match=r"100000 bytes read, 200000 more expected.*tried 1 times"):
        get(url, tmp_path / "clip.mp4", retries=0)
    assert not (tmp_path / "clip.mp4").exists()
    get(url, tmp_path / "clip.mp4", retries=0)
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT
    assert server.requests[1]["Range"] == "bytes=100000-"


@pytest.mark.parametrize(
    "second",
    [
        lambda h: h.body(CONTENT[::-1], tag='"v2"'),  # honours If-Range: sends the new one whole
        lambda h: h.body(CONTENT[::-1], tag='"v2"', ranges=False),
    ],
)
def test_parts_of_two_versions_are_never_joined(serve, tmp_path, second):
    _, url = serve(lambda h: h.body(cut=100_000), second)
    get(url, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT[::-1]


def test_a_server_that_ignores_if_range_cannot_mix_versions(serve, tmp_path):
    def partial_of_another(handler):
        del handler.headers["If-Range"]
        handler.body(CONTENT[::-1], tag='"v2"')

    server, url = serve(lambda h: h.body(cut=100_000), partial_of_another)
    get(url, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT[::-1]
    assert server.requests[-1].get("Range") is None


def test_without_a_validator_it_starts_again(serve, tmp_path):
    server, url = serve(lambda h: h.body(cut=100_000, tag=""), lambda h: h.body(tag=""))
    get(url, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT
    assert server.requests[1].get("Range") is None


def test_a_server_without_ranges_sends_all_again(serve, tmp_path):
    _, url = serve(lambda h: h.body(cut=100_000), lambda h: h.body(ranges=False))
    get(url, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT


def test_a_server_that_sends_less_than_asked_is_asked_again(serve, tmp_path):
    def middle(handler):
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 100000-199999/{len(CONTENT)}")
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(CONTENT[100_000:200_000])

    server, url = serve(lambda h: h.body(cut=100_000), middle, whole)
    get(url, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT
    assert server.requests[2]["Range"] == "bytes=200000-"


def test_a_part_that_nobody_asked_for_is_not_taken(serve, tmp_path):
    def unasked(handler):
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes 0-9/{len(CONTENT)}")
        handler.send_header("Content-Length", "10")
        handler.end_headers()
        handler.wfile.write(CONTENT[:10])

    _, url = serve(unasked, whole)
    get(url, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT


def test_a_length_that_is_not_stated_is_no_error(serve, tmp_path):
    _, url = serve(lambda h: h.body(stated=False))
    get(url, tmp_path / "clip.mp4")
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT


@pytest.mark.parametrize("code", [403, 404, 410])
def test_a_final_status_is_asked_once(serve, tmp_path, code):
    server, url = serve(lambda h: h.status(code))
    with pytest.raises(UnavailableError, match=rf"{url}: HTTP {code} "):
        get(url, tmp_path / "clip.mp4")
    assert len(server.requests) == 1
    assert list(tmp_path.iterdir()) == []


def test_500_then_success(serve, tmp_path):
    server, url = serve(lambda h: h.status(500), lambda h: h.status(503), whole)
    get(url, tmp_path / "clip.mp4")
    assert len(server.requests) == 3


def test_500_for_ever_is_given_up(serve, tmp_path):
    server, url = serve(lambda h: h.status(500))
    with pytest.raises(UnavailableError, match=r"HTTP 500 .*tried 4 times"):
        get(url, tmp_path / "clip.mp4")
    assert len(server.requests) == 4


def test_retry_after_is_waited_for_in_seconds_and_as_a_date(serve, tmp_path, monkeypatch):
    def later(handler):
        when = datetime.now(UTC) + timedelta(seconds=200)
        handler.status(503, Retry_After=email.utils.format_datetime(when, usegmt=True))

    waits = []
    monkeypatch.setattr("pipeline.sources.url.time", SimpleNamespace(sleep=waits.append, monotonic=time.monotonic))
    _, url = serve(lambda h: h.status(429, Retry_After="7"), later, whole)
    get(url, tmp_path / "clip.mp4")
    assert waits[0] == 7.0 and 100 < waits[1] <= 200 and len(waits) == 2


def test_a_wait_of_an_hour_is_not_waited(serve, tmp_path):
    _, url = serve(lambda h: h.status(429, Retry_After="3600"))
    with pytest.raises(UnavailableError, match=r"HTTP 429 .*asks to wait 3600 s"):
        get(url, tmp_path / "clip.mp4")


def test_a_wrong_checksum_deletes_the_file_and_says_so(serve, tmp_path):
    server, url = serve(whole)
    with pytest.raises(UnavailableError, match=rf"its sha256 is {SHA256}, not {'0' * 64}; it was deleted"):
        get(url, tmp_path / "clip.mp4", sha256="0" * 64)
    assert list(tmp_path.iterdir()) == []
    assert len(server.requests) == 1


def test_a_file_that_is_there_stays_unless_its_checksum_is_wrong(serve, tmp_path):
    server, url = serve(whole)
    (tmp_path / "clip.mp4").write_bytes(CONTENT)
    get(url, tmp_path / "clip.mp4", sha256=SHA256)
    assert server.requests == []
    (tmp_path / "clip.mp4").write_bytes(b"old")
    get(url, tmp_path / "clip.mp4", sha256=SHA256)
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT


def test_a_slow_trickle_times_out_and_is_resumed(serve, tmp_path):
    def trickle(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(CONTENT)))
        handler.send_header("ETag", '"v1"')
        handler.end_headers()
        for byte in CONTENT[:200]:
            handler.wfile.write(bytes([byte]))
            handler.wfile.flush()
            time.sleep(0.05)

    server, url = serve(trickle, whole)
    start = time.monotonic()
    get(url, tmp_path / "clip.mp4", timeout=0.3, retries=20)
    assert time.monotonic() - start < 9.0  # all of the trickle takes 10
    assert (tmp_path / "clip.mp4").read_bytes() == CONTENT
    assert server.requests[1]["Range"].startswith("bytes=")


def test_silence_times_out(serve, tmp_path):
    _, url = serve(lambda h: time.sleep(1.5))
    with pytest.raises(UnavailableError, match=r"no answer within 0\.2 s \(tried 2 times\)"):
        get(url, tmp_path / "clip.mp4", timeout=0.2, retries=1)


def test_nobody_listens(tmp_path):
    with pytest.raises(UnavailableError, match=r"Connection refused"):
        get("http://127.0.0.1:9/clip.mp4", tmp_path / "clip.mp4", retries=1)


def test_jobs_that_want_the_same_file_ask_for_it_once(serve, tmp_path):
    def slowly(handler):
        time.sleep(0.3)
        handler.body()

    server, url = serve(slowly)
    failures = []

    def job():
        try:
            get(url, tmp_path / "clip.mp4", sha256=SHA256)
        except Exception as error:
            failures.append(error)

    jobs = [threading.Thread(target=job) for _ in range(4)]
    for thread in jobs:
        thread.start()
    for thread in jobs:
        thread.join()
    assert failures == []
    assert len(server.requests) == 1
    assert [path.name for path in tmp_path.iterdir()] == ["clip.mp4"]


def test_a_web_page_or_nothing_is_not_a_video(serve, tmp_path):
    for content, reason in ((b"\n<!DOCTYPE html><title>Log in</title>", "a web page"), (b"", "an empty file")):
        _, url = serve(lambda h, content=content: h.body(content) if content else h.status(200))
        with pytest.raises(UnavailableError, match=reason):
            Url(url.replace("clip", "{vid}"), retries=0, timeout=30).fetch("walk", tmp_path)
        assert list(tmp_path.iterdir()) == []


def test_addresses_are_made_from_the_id(serve, tmp_path):
    server, url = serve(whole)
    source = Url(url.replace("clip.mp4", "a/{vid}.webm?size=1"), retries=0, timeout=30)
    path = source.fetch("a b&c", tmp_path)
    assert path.suffix == ".webm"
    assert Counter(request["path"] for request in server.requests) == {"/a/a%20b%26c.webm?size=1": 1}


@pytest.mark.parametrize("stated", ["many", "-5", "1e3", "3, 3", "9" * 5000, "²", ""])
def test_a_length_that_is_no_number_is_a_failed_try(serve, tmp_path, stated):
    def lies(handler):
        handler.send_response(200)
        handler.send_header("Content-Length", stated.encode().decode("latin-1"))
        handler.end_headers()
        handler.wfile.write(CONTENT)

    server, url = serve(lies)
    with pytest.raises(UnavailableError, match=r"the server states a length of .{0,50} \(tried 2 times\)"):
        get(url, tmp_path / "clip.mp4", retries=1)
    assert list(tmp_path.iterdir()) == [] and len(server.requests) == 2


def test_a_wait_that_is_no_number_is_none(serve, tmp_path):
    serve_busy = lambda handler: handler.status(503, Retry_After="²".encode().decode("latin-1"))  # noqa: E731
    _, url = serve(serve_busy, whole)
    get(url, tmp_path / "clip.mp4")


@pytest.fixture
def public(monkeypatch):
    """As if the name localhost were of a public place; the numbers stay what they are."""
    numbers = addresses._numbers
    somewhere = [ipaddress.ip_address("8.8.8.8")]
    monkeypatch.setattr(addresses, "_numbers", lambda host: somewhere if host == "localhost" else numbers(host))


@pytest.mark.parametrize("place", ["http://127.0.0.1:{port}/x", "http://127.1:{port}/x", "http://[::1]:{port}/x",
                                   "http://10.0.0.1/x", "http://169.254.169.254/x", "file:///etc/passwd"])  # fmt: skip
def test_a_public_place_leads_nowhere_inside(serve, tmp_path, public, place):
    inside, _ = serve(whole)
    _, outer = serve(lambda handler: handler.status(302, Location=place.format(port=inside.server_port)))
    outer = outer.replace("127.0.0.1", "localhost")
    with pytest.raises(UnavailableError, match="leads to"):
        get(outer, tmp_path / "clip.mp4")
    with pytest.raises(InputError, match=r"leads to|cannot be downloaded"):
        fetch_weights(outer, tmp_path / "weights")
    assert inside.requests == [] and list(tmp_path.iterdir()) == []


def test_redirects_elsewhere_are_followed(serve, tmp_path, public):
    """From inside to inside, as the card says; from outside to outside."""
    _, url = serve(whole)
    for name, target in (("127.0.0.1", url), ("localhost", url.replace("127.0.0.1", "localhost"))):
        _, first = serve(lambda handler, target=target: handler.status(302, Location=target))
        get(first.replace("127.0.0.1", name), tmp_path / f"{name}.mp4", sha256=SHA256)
        fetch_weights(first.replace("127.0.0.1", name), tmp_path / f"{name}.weights")
        assert (tmp_path / f"{name}.weights").read_bytes() == CONTENT


def test_weights_that_end_early_are_not_taken(serve, tmp_path):
    _, url = serve(lambda handler: handler.body(cut=1000))
    with pytest.raises(InputError, match=r"ended after 1000 of 300000 bytes"):
        fetch_weights(url, tmp_path / "weights")
    assert list(tmp_path.iterdir()) == []


def test_secrets_of_addresses_are_in_no_reason_and_no_recipe(serve, tmp_path):
    _, url = serve(lambda handler: handler.status(403))
    url = url.replace("http://", "http://me:p@ssword@").replace("clip", "{vid}") + "?token=hidden&v=1"
    source = Url(url, retries=0, timeout=30)
    with pytest.raises(UnavailableError) as error:
        source.fetch("walk", tmp_path)
    for text in (str(error.value), source.recipe("walk")):
        assert "walk.mp4?token=***&v=1" in text
        assert not any(secret in text for secret in ("ssword", "hidden", "me:"))
    assert source.recipe("walk") == Url(url.replace("p@ss", "q@ss"), 0, 5).recipe("walk")
    assert source.recipe("walk") != Url(url.replace("hidden", "other"), 0, 5).recipe("walk")
    assert Url("http://h/{vid}.mp4?v=1", 0, 5).recipe("a") == "http://h/a.mp4?v=1"
    assert str(InputError(f"{url}: no")).count("***") == 2
