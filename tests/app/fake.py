"""A predictor that looks at a video without models, and clients of the page."""

import http.client
import os
import socket
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple
from urllib.parse import urlsplit

import numpy as np
import requests

from read.app.server import server_of
from read.app.site import Site
from read.encoders.frames import iter_clips, write_video
from read.errors import InputError

ADAPTERS = {"grounding": {"read_pvla": {}, "lora": {}}, "summarization": {"writer": {}}}
CLIP_LEN = 2.0


class Answer(NamedTuple):
    query: str
    moments: list
    saliency: list


class FakePredictor:
    """As `read.predictor.Predictor`: moments where the picture is bright. `gate` closed holds every encoding."""

    def __init__(self, tasks=("grounding", "summarization"), seconds_per_clip=0.0):
        self.tasks = list(tasks)
        self.bundle = SimpleNamespace(
            folder=Path("/somewhere/my-bundle"), adapters=lambda task: ADAPTERS[task] if task in tasks else {}
        )
        self.gate = threading.Event()
        self.gate.set()
        self.running = self.most = 0
        self.seconds_per_clip = seconds_per_clip

    def threshold(self, adapter=None):
        return 0.3

    def caution(self, adapter=None):
        return "the bar was chosen on few right answers: 9, of 2 videos"

    def unknown_words(self, query):
        return [word for word in query.split() if word == "bicycle"]

    def encode(self, path, progress=None):
        self.running += 1
        self.most = max(self.most, self.running)
        try:
            light = []
            for clip in iter_clips(path, 2.0, CLIP_LEN, 16):
                light.append(float(clip.mean()) / 255)
                while True:
                    progress(CLIP_LEN * len(light), None)
                    if self.gate.wait(0.01):
                        break
                time.sleep(self.seconds_per_clip)
        finally:
            self.running -= 1
        return FakeVideo(path, light)


class FakeVideo:
    def __init__(self, path, light):
        self.path, self.light = path, light
        self.clip_len, self.duration = CLIP_LEN, CLIP_LEN * len(light)

    def answer(self, queries, adapter=None):
        assert adapter in ADAPTERS["grounding"]
        if "explode" in queries[0]:
            raise RuntimeError("a fault of the models")
        if "refuse" in queries[0]:
            raise InputError(f"{self.path}: cannot answer this")
        light = self.light if adapter == "read_pvla" else [1 - value for value in self.light]
        order = np.argsort(light)[::-1][:5]
        moments = [(CLIP_LEN * i, CLIP_LEN * (i + 1), light[i]) for i in order]
        return [Answer(query, moments, light) for query in queries]

    def summary(self, transcript="", adapter=None):
        assert adapter == "writer"
        return f"a video of {len(self.light)} clips in which is said: {transcript or 'nothing'}"


def make_video(path, seconds=12, bright=(6.0, 8.0), fps=8):
    """A dark video with a moving stripe that is bright for a while."""

    def frame(number):
        picture = np.full((90, 160, 3), 40)
        picture[:, (4 * number) % 150 : (4 * number) % 150 + 10] = (220, 120, 40)
        return np.clip(picture + (150 if bright[0] <= number / fps < bright[1] else 0), 0, 255).astype(np.uint8)

    write_video(path, map(frame, range(int(seconds * fps))), fps=fps)
    return path


@contextmanager
def serving(predictor, max_bytes=10 * 1024**2, max_seconds=60.0, idle_seconds=600.0, host="127.0.0.1", **more):
    """The page on a free port of the loopback; yields (address, site)."""
    site = Site(predictor, max_bytes, max_seconds, idle_seconds, **more)
    server = server_of(site.app(host))
    listening = socket.create_server(("127.0.0.1", 0))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", site
    finally:
        if gate := getattr(predictor, "gate", None):
            gate.set()
        server.should_exit = True
        thread.join(90)
        listening.close()
        site.close()
    assert not thread.is_alive()
    assert not site.sessions.root.exists()


def raw(address, method, path, body=None, **headers):
    """A request as it is, with a path that no client would send."""
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=90)
    try:
        connection.request(method, path, body=body, headers=headers)
        response = connection.getresponse()
        return response.status, response.read()
    finally:
        connection.close()


def end_all_visits(site):
    """As if everybody had been away for long."""
    site.sessions.idle_seconds, usual = -1.0, site.sessions.idle_seconds
    site.sessions.sweep()
    site.sessions.idle_seconds = usual


def files_of(site):
    """Names of all files that the page keeps."""
    return sorted(name for _, _, names in os.walk(site.sessions.root) for name in names)  # folders may vanish meanwhile


def wait_until(true, seconds=90):
    """Wait for something that takes a moment, on a busy machine a long one."""
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end
        time.sleep(0.02)


class Person(requests.Session):
    """Somebody with a browser of their own."""

    def __init__(self, address):
        super().__init__()
        self.address = address
        self.visit = self.get("/api/session").json()
        self.headers["X-Token"] = self.visit["token"]

    def request(self, method, path, **options):
        return super().request(method, self.address + path, timeout=90, **options)

    def upload(self, path, name=None):
        with Path(path).open("rb") as file:
            return self.post("/api/videos", params={"name": Path(path).name if name is None else name}, data=file)

    def look(self, key):
        return self.get(f"/api/videos/{key}").json()

    def wait(self, key, states=("done", "failed")):
        told = []
        wait_until(lambda: told.append(self.look(key)) or told[-1]["state"] in states)
        return told[-1]

    def add(self, path, name=None):
        """Upload a video and wait until it has been read."""
        response = self.upload(path, name)
        assert response.status_code == 201, response.text
        told = self.wait(response.json()["id"])
        assert told["state"] == "done", told
        return told["id"]

    def ask(self, key, query="it is bright", **more):
        return self.post(f"/api/videos/{key}/answer", json={"query": query, **more})
