"""The one way from a video file and a sentence to features: extraction and prediction both go through it."""

from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from read.encoders.frames import frames_per_clip, read_clips
from read.errors import InputError


@dataclass(frozen=True)
class ExtractorSettings:
    """What a person chooses.

    Attributes:
        fps: frames a second that are decoded.
        clip_len: seconds that one feature stands for; fps * clip_len must be a whole number.
        batch_size: clips that go through the encoders at once; it changes speed and memory only.
    """

    fps: float = 8.0
    clip_len: float = 2.0
    batch_size: int = 32

    def __post_init__(self):
        """Check what can be checked without the models."""
        frames_per_clip(self.fps, self.clip_len)
        if self.batch_size < 1:
            raise InputError(f"batch_size {self.batch_size}: at least 1 clip")


@dataclass(frozen=True)
class VideoFeatures:
    """The features of one video.

    Attributes:
        arrays: encoder -> float32 (N, d), one row for each clip, not normalised.
        seconds: how long the decoded video is; the last clip may reach beyond it.
    """

    arrays: dict[str, np.ndarray]
    seconds: float


class Extractor:
    """All encoders of a folder of weights, on frames of the size that its CLIP takes; nothing is downloaded here.

    Args:
        settings: how frames are taken.
        weights_dir: holds `clip/` and `slowfast/`, as these encoders' `save` wrote them.
        device: where the encoders run.

    Raises:
        InputError: weights are missing or damaged, or ask for more frames than clips have.
    """

    def __init__(self, settings: ExtractorSettings, weights_dir: str | Path, device: str | torch.device = "cpu"):
        from read.encoders.kinds.clip import Clip
        from read.encoders.kinds.slowfast import SlowFast

        self.settings = settings
        self.clip = Clip.load(Path(weights_dir) / "clip", device)
        # The order in which features are joined, and in which public checkpoints expect them.
        slowfast = SlowFast.load(Path(weights_dir) / "slowfast", device)
        slowfast.check_frames(frames_per_clip(settings.fps, settings.clip_len))
        self.encoders = {"slowfast": slowfast, "clip": self.clip}

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that must be equal for features to be used together, as JSON takes it."""
        frames = {"fps": float(self.settings.fps), "clip_len": float(self.settings.clip_len), "size": self.clip.size}
        frames["joined"] = [*self.encoders]  # in this order, which dicts that are equal do not tell
        return {**frames, "encoders": {name: encoder.identity for name, encoder in self.encoders.items()}}

    def video(self, path: str | Path) -> VideoFeatures:
        """The features of a video file; its frames are never all in memory.

        Raises:
            InputError: the file cannot be decoded.
        """
        arrays: dict[str, list[np.ndarray]] = {name: [] for name in self.encoders}
        frames, settings = 0, self.settings
        with closing(read_clips(path, settings.fps, settings.clip_len, self.clip.size)) as stream:
            while group := list(islice(stream, settings.batch_size)):
                clips = np.stack([clip for clip, _ in group])
                frames += sum(real for _, real in group)
                for name, encoder in self.encoders.items():
                    arrays[name].append(encoder.video(clips))
        return VideoFeatures({name: np.concatenate(rows) for name, rows in arrays.items()}, frames / settings.fps)

    def text(self, queries: list[str]) -> list[np.ndarray]:
        """The features of each query's tokens, float32 (M, d), start and end included.

        Raises:
            InputError: a query is empty.
        """
        return self.clip.text(queries)
