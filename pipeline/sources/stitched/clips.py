"""The clips at hand: got, looked at, and the groups of those that belong together.

clips.jsonl of the dataset's folder keeps what was seen of each, so that it is decoded for this once.
"""

import base64
import json
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pipeline.card import Card
from pipeline.params import DownloadSettings
from pipeline.sources.base import UnavailableError
from pipeline.sources.local import Folder
from pipeline.sources.stitched.captions import plain
from pipeline.sources.stitched.plan import FPS, CaptionedClip
from read.encoders.frames import read_clips
from read.errors import InputError
from read.files import decode_json, sha256_of, write_jsonl

SEEN = "clips.jsonl"
SIDE = 16  # pixels of a thumbnail
EVERY = 24  # pictures of which one becomes a thumbnail: one a second
MOST = 60  # thumbnails kept of a clip
NEAR = 0.9  # correlation of two thumbnails of which one is a copy of the other
SHARE = 0.3  # of the shorter clip's thumbnails that have such a one in the other, for twins
FLAT = 4.0  # standard deviation of brightness below which a thumbnail shows nothing to compare
BLOCK = 4096  # thumbnails compared at once


@dataclass(frozen=True)
class Look:
    """What was seen of a clip: its file's digest, its pictures at `FPS`, and thumbnails, uint8 (n, SIDE, SIDE)."""

    sha256: str
    frames: int
    thumbs: np.ndarray


class Clips:
    """Where a card's clips are: in its folder, or, once downloaded, in the dataset's."""

    def __init__(self, card: Card, download: DownloadSettings, folder: Path) -> None:
        videos = card.videos
        self._room, self._url = folder / "clips", None
        place = self._room
        if videos.url is not None:
            from pipeline.sources.url import Url

            self._url = Url(videos.url, download.retries, download.timeout)
        else:
            place = card.path(videos.folder or "")
        self._folder = Folder(place, videos.extensions, optional=videos.url is not None)

    def file(self, vid: str) -> Path:
        """The file of a clip, downloaded where it is not there yet. Raises UnavailableError."""
        if self._url is None:
            return self._folder.find(vid)
        if there := sorted(path for path in self._room.glob("*") if path.stem == vid and path.suffix != ".part"):
            return there[0]
        room = self._room / f".{vid}.part"
        room.mkdir(parents=True, exist_ok=True)
        draft = self._url.fetch(vid, room)
        file = self._room / f"{vid}{draft.suffix}"
        draft.replace(file)
        room.rmdir()
        return file


def look_at(vids: Iterable[str], clips: Clips, folder: Path, notes: Counter[str]) -> dict[str, Look]:
    """What is seen of each clip; those that cannot be had or decoded are left out, told and counted."""
    known, seen = {row["sha256"]: row for row in _rows(folder / SEEN)}, {}
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / SEEN).open("ab") as journal:
        journal.write(b"\n")  # ends what a killed job began
        for vid in vids:
            try:
                file = clips.file(vid)
                digest = sha256_of(file)
                if digest not in known:
                    known[digest] = _seen(file, digest)
                    journal.write(json.dumps(known[digest]).encode() + b"\n")
                    journal.flush()
            except (UnavailableError, InputError, PermissionError) as reason:
                notes["clips left out, as their files cannot be had or decoded"] += 1
                print(f"clip {vid} is left out: {reason}")
                continue
            seen[vid] = known[digest]
    write_jsonl(folder / SEEN, [known[digest] for digest in sorted({row["sha256"] for row in seen.values()})])
    return {vid: Look(row["sha256"], row["frames"], _unpacked(row["thumbs"])) for vid, row in seen.items()}


def _rows(path: Path) -> Iterable[dict[str, Any]]:
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            yield decode_json(line)
        except InputError:
            continue  # an empty line, or the one at which a job was killed


def _seen(file: Path, digest: str) -> dict[str, Any]:
    """A line of `SEEN`. Raises InputError as `read_clips`."""
    frames, kept = 0, []
    with closing(read_clips(file, FPS, EVERY / FPS, SIDE)) as parts:
        for part, real in parts:
            frames += real
            kept.append(part[0].mean(axis=-1).round().astype(np.uint8))
    spread = [kept[place] for place in np.linspace(0, len(kept) - 1, min(len(kept), MOST)).astype(int)]
    return {"sha256": digest, "frames": frames, "thumbs": base64.b64encode(np.stack(spread).tobytes()).decode()}


def _unpacked(text: str) -> np.ndarray:
    return np.frombuffer(base64.b64decode(text), np.uint8).reshape(-1, SIDE, SIDE)


def alike(looks: Mapping[str, Look]) -> dict[str, set[str]]:
    """CaptionedClip -> those that look the same: equal files, and twins by half of the pictures, by thumbnails in grey.

    Found is what shows the same pictures, coded or scaled otherwise, shortened, or shifted in time. Not found is what
    is cropped, mirrored or recoloured, and what is the same scene from another side.
    """
    names = sorted(looks)
    found: dict[str, set[str]] = {name: {name} for name in names}
    points = [_points(looks[name].thumbs) for name in names]
    counts = np.array([len(part) for part in points])
    owners = np.repeat(np.arange(len(names)), counts)
    rows = np.concatenate([*points, np.zeros((0, SIDE * SIDE), np.float32)])
    near = _matched(rows, owners, len(names))
    for one, other in {(min(pair), max(pair)) for pair in near}:
        matched = [near.get((one, other), 0) / counts[one], near.get((other, one), 0) / counts[other]]
        if matched[int(counts[other] < counts[one])] >= SHARE:
            found[names[one]].add(names[other])
            found[names[other]].add(names[one])
    digests: dict[str, set[str]] = {}
    for name in names:
        digests.setdefault(looks[name].sha256, set()).add(name)
    return {name: others | digests[looks[name].sha256] for name, others in found.items()}


def _points(thumbs: np.ndarray) -> np.ndarray:
    """Thumbnails without their mean, of length 1, float32 (n, SIDE * SIDE); flat ones left out."""
    rows = thumbs.reshape(len(thumbs), -1).astype(np.float32)
    rows = rows[rows.std(axis=1) >= FLAT]
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _matched(rows: np.ndarray, owners: np.ndarray, clips: int) -> Counter[tuple[int, int]]:
    """(clip, other) -> how many thumbnails of the clip have a near one in the other."""
    near: Counter[tuple[int, int]] = Counter()
    for start in range(0, len(rows), BLOCK):
        part, own = rows[start : start + BLOCK], owners[start : start + BLOCK]
        hits: set[tuple[int, int]] = set()  # thumbnail, other clip
        for first in range(0, len(rows), BLOCK):
            mine, theirs = np.nonzero(part @ rows[first : first + BLOCK].T >= NEAR)
            hits.update(zip(mine.tolist(), owners[first + theirs].tolist(), strict=True))
        near.update((int(own[thumb]), other) for thumb, other in hits if own[thumb] != other)
    return near


def groups_of(clips: Iterable[CaptionedClip], same: Mapping[str, set[str]]) -> list[list[str]]:
    """Clips that belong together: they look the same, the same is asked of them, or each does with one in between."""
    leader: dict[str, str] = {}

    def top(name: str) -> str:
        while leader.setdefault(name, name) != name:
            leader[name] = name = leader[leader[name]]
        return name

    by_caption: dict[str, str] = {}
    names = []
    for clip in clips:
        names.append(clip.vid)
        for other in same[clip.vid]:
            leader[top(other)] = top(clip.vid)
        for caption in clip.asked:
            leader[top(by_caption.setdefault(plain(caption), clip.vid))] = top(clip.vid)
    groups: dict[str, list[str]] = {}
    for name in sorted(names):
        groups.setdefault(top(name), []).append(name)
    return sorted(groups.values())
