"""The source that draws the videos of the montage."""

import hashlib
import json
from dataclasses import asdict
from functools import cache
from pathlib import Path

from pipeline.sources.montage.scenes import FPS, make_scene
from read.files import sha256_of


class Montage:
    """Videos of a domain of the montage, drawn by `seed`."""

    def __init__(self, domain: str, seed: int) -> None:
        self.domain = domain
        self.seed = seed

    def recipe(self, vid: str) -> str:
        """A digest of what the video shows and of the code that draws it."""
        scene = json.dumps(asdict(make_scene(vid, self.domain, self.seed)))
        return hashlib.sha256(f"{scene} {FPS} {_code()}".encode()).hexdigest()

    def fetch(self, vid: str, room: Path) -> Path:
        """Draw a video."""
        from pipeline.sources.montage.render import frames
        from read.encoders.frames import write_video

        write_video(room / "video.mp4", frames(make_scene(vid, self.domain, self.seed)), FPS)
        return room / "video.mp4"


@cache
def _code() -> str:
    return " ".join(sha256_of(Path(__file__).with_name(name)) for name in ("render.py", "subjects.py"))
