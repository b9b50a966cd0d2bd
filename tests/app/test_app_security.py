"""What must not be possible: files beyond the temporary folder, other people's videos, other sites' requests."""

import http.client
import os
from urllib.parse import urlsplit

import pytest
import requests

from read.app.guard import is_ours
from read.app.media import inspect
from read.app.sessions import shown_name, suffix_of
from read.app.site import PARTS, STATIC
from read.errors import InputError
from tests.app.fake import FakePredictor, Person, files_of, make_video, raw, serving, wait_until

pytestmark = pytest.mark.video


def cookie_of(person):
    return "; ".join(f"{cookie.name}={cookie.value}" for cookie in person.cookies)


@pytest.mark.parametrize(
    "name", ["../../x.mp4", "/etc/x.mp4", "..\\..\\x.mp4", "a/b/\x00/x.mp4", "file:x.mp4", "-i x.mp4", "x.mp4/../x.mp4"]
)
def test_a_name_never_becomes_a_path(person, site, clip, name):
    told = person.upload(clip, name).json()
    assert "/" not in told["name"] and "\\" not in told["name"] and told["name"].endswith("x.mp4")
    assert person.wait(told["id"])["state"] == "done"
    assert files_of(site) == ["upload.mp4"]
    assert not (site.sessions.root.parent / "x.mp4").exists()
    response = person.get(f"/api/videos/{told['id']}/clip", params={"start": 0, "end": 1})
    assert response.status_code == 200 and ".." not in response.headers["Content-Disposition"].split("=", 1)[1][:4]


@pytest.mark.parametrize("name", ["", "x", "x.m3u8", "x.mp4.txt", "x.mpd", "mp4", "x.mp4\x00.txt", "x.html"])
def test_only_suffixes_of_videos_are_taken(person, site, clip, name):
    response = person.upload(clip, name)
    assert response.status_code == 422 and "not a video file by its name" in response.json()["error"]
    assert files_of(site) == []


def test_names_are_shown_safely():
    assert shown_name("../../x.mp4") == "x.mp4"
    assert shown_name("a\u202egpj.mp4\n") == "agpj.mp4"
    assert len(shown_name("y" * 1000 + ".mp4")) == 120
    assert shown_name("/") == "video"
    assert suffix_of("A.MP4") == ".mp4"


@pytest.mark.parametrize("suffix", [".mp4", ".ts", ".avi"])
@pytest.mark.parametrize(
    "content",
    [
        "ffconcat version 1.0\nfile '{secret}'\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:{secret}\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://127.0.0.1:1/x.ts\n#EXT-X-ENDLIST\n",
        '<?xml version="1.0"?>\n<MPD xmlns="urn:mpeg:dash:schema:mpd:2011" profiles="urn:mpeg:dash:profile:isoff-on-'
        'demand:2011"><Period><AdaptationSet><Representation><BaseURL>{secret}</BaseURL></Representation>'
        "</AdaptationSet></Period></MPD>",
        "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\n",
    ],
    ids=["concat", "hls", "hls-http", "dash", "sdp"],
)
def test_lists_of_other_files_are_refused(tmp_path, person, site, clip, content, suffix):
    """ffmpeg goes by content, not by name, and would open what such a list names."""
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(clip.read_bytes())
    trap = tmp_path / f"trap{suffix}"
    trap.write_text(content.format(secret=secret))
    response = person.upload(trap)
    assert response.status_code == 422, response.text
    assert str(site.sessions.root) not in response.text
    assert files_of(site) == []


@pytest.mark.parametrize(
    "path",
    [
        "/../../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/static/page.css", "/page.py", "/site.py", "//etc/passwd",
        "/api/videos/../../../etc/passwd", "/api/videos/..%2f..%2fetc%2fpasswd/file", "/page.css%00", "/.", "/api",
    ],
)  # fmt: skip
def test_no_path_leads_out(page, person, path):
    status, body = raw(page[0], "GET", path, Cookie=cookie_of(person))
    assert status in (403, 404, 405) and b"root:" not in body


def test_a_file_that_is_too_large_is_refused_before_it_is_sent(clip):
    with serving(FakePredictor(), max_bytes=1000) as (address, site):
        response = Person(address).upload(clip)
        assert response.status_code == 413 and "larger than the 1000 bytes" in response.json()["error"]
        assert files_of(site) == []


def test_a_file_of_untold_size_is_cut_off_at_the_limit():
    sent, largest = [], []
    with serving(FakePredictor(), max_bytes=300_000) as (address, site):
        person = Person(address)

        def endless():
            for _ in range(20_000):  # a gigabyte
                sent.append(50_000)
                largest.append(max((path.stat().st_size for path in site.sessions.root.rglob("*.mp4")), default=0))
                yield bytes(50_000)

        try:
            response = person.post("/api/videos", params={"name": "huge.mp4"}, data=endless())
            assert response.status_code == 413
        except requests.RequestException:
            pass  # the connection was closed while we were sending
        assert max(largest) <= 300_000
        assert sum(sent) < 100_000_000  # buffers of the network
        wait_until(lambda: files_of(site) == [])
        assert person.get("/api/session").status_code == 200


def test_an_upload_that_breaks_off_leaves_nothing(page, person, site):
    connection = http.client.HTTPConnection(urlsplit(page[0]).netloc, timeout=90)
    connection.putrequest("POST", "/api/videos?name=half.mp4")
    for name, value in {
        "X-Token": person.visit["token"],
        "Cookie": cookie_of(person),
        "Content-Length": "1000",
    }.items():
        connection.putheader(name, value)
    connection.endheaders(bytes(500))
    wait_until(lambda: files_of(site) == ["upload.mp4"])
    connection.close()
    wait_until(lambda: files_of(site) == [])


def test_a_video_that_lasts_too_long_is_refused_unread(clip):
    predictor = FakePredictor()
    with serving(predictor, max_seconds=5.0) as (address, site):
        response = Person(address).upload(clip)
        assert response.status_code == 422
        assert response.json()["error"] == "stripe.mp4: the video is longer than the 5 seconds that this page takes"
        assert predictor.most == 0 and files_of(site) == []


def test_a_header_that_lies_about_the_length_is_not_believed(tmp_path):
    video = make_video(tmp_path / "long.mp4", seconds=30)
    content = video.read_bytes()
    header = content.index(b"mvhd") + 4 + 16  # after version, flags, two dates and the time scale
    video.write_bytes(content[:header] + (1).to_bytes(4, "big") + content[header + 4 :])
    with pytest.raises(InputError, match="longer than the 10 seconds"):
        inspect(video, 10.0, "long.mp4")


def test_one_person_cannot_see_or_touch_what_another_has(person, other, site, clip):
    key = person.add(clip)
    for method, part in [("GET", ""), ("DELETE", ""), ("GET", "/file"), ("GET", "/clip?start=0&end=1"),
                         ("POST", "/answer"), ("POST", "/summary")]:  # fmt: skip
        response = other.request(method, f"/api/videos/{key}{part}", json={"query": "a"} if method == "POST" else None)
        assert response.status_code == 404, (method, part)
    assert other.get("/api/session").json()["videos"] == []
    assert person.ask(key).status_code == 200


@pytest.mark.parametrize("part", ["", "/file", "/clip?start=0&end=1"])
def test_without_a_visit_there_is_nothing(page, person, clip, part):
    assert requests.get(f"{page[0]}/api/videos/{person.add(clip)}{part}", timeout=90).status_code == 403


def test_ids_cannot_be_guessed(person, other, clip):
    (cookie,) = person.cookies
    key = person.upload(clip).json()["id"]
    assert all(len(secret) >= 43 for secret in (cookie.value, person.visit["token"], key))
    assert (
        len({cookie.value, person.visit["token"], key, *other.cookies.get_dict().values(), other.visit["token"]}) == 5
    )
    assert cookie.has_nonstandard_attr("HttpOnly") and cookie.get_nonstandard_attr("SameSite") == "strict"


@pytest.mark.parametrize("token", [None, "", "x" * 43, "é"])
def test_changes_need_the_token_of_the_page(page, person, clip, token):
    key = person.add(clip)
    headers = {"Cookie": cookie_of(person)} | ({} if token is None else {"X-Token": token.encode()})
    for method, path in [("POST", "/api/videos?name=x.mp4"), ("POST", f"/api/videos/{key}/answer"),
                         ("POST", f"/api/videos/{key}/summary"), ("DELETE", f"/api/videos/{key}")]:  # fmt: skip
        status, body = raw(page[0], method, path, b"{}", **headers)
        assert status == 403 and b"did not come from the page" in body
    assert person.look(key)["state"] == "done"


@pytest.mark.parametrize(
    "host",
    [
        "evil.example", "evil.example:80", "127.0.0.1.evil.example", "localhost.evil.example", "192.168.0.7",
        "0.0.0.0", "", "127.0.0.1@evil.example", "[", "evil.example.",
    ],
)  # fmt: skip
def test_a_rebound_name_is_refused(page, host):
    for path in ("/", "/page.js", "/api/session"):
        status, body = raw(page[0], "GET", path, Host=host)
        assert status in (400, 403) and b"token" not in body


@pytest.mark.parametrize("host", ["localhost", "localhost:1234", "127.0.0.1", "127.0.0.1:9", "[::1]:8", "LOCALHOST:1"])
def test_the_loopback_has_several_names(page, host):
    assert raw(page[0], "GET", "/", Host=host)[0] == 200


def test_on_another_address_names_of_strangers_are_still_refused():
    assert is_ours("192.168.0.7:8765", "0.0.0.0") and is_ours("localhost:1", "0.0.0.0") and is_ours("box:1", "box")
    assert not is_ours("evil.example", "0.0.0.0") and not is_ours("evil.example", "192.168.0.7")


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": "http://127.0.0.1:1"},  # another program on this machine
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
    ],
)
def test_other_pages_cannot_use_this_one(person, site, clip, headers):
    key = person.add(clip)
    for method, path in [
        ("GET", "/api/session"),
        ("GET", f"/api/videos/{key}/file"),
        ("POST", f"/api/videos/{key}/answer"),
    ]:
        response = person.request(method, path, headers=headers, data=b'{"query": "a"}' if method == "POST" else None)
        assert response.status_code == 403 and "elsewhere" in response.json()["error"]


def test_the_page_itself_may_be_linked_to(page, person):
    assert person.get("/", headers={"Sec-Fetch-Site": "cross-site"}).status_code == 200
    assert person.get("/api/session", headers={"Origin": page[0], "Sec-Fetch-Site": "same-origin"}).status_code == 200


@pytest.mark.parametrize("path", ["/", "/page.js", "/page.css", "/api/session", "/nothing", "/api/videos/x/file"])
def test_every_response_has_the_headers(person, path):
    headers = person.get(path).headers
    policy = dict(part.split(" ", 1) for part in headers["Content-Security-Policy"].split("; "))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == policy["connect-src"] == "'self'"
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    assert headers["Referrer-Policy"] == "no-referrer" and "server" not in headers
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize("name", ["page.html", *PARTS])
def test_nothing_comes_from_elsewhere(name):
    text = (STATIC / name).read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
    assert "http:" not in text and "https:" not in text and "//cdn" not in text
    assert "innerHTML" not in text and "eval(" not in text  # what people give is text, never markup


@pytest.mark.skipif(os.name != "posix", reason="permissions of POSIX")
def test_the_folder_is_for_our_eyes_only(site, person, clip):
    person.add(clip)
    folders = [site.sessions.root, *(path for path in site.sessions.root.rglob("*") if path.is_dir())]
    assert len(folders) == 3 and {folder.stat().st_mode & 0o777 for folder in folders} == {0o700}
