"""Tiny clips, each of a colour of its own under a pattern of its own, and a card that stitches them."""

import json
from pathlib import Path

import numpy as np
import yaml

from pipeline.card import load_card
from read.encoders.frames import iter_clips, write_video
from read.errors import InputError

NAMES = [f"c{number:02d}" for number in range(14)]
SECONDS = {name: 4.5 + number % 2 for number, name in enumerate(NAMES)}
VIDEOS = {"source": "stitched", "folder": "../../clips", "captions": "captions.jsonl", "per": 3, "seconds": [2, 4]}
VIDEOS |= {"cut": "hard", "train": 2, "test": 2, "seed": 0}


def colour(name: str) -> np.ndarray:
    """Of a clip: far from that of every other, (3,) from 40 to 215."""
    number = NAMES.index(name)
    levels = [40.0, 128.0, 215.0]
    return np.array([levels[number // 9], levels[number // 3 % 3], levels[number % 3]])


def write_clip(path: Path, name: str, seconds: float, fps: int = 12) -> None:
    """A pattern of bright and dark cells around the colour, which drifts."""
    rng = np.random.default_rng(NAMES.index(name))
    cells = np.kron(rng.choice([-30.0, 30.0], (8, 8)), np.ones((8, 8)))[..., None]
    frames = (np.roll(cells, shift // 6, axis=1) + colour(name) for shift in range(round(seconds * fps)))
    write_video(path, (np.clip(frame, 0, 255).astype(np.uint8) for frame in frames), fps)


def write_clips(folder: Path) -> Path:
    """All of them."""
    folder.mkdir()
    for name in NAMES:
        write_clip(folder / f"{name}.mp4", name, SECONDS[name])
    return folder


def stitched_card(tmp_path: Path, captioned: dict[str, list[str]] | None = None, name: str = "mine", **changes):
    """A card of these clips; a clip is captioned by its name where nothing else is said."""
    folder = tmp_path / "catalog" / name
    folder.mkdir(parents=True, exist_ok=True)
    said = {clip: [f"clip {clip}"] for clip in NAMES} | (captioned or {})
    lines = [json.dumps({"vid": vid, "sentence": text}) + "\n" for vid, texts in said.items() for text in texts]
    (folder / "captions.jsonl").write_text("".join(lines))
    videos = {key: value for key, value in (VIDEOS | changes).items() if value is not None}
    (folder / "card.yaml").write_text(yaml.safe_dump({"title": "t", "licence": "l", "videos": videos}))
    return load_card(name, tmp_path / "catalog")


def seen(path: Path) -> list[str]:
    """The clip whose colour each quarter of a second has, by its middle."""
    means = [clip.mean(axis=(0, 1, 2)) for clip in iter_clips(path, 4, 0.25, 32)]
    return [min(NAMES, key=lambda name: float(np.abs(colour(name) - mean).sum())) for mean in means]


def mistakes(tmp_path: Path, **changes) -> list[str]:
    """What is said of a card with these keys; a key of None is left out."""
    try:
        stitched_card(tmp_path, **changes)
    except InputError as error:
        return str(error).splitlines()
    return []
