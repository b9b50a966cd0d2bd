"""What must not be possible in the studio: requests of other users and sites, files beyond the folder, bad labels."""

import hashlib
import re

import pytest
import requests

from read.studio.site import PARTS
from tests.app.fake import raw
from tests.studio.fake import Labeller

pytestmark = pytest.mark.video

PATHS = (
    "/",
    "/studio.js",
    "/page.css",
    "/api/state",
    "/api/labels",
    "/api/videos/walk/file",
    "/api/train",
    "/report/",
    "/ask/",
)
CHANGES = (
    ("POST", "/api/labels"),
    ("PUT", "/api/labels/1"),
    ("DELETE", "/api/labels/1?rev=x"),
    ("POST", "/api/restore"),
    ("PUT", "/api/videos/walk/texts"),
    ("POST", "/api/videos/walk/show"),
    ("POST", "/api/videos/walk/answer"),
    ("POST", "/api/import?kind=jsonl"),
    ("POST", "/api/train"),
    ("POST", "/api/train/stop"),
)


def digests(folder):
    """Of all files below a folder."""
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def kept(labeller, studio, videos):
    """One saved label; afterwards no file of the labels nor of the videos has changed."""
    labeller.wait(lambda told: told["walk"]["state"] == "ready")
    label = labeller.label("walk").json()["label"]
    folder = studio.labels.folder
    before = digests(folder), digests(videos)
    yield label
    assert labeller.labels() == [label]
    assert (digests(folder), digests(videos)) == before


@pytest.fixture
def cookie(labeller):
    return "; ".join(f"{each.name}={each.value}" for each in labeller.cookies)


@pytest.mark.parametrize("path", PATHS)
def test_a_stranger_on_this_machine_sees_nothing(served, kept, path):
    address = re.sub(r"/\?key=.*", "", served[0])
    for given in (path, f"{path}?key=", f"{path}?key={'x' * 43}"):
        response = requests.get(address + given, timeout=30, cookies={"read-studio-80": "x"})
        assert response.status_code == 403 and "the address that the terminal shows" in response.json()["error"]


@pytest.mark.parametrize("method, path", CHANGES)
@pytest.mark.parametrize("token", [None, "x" * 43, "é"])
def test_changes_need_the_token_of_the_page(served, kept, cookie, method, path, token):
    headers = {"Cookie": cookie} | ({} if token is None else {"X-Token": token.encode()})
    status, body = raw(served[0], method, path, b"{}", **headers)
    assert status == 403 and b"did not come from the page" in body


def test_a_page_of_a_studio_that_was_here_before_is_told_so(labeller, kept):
    """It would take the labels of another folder for its own."""
    for path in (path for path in PATHS if path.startswith("/api/")):
        response = labeller.get(path, headers={"X-Token": "x" * 43})
        assert response.status_code == (200 if path == "/api/state" else 403)


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "192.168.0.7", "", "127.0.0.1@evil.example"]
)
def test_a_rebound_name_is_refused(served, cookie, host):
    status, body = raw(served[0], "GET", "/api/state", Host=host, Cookie=cookie)
    assert status in (400, 403) and b"token" not in body


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_pages_cannot_use_this_one(labeller, kept, headers):
    for method, path in (("GET", "/api/state"), ("GET", "/api/videos/walk/file"), *CHANGES):
        response = labeller.request(method, path, headers=headers, data=None if method == "GET" else b"{}")
        assert response.status_code == 403 and "elsewhere" in response.json()["error"]


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
        "/site.py",
        "/studio.html",
        "//etc/passwd",
        "/page.css%00",
        "/.",
        "/static/page.css",
        "/api",
        "/api/videos/..%2f..%2fetc%2fpasswd/file",
        "/api/videos/../../../etc/passwd",
        "/api/videos/%2e%2e/file",
        "/api/videos/broken.mp4/file",
        "/api/videos/walk.mp4/file",
        "/api/videos//file",
        "/api/videos/walk%00/thumbnail",
        "/api/videos/WALK/thumbnail",
        "/api/videos/../thumbnail",
        "/report/../scores.json",
        "/report/index.html",
        "/report/%2e%2e/%2e%2e/params.yaml",
        "/ask/../api/state",
        "/ask/page.py",
        "/api/videos/x/moments?query=a",
        "/api/export?kind=../jsonl",
        "/api/export?kind=",
        "/api/export?kind=srt&vid=../walk",
        "/api/export?kind=srt",
        "/api/changes?since=x",
        "/api/changes?since=1e9",
        "/api/changes?since=" + "9" * 5000,
        "/api/train/log?tail=../../x",
        "/api/videos/walk/moments",
        "/api/videos/walk/moments?query=%20",
        "/api/videos/walk/moments?query=" + "a" * 3000,
    ],
)
def test_no_address_leads_out(served, kept, cookie, path):
    status, body = raw(served[0], "GET", path, Cookie=cookie)
    assert 400 <= status < 500 and b"root:" not in body and b"Traceback" not in body


WINDOW = '[{"start": 1, "end": 2, "score": null}]'


@pytest.mark.parametrize(
    "body",
    [
        "",
        "null",
        "[]",
        "[" * 100_000,
        '{"vid": "walk"}',
        f'{{"vid": "walk", "query": "", "windows": {WINDOW}}}',
        f'{{"vid": "walk", "query": "   ", "windows": {WINDOW}}}',
        f'{{"vid": "../walk", "query": "a", "windows": {WINDOW}}}',
        f'{{"vid": ["walk"], "query": "a", "windows": {WINDOW}}}',
        f'{{"vid": "broken", "query": "a", "windows": {WINDOW}}}',
        f'{{"vid": "walk", "query": "\\ud800", "windows": {WINDOW}}}',
        f'{{"vid": "walk", "query": 7, "windows": {WINDOW}}}',
        f'{{"vid": "walk", "query": "{"a" * 3000}", "windows": {WINDOW}}}',
        f'{{"vid": "walk", "query": "a\\u0000b", "windows": {WINDOW}}}',
        '{"vid": "walk", "query": "a", "windows": []}',
        '{"vid": "walk", "query": "a", "windows": {}}',
        '{"vid": "walk", "query": "a", "windows": [1]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": 1}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": 2, "end": 1}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": 2, "end": 2}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": -1, "end": 2}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": 1, "end": 20000}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": NaN, "end": 2}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": 1, "end": Infinity}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": 1, "end": 1e400}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": true, "end": 2}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": "1", "end": 2}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": 1, "end": 2, "score": 5}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": 1, "end": 2, "score": -1}]}',
        '{"vid": "walk", "query": "a", "windows": [{"start": 1, "end": 2, "score": 2.5}]}',
        f'{{"vid": "walk", "query": "a", "windows": [{", ".join([WINDOW[1:-1]] * 300)}]}}',
    ],
)
def test_a_label_that_is_none_is_refused(labeller, kept, body):
    response = labeller.post("/api/labels", data=body.encode())
    assert 400 <= response.status_code < 500 and response.json()["error"]


@pytest.mark.parametrize("qid", ["0", "-1", "x", "1e3", "../1", "%00", "9" * 4000])
@pytest.mark.parametrize("method", ["PUT", "DELETE"])
def test_a_label_that_is_not_there_cannot_be_changed(labeller, kept, method, qid):
    response = labeller.request(method, f"/api/labels/{qid}", data=b'{"rev": "x", "query": "b"}')
    assert response.status_code in (404, 405, 409)


@pytest.mark.parametrize("rev", ["", "x", "é" * 20, "0" * 64])
def test_a_label_that_has_changed_meanwhile_is_not_overwritten(labeller, kept, rev):
    for method, options in (("PUT", {"json": {"rev": rev, "query": "b"}}), ("DELETE", {"params": {"rev": rev}})):
        response = labeller.request(method, f"/api/labels/{kept['qid']}", **options)
        assert response.status_code == 409 and response.json()["label"] == kept


@pytest.mark.parametrize("version", ["-1", "10000000", '"1"', "1.5", "true", "null", "[1]", "9" * 400])
def test_a_version_that_never_was_cannot_be_gone_back_to(labeller, kept, version):
    assert labeller.post("/api/restore", data=f'{{"version": {version}}}'.encode()).status_code == 422


@pytest.mark.parametrize("kind", ["jsonl", "csv", "webvtt", "srt", "elan"])
@pytest.mark.parametrize(
    "body", [b"\xff\xfe\x00", b"\x00" * 100, b"{" * 9000, b'=cmd|"/c calc"!A0', b"<html>", b"walk," + b"9" * 9000]
)
def test_a_file_of_no_labels_brings_none(labeller, kept, kind, body):
    response = labeller.post("/api/import", params={"kind": kind, "vid": "walk"}, data=body)
    assert response.status_code == 422 or (response.status_code == 200 and response.json()["added"] == 0)


def test_a_file_that_is_too_large_is_refused(labeller, kept, monkeypatch):
    monkeypatch.setattr("read.studio.label_routes.MAX_IMPORT", 1000)
    assert labeller.post("/api/import", params={"kind": "jsonl"}, data=b" " * 5000).status_code == 413


def test_texts_that_have_changed_meanwhile_are_not_overwritten(labeller, kept):
    response = labeller.put("/api/videos/walk/texts", json={"rev": "x", "transcript": "a", "summary": "b"})
    assert response.status_code == 409
    now = labeller.get("/api/videos/walk/texts").json()
    assert (now["transcript"], now["summary"]) == ("", "")


@pytest.mark.parametrize("path", ["/", "/page.css", "/api/state", "/nothing", "/api/videos/x/file", "/ask/"])
def test_every_response_has_the_headers(labeller, path):
    headers = labeller.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    assert "Access-Control-Allow-Origin" not in headers and "server" not in headers


def test_the_secret_leaves_the_address_and_no_script_sees_it(served):
    first = requests.get(served[0], timeout=30, allow_redirects=False)
    assert first.status_code == 303 and first.headers["Location"] == "/"
    (cookie,) = first.cookies
    assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "strict"
    assert len(cookie.value) >= 43
    with Labeller(served[0]) as one:
        assert cookie.value not in one.get("/").text + one.get("/api/state").text


@pytest.mark.parametrize("name", PARTS)
def test_nothing_comes_from_elsewhere(name):
    text = PARTS[name].read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in text and "https:" not in text and "//cdn" not in text
    assert "innerHTML" not in text and "eval(" not in text  # what people give is text, never markup
