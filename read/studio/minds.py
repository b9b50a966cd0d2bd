"""The models that may help: the bundle of the last training, or an encoder; each with what it has read."""

import os
import shutil
import tempfile
import threading
import time
from collections.abc import Hashable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from read.bundle.folder import CONFIG
from read.encoders.extractor import Extractor
from read.errors import InputError
from read.predictor import Predictor
from read.studio.at_hand import extractor_at_hand
from read.studio.cosine import COSINE, CosinePredictor
from read.video_features import FeatureCache, JoinedFeatures

COPIES = "asked-"  # how folders with copies of bundles begin
TRIES, PAUSE = 3, 0.1  # to take a bundle that is just being replaced; seconds between them


@dataclass(eq=False)
class Mind:
    """A model that helps.

    Attributes:
        by: "bundle" or "encoder".
        predictor: a `Predictor` or a `CosinePredictor`.
        adapters: what it may be asked by, the usual one first.
        encoders: their names, in the order in which features are joined.
        spec: of the extractor; features of equal ones may be mixed.
        kept: features of what was read, by a digest of the file.
        files: a folder of its own; None: it has none.
    """

    by: str
    predictor: Any
    adapters: list[str]
    encoders: list[str]
    spec: dict[str, Any]
    kept: FeatureCache
    files: Path | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _counting: threading.Lock = field(default_factory=threading.Lock)
    _uses: int = 0
    _over: bool = False

    def get(self, key: str) -> JoinedFeatures | None:
        """What was read of a file, if it is kept."""
        with self._lock:
            return self.kept.get(key)

    def put(self, key: str, features: JoinedFeatures) -> None:
        """Keep what was read of a file. Raises InputError where it cannot be."""
        with self._lock:
            try:
                self.kept.put(key, features)
            except OSError as error:
                raise InputError(f"what was read of this video cannot be kept: {error.strerror or error}") from None

    @property
    def extractor(self) -> Extractor:
        """That of its features."""
        return self.predictor.extractor

    @contextmanager
    def in_use(self) -> Iterator[None]:
        """During the block its files stay, also where it is closed meanwhile."""
        with self._counting:
            self._uses += 1
        try:
            yield
        finally:
            with self._counting:
                self._uses -= 1
            self._tidy()

    def close(self) -> None:
        """Remove its files, as soon as nobody uses it."""
        self._over = True
        self._tidy()

    def _tidy(self) -> None:
        with self._counting:
            idle = self._over and not self._uses
        if idle and self.files is not None:
            shutil.rmtree(self.files, ignore_errors=True)


def mark_of(bundle: Path | None, working: Path) -> Hashable:
    """What changes when `mind_at_hand` may find another model."""
    files = [Path(bundle, CONFIG)] if bundle else [working / "params.yaml", working / "models/encoders/encoders.json"]
    marks: list[Any] = [str(bundle)]
    for file in files:
        with suppress(OSError):
            state = file.stat()
            marks.append((str(file), state.st_ino, state.st_size, state.st_mtime_ns))
    return tuple(marks)


def mind_at_hand(bundle: Path | None, cache: Path, working: Path, device: str) -> tuple[Mind | None, str]:
    """The model that helps, and what is wrong with one that should.

    Args:
        bundle: of the last training; None: there was none.
        cache: for features, for copies of bundles, and for encoders that are made of weights on this machine.
        working: the checkout.
        device: where models run.
    """
    trouble = ""
    for load in (_of_bundle, _of_encoder) if bundle else (_of_encoder,):
        try:
            if found := load(bundle, cache, working, device):
                return found, trouble
        except InputError as error:
            trouble = trouble or str(error)
    return None, trouble


def _of_bundle(bundle: Path, cache: Path, working: Path, device: str) -> Mind | None:
    """By links to its files: models are loaded when they are asked for, and a training may replace the folder."""
    cache.mkdir(parents=True, exist_ok=True)
    for last in (*[False] * (TRIES - 1), True):
        room = Path(tempfile.mkdtemp(prefix=COPIES, dir=cache))
        try:
            shutil.copytree(bundle, room / "bundle", copy_function=_link)
            predictor = Predictor.from_bundle(room / "bundle", device)
        except (InputError, OSError) as error:
            shutil.rmtree(room, ignore_errors=True)
            if last:
                raise InputError(str(error).replace(str(room / "bundle"), str(bundle))) from None
            time.sleep(PAUSE)
            continue
        break
    if not (adapters := list(predictor.bundle.adapters("grounding"))):
        shutil.rmtree(room, ignore_errors=True)
        return None
    spec = predictor.bundle.features
    kept = FeatureCache(spec, cache / "features")
    return Mind("bundle", predictor, adapters, predictor.bundle.encoders, spec, kept, room)


def _link(source: str, target: str) -> None:
    """The same file under another name; a copy where the file system has no such thing."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def _of_encoder(bundle: Path | None, cache: Path, working: Path, device: str) -> Mind | None:
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    extractor = extractor_at_hand(working, cache, device)
    if extractor is None:
        return None
    kept = FeatureCache(extractor.spec, cache / "features")
    return Mind("encoder", CosinePredictor(extractor), [COSINE], [*extractor.encoders], extractor.spec, kept)
