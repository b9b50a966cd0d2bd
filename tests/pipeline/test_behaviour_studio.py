"""The studio from an empty dataset to a bundle that answers, by a browser, on real clips; killed in the middle."""

import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager

import pytest

from benchmarks.tiny import ROOT
from read.files import read_jsonl, write_jsonl
from tests.app.browser import CHROMIUM, chromium

FOOTAGE = ROOT.parent / "shared/footage"
ALIKE = {"vtest"}  # which encoders of a few steps take for a copy of another
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None or os.name != "posix", reason="no Chromium on this machine"),
    pytest.mark.skipif(not FOOTAGE.is_dir(), reason="the real clips are not beside this checkout"),
]


@contextmanager
def studio(project):
    """A studio of the real clips, as a person starts it; killed at the end. Yields the address that it prints."""
    command = [sys.executable, "-m", "read", "studio", str(FOOTAGE / "videos"), "--port", "0", "--no-browser"]
    where = {"cwd": project.folder, "env": project.environment}
    with subprocess.Popen(command, **where, stdout=subprocess.PIPE, text=True) as process:
        try:
            yield re.search(r"http://\S+", process.stdout.readline()).group()
        finally:
            process.send_signal(signal.SIGKILL)


def state(tab, *states, seconds=300):
    """Wait until the training is in one of the states; returns what is told of it."""
    script = "fetch('api/train').then((told) => told.json())"
    tab.until(f"{script}.then(({{state}}) => {list(states)}.includes(state))", seconds)
    return tab.run(script)


def test_from_a_folder_of_videos_to_an_answer(half, tmp_path):
    card = half.folder / "data/catalog/videos"
    with chromium(tmp_path / "browser") as browser:
        with studio(half) as address:
            tab = browser.page(address)
            bring(tab, card, tmp_path / "annotations.jsonl")
            tab.run("location.hash = '#train'")
            tab.until("document.querySelector('#plan-told').textContent.includes('6 labelled videos')")
            assert "dataset" in tab.text("#params-rows")
            tab.click("#train-start")
            state(tab, "running")
        with studio(half) as address:  # the first was killed; its run goes on, and is found
            tab = browser.page(address)
            train(tab)
            ask(tab, card)
            assert tab.complaints() == []
    assert (half.folder / ".studio/videos/bundle").is_dir()


def bring(tab, card, file):
    """Import labels of the real clips."""
    tab.until("document.body.classList.contains('ready')")
    tab.run("location.hash = '#files'")
    rows = [row for row in read_jsonl(FOOTAGE / "annotations.jsonl") if row["vid"] not in ALIKE]
    write_jsonl(file, rows)
    tab.give("#pick-file", file)
    tab.until(f"document.querySelector('#trial-told').textContent.includes('{len(rows)}')")
    tab.click("#import")
    tab.until("document.querySelectorAll('#history li').length === 1")
    assert len(read_jsonl(card / "annotations.jsonl")) == len(rows)


def train(tab):
    """Stop the run that is at work, go on with it, and read what came out."""
    tab.run("location.hash = '#train'")
    state(tab, "running")
    tab.click("#train-stop")
    state(tab, "stopped")
    tab.until("document.querySelector('#train-start').textContent === 'Resume'")
    tab.click("#train-start")
    told = state(tab, "done", "failed", "stopped", seconds=900)
    assert told["error"] == "" and told["state"] == "done"
    assert {"random", "cosine", "zero-shot", "read"} <= {row["name"] for row in told["verdict"]["rows"]}
    tab.until("!document.querySelector('#verdict').hidden")
    assert re.search(r"\d+ of \d+ test queries found", tab.text("#verdict-told"))


def ask(tab, card):
    """Ask a video of the test side; the wrong answer becomes a label, and the video leaves that side."""
    asked = min(row["vid"] for row in read_jsonl(card / "annotations.jsonl") if row["split"] == "test")
    tab.until("fetch('api/state').then((told) => told.json()).then(({by}) => by === 'bundle')")
    tab.run(f"location.hash = '#ask/{asked}'")
    tab.until("!document.querySelector('#ask').hidden")
    tab.run("document.querySelector('#ask-query').focus()")
    tab.type("a thing that is not there")
    tab.key("Enter", 13, "\r")
    tab.until("document.querySelectorAll('#moments li').length > 0", 120)
    tab.run("document.querySelector('#moments button').focus()")
    tab.key("x", 88, "x")  # this is wrong
    tab.until("document.querySelector('#query').value === 'a thing that is not there'")
    tab.until("document.activeElement.tagName !== 'INPUT' || !document.activeElement.blur()")
    tab.key("a", 65, "a")  # but its first window is right
    tab.until("document.querySelectorAll('#windows li').length === 1")
    tab.click("#save")
    tab.until("document.querySelector('#saved').textContent === 'All saved'")
    rows = [row for row in read_jsonl(card / "annotations.jsonl") if row["vid"] == asked]
    assert {row["split"] for row in rows} == {"train"} and rows[-1]["asked"] is True
