"""Datasets of one's own in a temporary folder, a server of files on loopback, and the whole stage on them."""

import json
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import yaml

from pipeline.annotations import fetch_annotations
from pipeline.card import load_card
from pipeline.params import DownloadSettings
from pipeline.sources.shards import shard_ids
from pipeline.stages.download import fetch_shard, list_shard, write_manifest
from read.errors import InputError
from read.files import read_json


class Server(SimpleHTTPRequestHandler):
    """Serves a folder and notes what it was asked for."""

    def __init__(self, *args, asked, **kwargs):
        self.asked = asked
        super().__init__(*args, **kwargs)

    def log_message(self, *args):
        pass

    def do_GET(self):
        self.asked.append(self.path)
        super().do_GET()


@contextmanager
def servers():
    """A function that serves a folder and returns the address and what is asked for."""
    running = []

    def start(folder):
        asked = []
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Server, directory=folder, asked=asked))
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        running.append(server)
        return f"http://127.0.0.1:{server.server_port}", asked

    yield start
    for server in running:
        server.shutdown()
        server.server_close()


def options(**changes) -> DownloadSettings:
    return DownloadSettings(**{"shards": 2, "tolerance": 0.0, "retries": 0, "timeout": 60.0, "mirror": None} | changes)


def row(number: int, vid: str) -> str:
    values = {"qid": number, "query": "a dog", "vid": vid, "duration": 30.0, "relevant_windows": [[2, 8]]}
    return json.dumps(values) + "\n"


def make_card(tmp_path: Path, videos: dict, vids: list[str], **values):
    """A dataset `mine` with one query a video."""
    folder = tmp_path / "catalog" / "mine"
    folder.mkdir(parents=True, exist_ok=True)
    annotate(tmp_path, vids)
    card = {"title": "t", "licence": "l", "annotations": "annotations.jsonl", "videos": videos} | values
    (folder / "card.yaml").write_text(yaml.safe_dump(card))
    return load_card("mine", tmp_path / "catalog")


def annotate(tmp_path: Path, vids: list[str]) -> None:
    text = "".join(row(number, vid) for number, vid in enumerate(vids))
    (tmp_path / "catalog" / "mine" / "annotations.jsonl").write_text(text)


def make_files(folder: Path, names: list[str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).write_bytes(f"content of {name} ".encode() * 50)
    return folder


def download(card, tmp_path, settings=None, *, packaged=False) -> dict:
    """All jobs of the stage, one after the other; the manifest."""
    settings = settings or options()
    fetch_annotations(card, settings, 2.0, tmp_path / "raw")
    for shard in shard_ids(settings.shards):
        (list_shard if packaged else fetch_shard)(card, shard, settings, tmp_path / "raw")
    write_manifest(card, settings, tmp_path / "raw")
    return read_json(tmp_path / "raw" / "mine" / "manifest.json")


def stored(tmp_path: Path) -> set[str]:
    return {path.name for path in (tmp_path / "raw" / "mine" / "videos").iterdir()}


class OneByOne:
    """The extractor's part of decoding several files, for those that have `video`: the last is done first."""

    decoders, held = 1, 0

    def videos(self, paths):
        for number, path in reversed([*enumerate(paths)]):
            try:
                yield number, self.video(path)
            except InputError as error:
                yield number, error
