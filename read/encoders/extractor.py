"""The one way from a video file and a sentence to features: extraction and prediction both go through it."""

from collections.abc import Iterable
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import torch

from read.encoders.base import ORDER, Encoder, View, check_frames, check_sound, hearing, kind_of
from read.encoders.frames import frames_per_clip, read_views
from read.encoders.sound import hear
from read.encoders.weights import check_content, read_config
from read.errors import InputError
from read.plugins import ENCODERS


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
        told: what there is to say of its sound; empty where all of it was heard, or none asked for.
    """

    arrays: dict[str, np.ndarray]
    seconds: float
    told: str = ""


class Extractor:
    """Encoders of a folder of weights, all on the same frames, each as it sees them; nothing is downloaded here.

    Args:
        settings: how frames are taken.
        weights_dir: holds a folder for each encoder, as its `save` wrote it.
        device: where the encoders run.
        names: of the encoders, in the order in which their features are joined.

    Attributes:
        encoders: name -> encoder, in that order.
        reader: the first of them that reads text; None: none does.
        hearing: names of those that read sound.
        joint: the reader's name, where it sees as well and has one space for both; None: it has none.
        views: encoder -> how it sees a frame; equal ones are made once.

    Raises:
        InputError: weights are missing or damaged; the encoders do not go together, or with the settings.
    """

    def __init__(
        self,
        settings: ExtractorSettings,
        weights_dir: str | Path,
        device: str | torch.device = "cpu",
        names: Iterable[str] = ORDER,
    ):
        self.settings = settings
        self.encoders: dict[str, Encoder] = {name: load_encoder(Path(weights_dir) / name, device) for name in names}
        reader = next((name for name, encoder in self.encoders.items() if "text" in encoder.reads), None)
        self.reader = None if reader is None else self.encoders[reader]
        self.joint = reader if reader in self._seeing and self.reader.joint else None
        seeing = {name: encoder.wants for name, encoder in self._seeing.items()}
        if not seeing:
            raise InputError(f"encoders: of {', '.join(self.encoders) or 'none'}, none reads frames")
        self.hearing = hearing({name: encoder.reads for name, encoder in self.encoders.items()})
        check_sound({name: self.encoders[name].hears for name in self.hearing}, settings.clip_len)
        self.views: dict[str, View] = {name: wants.view for name, wants in seeing.items()}
        check_frames(seeing, frames_per_clip(settings.fps, settings.clip_len))

    @property
    def spec(self) -> dict[str, Any]:
        """Everything that must be equal for features to be used together, as JSON takes it."""
        frames: dict[str, Any] = {"fps": float(self.settings.fps), "clip_len": float(self.settings.clip_len)}
        frames["views"] = {name: view._asdict() for name, view in self.views.items()}
        # In this order, which dicts that are equal do not tell.
        frames["joined"] = [name for name in self.encoders if name in self._seeing or name in self.hearing]
        sound = {"sound": self.hearing} if self.hearing else {}
        joint = {} if self.joint is None else {"joint": self.joint}
        encoders = {name: encoder.identity for name, encoder in self.encoders.items()}
        return {**frames, "encoders": encoders, **sound, **joint}

    def video(self, path: str | Path) -> VideoFeatures:
        """The features of a video file; neither its frames nor its sound are ever all in memory.

        Raises:
            InputError: the file cannot be decoded.
        """
        arrays: dict[str, list[np.ndarray]] = {name: [] for name in self._seeing}
        frames, settings = 0, self.settings
        views = [*dict.fromkeys(self.views.values())]
        with closing(read_views(path, settings.fps, settings.clip_len, views)) as stream:
            while group := list(islice(stream, settings.batch_size)):
                seen = {view: np.stack([clip[number] for clip, _ in group]) for number, view in enumerate(views)}
                frames += sum(real for _, real in group)
                for name, encoder in self._seeing.items():
                    arrays[name].append(encoder.video(seen[self.views[name]]))
        found = {name: np.concatenate(rows) for name, rows in arrays.items()}
        heard, told = self._hear(path, len(next(iter(found.values()))))
        return VideoFeatures(found | heard, frames / settings.fps, told)

    def _hear(self, path: str | Path, clips: int) -> tuple[dict[str, np.ndarray], str]:
        """Features of the sound of so many clips, and what is to be told of it; nothing is read for nobody."""
        if not self.hearing:
            return {}, ""
        settings = self.settings
        return hear(
            path, clips, settings.clip_len, {name: self.encoders[name] for name in self.hearing}, settings.batch_size
        )

    def text(self, queries: list[str]) -> list[np.ndarray]:
        """The features of each query's tokens, float32 (M, d), start and end included. Raises InputError as `read`."""
        return self.read(queries)[0]

    def sentences(self, queries: list[str]) -> np.ndarray | None:
        """Each query in the joint space, float32 (n, e), not normalised; None where there is no such space.

        Raises:
            InputError: a query is empty.
        """
        return None if self.joint is None else self.read(queries)[1]

    def read(self, queries: list[str]) -> tuple[list[np.ndarray], np.ndarray | None]:
        """`text` and `sentences` in one pass.

        Raises:
            InputError: a query is empty, or no encoder reads text.
        """
        if self.reader is None:
            raise InputError(f"encoders: of {', '.join(self.encoders)}, none reads text")
        texts, sentences = self.reader.read(queries)
        return texts, None if self.joint is None else sentences

    @property
    def _seeing(self) -> dict[str, Encoder]:
        return {name: encoder for name, encoder in self.encoders.items() if "frames" in encoder.reads}


def load_encoder(folder: Path, device: str | torch.device = "cpu") -> Encoder:
    """The encoder in a folder, of the kind that its config names, else of that of the folder's name.

    Raises:
        InputError: a file is missing or damaged, or there is no such kind.
    """
    kind = kind_of(folder.name, read_config(folder))
    encoder = ENCODERS.load(kind).load(folder, device)
    check_content(folder, encoder.identity["weights"])
    return encoder
