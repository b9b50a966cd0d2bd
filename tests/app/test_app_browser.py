"""The whole journey in a browser, with a mouse, a keyboard and files."""

import json
import os
import threading
from pathlib import Path

import pytest

from read.app.media import inspect
from tests.app.browser import CHROMIUM, chromium
from tests.app.fake import FakePredictor, end_all_visits, files_of, make_video, serving, wait_until

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or os.name != "posix", reason="no Chromium on this machine"),
]


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    with chromium(tmp_path_factory.mktemp("browser")) as found:
        yield found


@pytest.fixture
def visitor(browser, page):
    """Somebody at the page, who at the end has seen no fault of its script and no breach of its policy."""
    found = browser.page(page[0])
    found.until("document.querySelector('#limits').textContent")
    found.until("performance.getEntriesByName('first-contentful-paint').length")  # keys before that are lost
    yield found
    assert found.complaints() == []


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """30 s, bright from 12 s to 14 s."""
    return make_video(tmp_path_factory.mktemp("films") / "a film.mp4", seconds=30, bright=(12.0, 14.0))


def at(visitor):
    return visitor.run("document.querySelector('#video').currentTime")


def ready(visitor):
    visitor.until("document.querySelector('#progress').hidden && !document.querySelector('#work').hidden")


def alerts(visitor):
    return visitor.until("!document.querySelector('#alert').hidden && document.querySelector('#alert').textContent")


def ask(visitor, text):
    visitor.click("#query")
    visitor.type(text)
    visitor.key("Enter", 13, "\r")
    visitor.until("document.querySelectorAll('#moments li').length")


def test_from_a_dropped_video_to_downloads(visitor, browser, site, film):
    visitor.drop("#drop", film)
    ready(visitor)
    assert visitor.text("#name") == "a film.mp4" and visitor.text("#length") == "30.0 s"
    ask(visitor, "it is bright")
    assert visitor.text("#asked") == "“it is bright”, by read_pvla:"
    assert visitor.text("#moments li .span") == "12.0 s – 14.0 s"
    visitor.until("document.querySelector('#video').currentTime === 12")  # shown at once
    visitor.until("document.querySelector('#video').readyState >= 2")

    box = visitor.run("document.querySelector('#timeline').getBoundingClientRect().toJSON()")
    middle = (box["x"] + 72 + (box["width"] - 84) / 2, box["y"] + box["height"] * 0.7)  # of the curve
    visitor.click("#timeline", at=middle)
    visitor.until("Math.abs(document.querySelector('#video').currentTime - 15) < 0.1")
    visitor.click("#timeline [data-rank='0']")  # a moment on the time line: its start
    visitor.until("document.querySelector('#video').currentTime === 12")
    visitor.click("#moments li:nth-child(3) .moment")  # one in the list
    start = float(visitor.text("#moments li:nth-child(3) .span").split()[0])
    visitor.until(f"document.querySelector('#video').currentTime === {start}")
    points = visitor.run("document.querySelector('.curve[points]').getAttribute('points')").split()
    assert len(points) == 15 and min(points, key=lambda point: float(point.split(",")[1])) == points[6]

    visitor.click("#download")
    saved = downloaded(browser, "a film.json")
    answer = json.loads(saved.read_text(encoding="utf-8"))
    assert answer["query"] == "it is bright" and answer["moments"][0]["start"] == 12.0 and len(answer["saliency"]) == 15
    visitor.click("#moments li:first-child .clip")
    assert downloaded(browser, "a film 12.0-14.0 s.mp4").read_bytes()[4:8] == b"ftyp"

    visitor.click("#remove")
    visitor.until("!document.querySelector('#add').hidden")
    wait_until(lambda: files_of(site) == [])


def downloaded(browser, name):
    path = Path(browser.downloads) / name
    wait_until(lambda: path.is_file() and path.stat().st_size)
    return path


def test_by_keyboard_alone(visitor, film):
    visitor.give("#pick", film)
    ready(visitor)
    visitor.run("document.querySelector('#query').focus()")
    visitor.type("it is bright")
    visitor.key("Enter", 13, "\r")
    visitor.until("document.querySelectorAll('#moments li').length")
    seen = []
    for _ in range(40):
        visitor.key("Tab", 9)
        seen.append(visitor.run("document.activeElement.id || document.activeElement.className"))
        if seen[-1] == "download":
            break
    assert [one for one in seen if one in ("ask-button", "adapter", "moment", "timeline", "download")] == [
        "ask-button", "adapter", *["moment"] * 5, "timeline", "download"
    ]  # fmt: skip
    visitor.run("document.querySelector('#timeline').focus()")
    rests = "document.querySelector('#video').readyState >= 2 && !document.querySelector('#video').seeking"
    visitor.until(f"{rests} && document.querySelector('#video').currentTime === 12")  # the first moment
    for key, code, place in [
        ("Home", 36, 0),
        ("ArrowRight", 39, 1),
        ("PageUp", 33, 11),
        ("ArrowLeft", 37, 10),
        ("End", 35, 30),
    ]:
        visitor.key(key, code)
        visitor.until(f"document.querySelector('#timeline').getAttribute('aria-valuenow') === '{place}.0' && {rests}")
    told = visitor.run("document.querySelector('#timeline').getAttribute('aria-valuetext')")
    assert told == "30.0 s of 30.0 s"
    visitor.key("Home", 36)
    visitor.until(f"document.querySelector('#video').currentTime === 0 && {rests}")
    visitor.key(" ", 32, " ")
    visitor.until("document.querySelector('#video').currentTime > 0.2")  # it plays


def test_a_question_before_the_video_has_been_read(visitor, site, film):
    site.predictor.gate.clear()
    visitor.drop("#drop", film)
    visitor.until("document.querySelector('#progress-text').textContent.startsWith('Reading the video: 2.0 s of')")
    visitor.click("#query")
    visitor.type("it is bright")
    visitor.key("Enter", 13, "\r")
    visitor.until("document.querySelector('#asked').textContent.startsWith('You get the answer')")
    site.predictor.gate.set()
    visitor.until("document.querySelectorAll('#moments li').length")


def test_another_adapter(visitor, film):
    visitor.drop("#drop", film)
    ready(visitor)
    ask(visitor, "it is bright")
    visitor.run("document.querySelector('#adapter').value = 'lora'")
    visitor.run("document.querySelector('#adapter').dispatchEvent(new Event('change'))")
    visitor.until("document.querySelector('#asked').textContent.includes('lora')")
    assert visitor.text("#moments li .span") != "12.0 s – 14.0 s"


def test_a_summary_with_subtitles_from_a_file(visitor, film, tmp_path):
    (tmp_path / "said.srt").write_text("1\n00:00:01,000 --> 00:00:02,000\nlook at this\n", encoding="utf-8")
    visitor.drop("#drop", film)
    ready(visitor)
    visitor.give("#subtitles", tmp_path / "said.srt")
    visitor.until("document.querySelector('#transcript').value")
    visitor.click("#summarize-button")
    visitor.until("!document.querySelector('#summary').hidden")
    assert visitor.text("#summary") == "a video of 15 clips in which is said: look at this"


def test_files_that_are_no_good(visitor, site, film, footage, tmp_path):
    visitor.drop("#drop", footage / "bad" / "text.mp4")
    assert alerts(visitor).startswith("text.mp4: could not be read as a video")
    visitor.drop("#drop", footage / "bad" / "audio_only.m4a")
    assert "audio_only.m4a: not a video file by its name" in alerts(visitor)
    visitor.drop("#drop", footage / "bad" / "empty.mp4")
    assert alerts(visitor) == "empty.mp4: the file is empty."
    visitor.drop("#drop", footage / "bad" / "truncated.mp4")
    visitor.until("document.querySelector('#alert').textContent.startsWith('truncated.mp4: the file is cut short')")
    with (tmp_path / "huge.mp4").open("wb") as file:
        file.truncate(5 * 1024**3)  # a hole: it takes no room
    visitor.drop("#drop", tmp_path / "huge.mp4")
    visitor.until("document.querySelector('#alert').textContent.startsWith('huge.mp4')")
    assert alerts(visitor) == "huge.mp4: too large; this page takes videos up to 10 MiB and 1 minute."
    markup = tmp_path / "<img src=x onerror=alert(1)>.mp4"
    markup.write_text("no video")
    visitor.drop("#drop", markup)
    visitor.until(
        "document.querySelector('#alert').textContent.startsWith('<img src=x onerror=alert(1)>.mp4: could not')"
    )
    assert visitor.run("document.querySelectorAll('img').length") == 0
    visitor.drop("#drop", film)  # and a good one after all
    ready(visitor)
    assert visitor.run("document.querySelector('#alert').hidden")


def test_the_server_refuses_what_the_page_lets_through(visitor, film, tmp_path):
    """As when somebody changes the page: the limit is the server's."""
    huge = tmp_path / "huge.mp4"
    with huge.open("wb") as file:
        file.truncate(12 * 1024**2)
    visitor.run("window.File.prototype.__defineGetter__('size', () => 1)")
    visitor.drop("#drop", huge)
    assert any(words in alerts(visitor) for words in ("larger than the 10 MiB", "The upload broke off"))


def test_two_people_at_once(browser, page, site, film):
    site.predictor.gate.clear()
    one, two = browser.page(page[0]), browser.page(page[0])
    for visitor in (one, two):
        visitor.until("document.querySelector('#limits').textContent")
        visitor.drop("#drop", film)
        visitor.until("document.querySelector('#progress-text').textContent.match(/Reading the video:|before yours/)")
    assert two.text("#progress-text") == "One video is read before yours …"
    site.predictor.gate.set()
    for visitor in (one, two):
        ready(visitor)
        ask(visitor, "it is bright")
        assert visitor.text("#moments li .span") == "12.0 s – 14.0 s"
    theirs = two.run("document.querySelector('#video').src")
    assert one.run(f"fetch('{theirs}').then((response) => response.status)") == 404


def test_a_page_that_is_loaded_again_still_has_its_video(visitor, page, film):
    visitor.drop("#drop", film)
    ready(visitor)
    visitor.go(page[0])
    ready(visitor)
    assert visitor.text("#name") == "a film.mp4"
    ask(visitor, "it is bright")


def test_a_visit_that_ended_is_told(visitor, site, film):
    visitor.drop("#drop", film)
    ready(visitor)
    end_all_visits(site)
    visitor.click("#query")
    visitor.type("too late")
    visitor.key("Enter", 13, "\r")
    assert alerts(visitor) == "This visit has ended and its files were removed; load the page again."


def test_a_kind_of_file_that_browsers_do_not_play(visitor, footage):
    visitor.drop("#drop", footage / "videos" / "tree.avi")
    ready(visitor)
    visitor.until("document.querySelector('#video').readyState >= 1")
    assert visitor.run("document.querySelector('#video').videoWidth") == 640
    assert not visitor.run("document.querySelector('#copied').hidden")


def test_a_bundle_that_only_summarizes(browser, film):
    with serving(FakePredictor(tasks=["summarization"])) as (address, _):
        visitor = browser.page(address)
        visitor.until("document.querySelector('#limits').textContent")
        visitor.drop("#drop", film)
        ready(visitor)
        assert visitor.run("document.querySelector('#grounding').hidden")
        visitor.click("#summarize-button")
        visitor.until("!document.querySelector('#summary').hidden")


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_text_stands_out(visitor, film, dark):
    """At least 4.5 to 1 between letters and what is behind them (WCAG 2.1, AA)."""
    visitor.dark(dark)
    visitor.drop("#drop", film)
    ready(visitor)
    ask(visitor, "it is bright")
    worst = visitor.run((Path(__file__).parent / "contrast.js").read_text(encoding="utf-8"))
    assert worst[0] >= 4.5, worst


def focus(visitor):
    return visitor.run("document.activeElement.id")


def test_a_question_during_the_upload(visitor, film, monkeypatch):
    gate = threading.Event()
    monkeypatch.setattr("read.app.site.inspect", lambda *given: gate.wait(300) and inspect(*given))
    visitor.drop("#drop", film)
    visitor.until("/^(Uploading|Looking)/.test(document.querySelector('#progress-text').textContent)")
    visitor.click("#query")
    visitor.type("it is bright")
    visitor.key("Enter", 13, "\r")
    visitor.until("document.querySelector('#asked').textContent.startsWith('You get the answer')")
    gate.set()
    visitor.until("document.querySelectorAll('#moments li').length")
    assert visitor.text("#asked") == "“it is bright”, by read_pvla:"


def test_two_tabs_leave_each_other_their_videos(browser, visitor, page, site, film, clip):
    visitor.drop("#drop", film)
    ready(visitor)
    other = browser.page(page[0], beside=visitor)
    ready(other)
    assert other.text("#name") == "a film.mp4"
    for _ in range(2):  # the second takes the place of the first, which is its own
        other.give("#pick", clip)
        other.until("document.querySelector('#name').textContent === 'stripe.mp4'")
        ready(other)
        wait_until(lambda: len(files_of(site)) == 2)
    ask(visitor, "it is bright")
    assert visitor.text("#moments li .span") == "12.0 s – 14.0 s"
    for tab, name in ((visitor, "a film.mp4"), (other, "stripe.mp4")):
        tab.go(page[0])
        ready(tab)
        assert tab.text("#name") == name


def test_a_file_that_is_chosen_before_the_page_knows_its_visit(browser, page, film):
    visitor = browser.page(page[0], hold="*/api/session")
    assert visitor.text("#limits") == ""
    visitor.give("#pick", film)
    visitor.hold()
    ready(visitor)
    assert visitor.text("#name") == "a film.mp4" and visitor.complaints() == []


def test_the_focus_is_never_lost(visitor, film):
    visitor.run("document.querySelector('#pick').focus()")
    visitor.give("#pick", film)
    ready(visitor)
    assert focus(visitor) == "query"
    ask(visitor, "it is bright")
    visitor.run("document.querySelector('#moments .clip').focus()")
    visitor.key("Enter", 13, "\r")
    visitor.until("document.querySelector('#moments .clip').getAttribute('aria-disabled') === 'false'")
    assert visitor.run("document.activeElement.className") == "clip"
    visitor.run("document.querySelector('#summarize-button').focus()")
    visitor.key("Enter", 13, "\r")
    visitor.until("!document.querySelector('#summary').hidden")
    assert focus(visitor) == "summarize-button"
    visitor.run("document.querySelector('#remove').focus()")
    visitor.key("Enter", 13, "\r")
    visitor.until("!document.querySelector('#add').hidden")
    assert focus(visitor) == "pick"


def test_question_answer_and_summary_outlive_a_reload(visitor, page, site, film, monkeypatch):
    visitor.drop("#drop", film)
    ready(visitor)
    ask(visitor, "it is bright")
    visitor.click("#summarize-button")
    visitor.until("!document.querySelector('#summary').hidden")
    before = [visitor.text(part) for part in ("#moments", "#asked", "#summary")]
    monkeypatch.setattr("tests.app.fake.FakeVideo.answer", lambda *_: pytest.fail("asked again"))
    visitor.go(page[0])
    ready(visitor)
    assert visitor.run("document.querySelector('#query').value") == "it is bright"
    assert [visitor.text(part) for part in ("#moments", "#asked", "#summary")] == before
    visitor.click("#remove")
    visitor.until("!document.querySelector('#add').hidden")
    visitor.go(page[0])
    visitor.until("document.querySelector('#limits').textContent")
    assert visitor.run("document.querySelector('#work').hidden")


def test_a_question_that_waits_outlives_a_reload(visitor, page, site, film):
    site.predictor.gate.clear()
    visitor.drop("#drop", film)
    visitor.until("document.querySelector('#progress-text').textContent.startsWith('Reading the video: 2.0 s of')")
    visitor.click("#query")
    visitor.type("it is bright")
    visitor.key("Enter", 13, "\r")
    visitor.until("document.querySelector('#asked').textContent.startsWith('You get the answer')")
    visitor.go(page[0])
    visitor.until("document.querySelector('#asked').textContent.startsWith('You get the answer')")
    site.predictor.gate.set()
    visitor.until("document.querySelectorAll('#moments li').length")


def test_what_is_not_in_the_video_is_told(visitor, tmp_path):
    visitor.drop("#drop", make_video(tmp_path / "night.mp4", bright=(99.0, 99.0)))
    ready(visitor)
    ask(visitor, "a bicycle at night")
    assert visitor.text("#asked") == (
        "“a bicycle at night” is not in this video, as far as read_pvla can tell (the bar was chosen on few "
        "right answers: 9, of 2 videos). What comes nearest:"
    )
    assert visitor.text("#unknown") == "The model has never seen: bicycle. It goes by the other words."


@pytest.mark.parametrize("width", [1200, 390], ids=["desktop", "phone"])
def test_nothing_stands_in_the_way(visitor, film, width):
    rules = (Path(__file__).parent / "access.js").read_text(encoding="utf-8")
    visitor.size(width, 844)
    assert visitor.run(rules) == []
    visitor.drop("#drop", film)
    ready(visitor)
    ask(visitor, "a bicycle where it is bright")
    visitor.click("#summarize-button")
    visitor.until("!document.querySelector('#summary').hidden")
    assert visitor.run(rules) == []
