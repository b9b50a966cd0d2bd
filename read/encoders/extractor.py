"""The one way from a video file and a sentence to features: extraction and prediction both go through it."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from read.encoders.base import ORDER, Encoder, Framing, Hears, check_frames, check_sound, hearing, kind_of
from read.encoders.flow import Extracted, Flow, Lane, Put, clips_at_once, cores, most_bytes
from read.encoders.frames import frames_per_clip, read_views
from read.encoders.sound import Sound
from read.encoders.weights import check_content, read_config
from read.errors import InputError
from read.plugins import ENCODERS

Encode = Callable[[np.ndarray], np.ndarray]  # clips -> float32 (n, d)


@dataclass(frozen=True)
class ExtractorSettings:
    """What a person chooses.

    Attributes:
        fps: frames a second that are decoded.
        clip_len: seconds that one feature stands for; fps * clip_len must be a whole number.
        batch_size: clips that go through a GPU's encoders at once; a CPU takes a few, always as many.
        normalise: whether models read each encoder's features L2-normalised, or as they are and without a joint space.
        decoders: videos that are decoded at once; None: as many as there are cores. Neither decides a result.
        half: whether a GPU's encoders see in half precision, which changes what rounding does.
    """

    fps: float = 8.0
    clip_len: float = 2.0
    batch_size: int = 32
    decoders: int | None = None
    normalise: bool = True
    half: bool = True

    def __post_init__(self):
        """Check what can be checked without the models."""
        frames_per_clip(self.fps, self.clip_len)
        if self.batch_size < 1:
            raise InputError(f"batch_size {self.batch_size}: at least 1 clip")
        if self.decoders is not None and self.decoders < 1:
            raise InputError(f"decoders {self.decoders}: at least 1")


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


class _Decoded(NamedTuple):
    """What is known of a video when it is decoded: its clips, its seconds, and what its sound tells."""

    clips: int
    seconds: float
    told: str


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
        self.settings, self.device = settings, torch.device(device)
        self.encoders: dict[str, Encoder] = {name: load_encoder(Path(weights_dir) / name, device) for name in names}
        reader = next((name for name, encoder in self.encoders.items() if "text" in encoder.reads), None)
        self.reader = None if reader is None else self.encoders[reader]
        self.joint = reader if settings.normalise and reader in self._seeing and self.reader.joint else None
        seeing = {name: encoder.wants for name, encoder in self._seeing.items()}
        if not seeing:
            raise InputError(f"encoders: of {', '.join(self.encoders) or 'none'}, none reads frames")
        self.hearing = hearing({name: encoder.reads for name, encoder in self.encoders.items()})
        check_sound({name: self.encoders[name].hears for name in self.hearing}, settings.clip_len)
        self.views: dict[str, Framing] = {name: wants.view for name, wants in seeing.items()}
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
        as_they_are = {} if self.settings.normalise else {"normalise": False}
        return {**frames, "encoders": encoders, **sound, **joint, **as_they_are}

    def video(self, path: str | Path, progress: Callable[[int], None] = lambda clips: None) -> VideoFeatures:
        """The features of a video file; neither its frames nor its sound are ever all in memory.

        `progress` is told after a batch how many clips have been seen. An exception raised in it ends the work.

        Raises:
            InputError: the file cannot be decoded.
        """
        ((_, found),) = self.videos([path], progress)
        if isinstance(found, InputError):
            raise found
        return found

    def videos(
        self, paths: Sequence[str | Path], progress: Callable[[int], None] = lambda clips: None
    ) -> Iterator[tuple[int, VideoFeatures | InputError]]:
        """The features of each of some files, by its number, or why it cannot be decoded; whoever is done first.

        As `video`. Several are decoded at once, and no feature depends on how many: see `read.encoders.flow`.
        """
        decoders = max(1, min(self.decoders, len(paths)))
        flow = Flow(paths, self._decode, self._lanes, decoders, self._workers)
        views = set(self.views.values())
        with closing(flow.run(lambda: progress(min(flow.encoded[view] for view in views)))) as done:
            for number, found in done:
                yield number, found.about if isinstance(found.about, InputError) else self._features(found)

    @property
    def decoders(self) -> int:
        """Videos that are decoded at once, where there are so many."""
        return self.settings.decoders or cores()

    @property
    def held(self) -> int:
        """Bytes of decoded clips that are in memory at once, at most."""
        return most_bytes(self._lanes, self.decoders, self._workers)

    def _decode(self, path: str | Path, put: Put) -> "_Decoded":
        """Hand on a video's clips and their sound. Where it has no sound, one silent clip stands for all."""
        settings, views = self.settings, [*dict.fromkeys(self.views.values())]
        clips = frames = 0
        with closing(read_views(path, settings.fps, settings.clip_len, views)) as stream:
            for seen, real in stream:
                clips, frames = clips + 1, frames + real
                for view, clip in zip(views, seen, strict=True):
                    put(view, clip)
        told, seconds = "", frames / settings.fps
        for hears in dict.fromkeys(self.encoders[name].hears for name in self.hearing):
            sound = Sound(path, hears.rate, settings.clip_len, clips, seconds)
            with closing(iter(sound)) as waves:
                for wave in waves if sound.track else islice(waves, 1):
                    put(hears, wave)
            told = told or sound.told
        return _Decoded(clips, seconds, told)

    def _features(self, found: Extracted) -> VideoFeatures:
        clips, seconds, told = found.about
        heard = {name: found.arrays[name].repeat(clips // len(found.arrays[name]), 0) for name in self.hearing}
        return VideoFeatures(
            {name: (found.arrays | heard)[name] for name in self.encoders if name in found.arrays}, seconds, told
        )

    @property
    def _lanes(self) -> dict[Framing | Hears, Lane]:
        """Pictures of each view, and sound of each rate, to the encoders that take them."""
        frames, seconds = frames_per_clip(self.settings.fps, self.settings.clip_len), self.settings.clip_len
        takers: dict[Framing | Hears, dict[str, Encode]] = defaultdict(dict)
        for name, encoder in self._seeing.items():
            takers[self.views[name]][name] = encoder.video
        for name in self.hearing:
            takers[self.encoders[name].hears][name] = self.encoders[name].sound
        sizes = {
            kind: 4 * round(kind.rate * seconds) if isinstance(kind, Hears) else 3 * frames * kind.size**2
            for kind in takers
        }
        batch = {kind: self.settings.batch_size if self._gpu else clips_at_once(size) for kind, size in sizes.items()}
        return {kind: Lane(batch[kind], sizes[kind], partial(self._encode, takers[kind], kind)) for kind in takers}

    def _encode(
        self, encoders: Mapping[str, Encode], kind: Framing | Hears, clips: np.ndarray
    ) -> dict[str, np.ndarray]:
        # Sound stays in full: the least of a spectrum, whose logarithm counts, is none in half.
        half = self._gpu and self.settings.half and not isinstance(kind, Hears)
        return {name: (self._half(encode, clips) if half else encode(clips)) for name, encode in encoders.items()}

    def _half(self, encode: Encode, clips: np.ndarray) -> np.ndarray:
        """In half precision; in full where that has no number for a result."""
        with torch.autocast(self.device.type, torch.float16):
            rows = encode(clips)
        return rows if np.isfinite(rows).all() else encode(clips)

    @property
    def _gpu(self) -> bool:
        return self.device.type != "cpu"

    @property
    def _workers(self) -> int:
        """Batches that are encoded at once: a GPU's run one after the other anyway."""
        return 1 if self._gpu else cores()

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
