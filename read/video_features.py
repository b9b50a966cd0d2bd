"""Features of a video file as models read them, made with a report of progress, and kept so that it is decoded once.

Symbols: N clips of a video, d width of its features.
"""

import hashlib
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from read.data.features import join_features
from read.encoders.extractor import Extractor
from read.encoders.program import stated_seconds
from read.files import atomic_path

KEPT = 16  # videos in memory; two hours at 2 s a clip and d = 576 are 8 MB
OnProgress = Callable[[float, float | None], None]  # seconds done, and seconds in all where the file says so


class JoinedFeatures(NamedTuple):
    """(N, d) features as models read them, how long the video is in seconds, and what there is to tell of its sound."""

    clips: Tensor
    seconds: float
    told: str = ""


def features_of(
    extractor: Extractor, path: str | Path, encoders: Iterable[str], progress: OnProgress | None = None
) -> JoinedFeatures:
    """Encode a video.

    Args:
        extractor: makes the features.
        path: the video.
        encoders: their names in the order in which their features are joined, that of the training's spec.
        progress: called after each batch.

    Raises:
        InputError: the file cannot be decoded.
    """
    found = extractor.video(path, _told_in_seconds(progress, extractor, path)) if progress else extractor.video(path)
    parts = [torch.from_numpy(found.arrays[name]) for name in encoders if name in found.arrays]
    return JoinedFeatures(join_features(parts, extractor.settings.normalise), found.seconds, found.told)


class FeatureCache:
    """Features by the digest of the video's file: the last ones in memory, all in a folder where one is given.

    Args:
        spec: of the extractor, its encoders in the order in which they are joined; features of another are not found.
        folder: None: in memory only.
    """

    def __init__(self, spec: dict[str, Any], folder: str | Path | None) -> None:
        self._kept: OrderedDict[str, JoinedFeatures] = OrderedDict()
        self._folder = None if folder is None else Path(folder)
        self._spec = hashlib.sha256(json.dumps(spec).encode()).hexdigest()

    def get(self, digest: str) -> JoinedFeatures | None:
        """What was put there, or None."""
        if digest not in self._kept and (features := self._read(digest)):
            self._keep(digest, features)
        if digest in self._kept:
            self._kept.move_to_end(digest)
        return self._kept.get(digest)

    def put(self, digest: str, features: JoinedFeatures) -> None:
        """Keep the features of a video."""
        self._keep(digest, features)
        if self._folder is not None:
            with atomic_path(self._file(digest)) as draft:
                about = {"seconds": repr(features.seconds), "told": features.told}
                save_file({"clips": features.clips.contiguous()}, draft, about)

    def _keep(self, digest: str, features: JoinedFeatures) -> None:
        self._kept[digest] = features
        while len(self._kept) > KEPT:
            self._kept.popitem(last=False)

    def _file(self, digest: str) -> Path:
        return self._folder / f"{digest[:32]}-{self._spec[:16]}.safetensors"

    def _read(self, digest: str) -> JoinedFeatures | None:
        if self._folder is None or not self._file(digest).is_file():
            return None
        try:
            with safe_open(self._file(digest), framework="pt") as file:
                about = file.metadata()
                return JoinedFeatures(file.get_tensor("clips"), float(about["seconds"]), about["told"])
        except (SafetensorError, OSError, KeyError, TypeError, ValueError):
            return None  # damaged: it is made anew


def _told_in_seconds(progress: OnProgress, extractor: Extractor, path: str | Path) -> Callable[[int], None]:
    total = stated_seconds(path)

    def report(clips: int) -> None:
        done = clips * extractor.settings.clip_len
        progress(min(done, total or done), total)

    return report
