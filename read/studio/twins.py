"""Copies among the videos of a folder, told before anything is labelled twice or stands on two sides.

Where a model has read both, by their features, as the split stage finds and refuses them; before that, by the strips of
thumbnails: edges in small pictures, which survive other sizes, colours and encodings.

Symbols: V videos, T pictures in a strip, p numbers of a picture.
"""

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

import numpy as np
from torch import Tensor

from read.data.copies import find_twins
from read.data.lazy import Cache
from read.data.leaks import youtube_id
from read.errors import optional_imports

with optional_imports():
    from PIL import Image

PICTURES = 8  # T
GRID = (13, 10)  # points of a picture at which edges are looked at
BLACK = 40  # of 255; the brightest that a bar beside a picture may be
FLAT = 0.3  # length of the edges of a picture below which it says little, as a black one
# Of 499,500 pairs of MSR-VTT's 1k-A clips eight are above; seven of them have a cosine above .95 between their mean
# features of EfficientNet, one of .87. From .70 on there are ten, the other two with .81 and .90.
ALIKE = 0.72
ENOUGH = 8  # videos, from which on what all have in common, as one camera that never moves, is left out


class Strips:
    """Edges of thumbnails; those asked for last are kept, by the names of the files, which tell their content."""

    def __init__(self) -> None:
        self._edges: dict[Path, np.ndarray] = {}

    def of(self, paths: Mapping[str, Path]) -> dict[str, np.ndarray]:
        """(T, p) of each video whose strip can be read."""
        edges = {path: self._edges.get(path) if path in self._edges else _edges(path) for path in paths.values()}
        self._edges = {path: rows for path, rows in edges.items() if rows is not None}
        return self.known(paths)

    def known(self, paths: Mapping[str, Path]) -> dict[str, np.ndarray]:
        """The same of those that were asked for before."""
        return {vid: self._edges[path] for vid, path in paths.items() if path in self._edges}


def _edges(path: Path) -> np.ndarray | None:
    """How the pictures of a strip change from point to point, each of length 1, flat ones shorter."""
    try:
        with Image.open(path) as strip:
            pictures = np.asarray(strip.convert("L"))
    except OSError:
        return None  # removed meanwhile, or damaged: it is made anew when it is looked at
    pictures = _without_bars(pictures.reshape(len(pictures), PICTURES, -1).swapaxes(0, 1))
    small = [Image.fromarray(picture).resize(GRID, Image.Resampling.BOX) for picture in pictures]
    grey = np.stack([np.asarray(picture, np.float32) for picture in small]) / 255
    steps = [np.diff(grey, axis=axis).reshape(PICTURES, -1) for axis in (1, 2)]
    return _short_if_flat(np.concatenate(steps, axis=1))


def _without_bars(pictures: np.ndarray) -> np.ndarray:
    """The middle of pictures (T, h, w), without what is black in all of them at their borders; a black one whole."""
    for axis in (1, 2):
        lit = np.flatnonzero(pictures.max(axis=(0, 3 - axis)) > BLACK)
        pictures = pictures.take(range(lit[0], lit[-1] + 1) if len(lit) else range(pictures.shape[axis]), axis)
    return pictures


def _short_if_flat(edges: np.ndarray) -> np.ndarray:
    return edges / np.maximum(np.linalg.norm(edges, axis=-1, keepdims=True), FLAT)


def alike(edges: Mapping[str, np.ndarray]) -> list[tuple[str, str]]:
    """Pairs of videos of whose pictures each has one in the other that is nearly the same.

    The mean over a video's pictures of the highest cosine with one of the other's, of either video, reaches ALIKE.

    Args:
        edges: (T, p) by video.
    """
    names = sorted(edges)
    if len(names) < 2:
        return []
    pictures = np.stack([edges[name] for name in names])
    if len(names) >= ENOUGH:
        pictures = _short_if_flat(pictures - pictures.mean((0, 1)))
    flat, found = pictures.reshape(-1, pictures.shape[-1]), []
    for number, own in enumerate(pictures[:-1]):
        rest = flat[(number + 1) * PICTURES :]
        cosines = (own @ rest.T).reshape(PICTURES, -1, PICTURES)
        both = np.minimum(cosines.max(2).mean(0), cosines.max(0).mean(1))
        found += [(names[number], names[number + 1 + at]) for at in np.flatnonzero(both >= ALIKE)]
    return found


class _Read:
    """Features by video, as `find_twins` takes them; the last ones are kept, since they come from a disk."""

    def __init__(self, get: Callable[[str], Tensor]) -> None:
        self._get, self._cache = get, Cache()

    def video(self, vid: str) -> Tensor:
        return self._cache.get(vid, lambda: self._get(vid))


def twins_of(
    vids: Iterable[str], read: Iterable[str], features: Callable[[str], Tensor], edges: Mapping[str, np.ndarray]
) -> dict[str, list[str]]:
    """Of each video that has copies, these; parts of one recording, by their names, count as such.

    Args:
        vids: of the folder.
        read: those that a model has read.
        features: of these, (N, d).
        edges: of the strips of thumbnails that there are.
    """
    vids, read = sorted(vids), set(read)
    pairs = {(pair.one, pair.other) for pair in find_twins(_Read(features), read)}
    pairs |= {pair for pair in alike(edges) if not {*pair} <= read}
    recordings: dict[str, list[str]] = {}
    for vid in vids:
        recordings.setdefault(youtube_id(vid), []).append(vid)
    pairs |= {(one, other) for found in recordings.values() for one in found for other in found if one < other}
    twins: dict[str, set[str]] = {}
    for one, other in pairs:
        twins.setdefault(one, set()).add(other)
        twins.setdefault(other, set()).add(one)
    return {vid: sorted(twins[vid]) for vid in vids if vid in twins}
