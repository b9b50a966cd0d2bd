"""The studio on real videos and labels, with a model and a training that need none."""

import re
import socket
import threading
import time
from contextlib import ExitStack, contextmanager

import requests

from read.app.server import server_of
from read.app.sessions import unguessable
from read.errors import InputError
from read.studio.card import find_or_make_card
from read.studio.folder import Footage
from read.studio.labels import Labels
from read.studio.site import Studio


class FakeReading:
    """A model that finds every sentence in the first quarter of a video; `at_hand` False: there is none."""

    def __init__(self, footage, at_hand=True):
        self.footage, self.predictor, self.trouble = footage, None, ""
        self.by, self.adapters = ("bundle", ["read"]) if at_hand else (None, [])

    def reload(self, bundle):
        pass

    def want(self, vid):
        pass

    def state(self, vid):
        return "done"

    def twins(self):
        return {}

    def moments(self, vid, query):
        return {"state": "done", "by": self.by, "moments": self._moments(vid) if self.by else []}

    def answer(self, vid, query, adapter):
        if self.by is None:
            raise InputError("There is no model to ask yet: train one first.")
        seconds = self.footage.videos[vid].seconds
        return {
            "state": "done", "video": vid, "duration": seconds, "clip_len": 2.0, "query": query, "adapter": "read",
            "threshold": 0.3, "caution": "", "present": True, "unknown_words": [], "moments": self._moments(vid),
            "saliency": [1.0, *[0.1] * (int(seconds / 2) - 1)],
        }  # fmt: skip

    def order(self, labels):
        labelled = {label.vid for label in labels}
        return {
            "by": self.by,
            "order": [{"vid": vid, "why": "no labels yet"} for vid in self.footage.videos if vid not in labelled],
        }

    def _moments(self, vid):
        seconds = self.footage.videos[vid].seconds or 4.0
        return [{"start": 0.0, "end": seconds / 4, "score": 0.9}, {"start": seconds / 2, "end": seconds, "score": 0.2}]


class FakeTraining:
    """A run that is idle until it is started, and then runs until it is stopped."""

    working_here, bundle, report, verdict = True, None, None, None

    def __init__(self):
        self.state = "idle"

    def status(self, labels):
        plan = {"labelled": 3, "train": 2, "test": 1, "shots": [2], "params": [["dataset", "montage", "mine"]]}
        stages = [{"name": "extract", "done": 1, "total": 4, "state": "running"}]
        return {
            "state": self.state, "can": True, "why": "", "plan": plan, "stages": stages, "share": 0.25, "left": 60.0,
            "error": "", "verdict": self.verdict, "report": False, "started": None, "ended": None,
        }  # fmt: skip

    def start(self, labels):
        self.state = "running"

    def stop(self):
        self.state = "stopped"

    def log(self, tail):
        return "rule extract:\n"


@contextmanager
def serving(folder, working, reading=FakeReading, training=FakeTraining, port=0):
    """A studio on a port, by default a free one; yields (address with its key, studio)."""
    with ExitStack() as held:
        for name in ("Snakefile", "params.yaml"):
            (working / name).touch()
        place = find_or_make_card(working, folder)
        labels, footage = Labels(place.folder), Footage(folder, working / ".studio" / place.name)
        held.callback(labels.close)
        held.callback(footage.close)
        studio, secret = Studio(place.name, labels, footage, reading(footage), training()), unguessable()
        server = server_of(studio.app("127.0.0.1", secret))
        listening = held.enter_context(socket.create_server(("127.0.0.1", port)))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}/?key={secret}", studio
        finally:
            server.should_exit = True
            thread.join(90)
        assert not thread.is_alive()


class Labeller(requests.Session):
    """Somebody who has opened the address that the terminal shows."""

    def __init__(self, address):
        super().__init__()
        self.address = re.sub(r"/\?key=.*", "", address)
        assert super().get(address, timeout=90).status_code == 200
        self.state = self.get("/api/state").json()
        self.headers["X-Token"] = self.state["token"]

    def request(self, method, path, **options):
        address = path if path.startswith("http") else self.address + path
        return super().request(method, address, **{"timeout": 90, **options})

    def label(self, vid, query="it is bright", windows=((2.0, 4.0),), **more):
        rows = [{"start": start, "end": end, "score": None} for start, end in windows]
        return self.post("/api/labels", json={"vid": vid, "query": query, "windows": rows, **more})

    def labels(self):
        return self.get("/api/labels").json()["labels"]

    def wait(self, true, seconds=90):
        """Until something that is told of the videos, by their names, is true."""
        end = time.monotonic() + seconds
        while not true(videos := {video["vid"]: video for video in self.get("/api/state").json()["videos"]}):
            assert time.monotonic() < end, videos
            time.sleep(0.05)
        return videos
