"""Features that were extracted before. They belong to videos: another number of shards, or a new video, regroups them.

A sidecar tells for each video what its features were made of, `made`: a digest of the video's content and of
extraction's code; of a video that is stitched of pieces, in their place a list of [digest, rows], one a piece, as its
features are those of the pieces, one after the other.
"""

import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from read.files import read_json

BEFORE = "-before"  # of a shard's name: what it held of videos that are now another's, until all shards are written


def kept_features(
    folder: Path, made: Mapping[str, Any], spec: Mapping[str, Any], decoder: str
) -> tuple[dict[str, np.ndarray], dict[str, float], dict[str, str]]:
    """What the shards in a folder hold of some videos.

    Args:
        folder: of the dataset's features.
        made: video id -> what its features have to be made of.
        spec: of the extractor that they have to be of.
        decoder: of their videos.

    Returns:
        arrays by `<encoder>/<vid>`, the videos' seconds, and what was told of some.
    """
    arrays: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    told: dict[str, str] = {}
    for features, about in _shards(folder, spec, decoder):
        same = {vid for vid, digest in about.get("made", {}).items() if made.get(vid) == digest} - seconds.keys()
        with safe_open(features, framework="numpy") as file:
            names = [name for name in file.keys() if name.partition("/")[2] in same]  # noqa: SIM118 - no mapping
            arrays |= {name: file.get_tensor(name) for name in names}
        found = {name.partition("/")[2] for name in names}
        seconds |= {vid: about["seconds"][vid] for vid in found}
        told |= {vid: said for vid, said in about["told"].items() if vid in found}
    return arrays, seconds, told


def kept_pieces(
    folder: Path, digests: Collection[str], spec: Mapping[str, Any], decoder: str
) -> dict[str, dict[str, np.ndarray]]:
    """What the shards in a folder hold of some pieces, whatever videos these were in: digest -> encoder -> rows."""
    pieces: dict[str, dict[str, np.ndarray]] = {}
    for features, about in _shards(folder, spec, decoder):
        with safe_open(features, framework="numpy") as file:
            names: dict[str, list[str]] = {}
            for name in file.keys():  # noqa: SIM118 - no mapping
                names.setdefault(name.partition("/")[2], []).append(name)
            for vid, parts in about.get("made", {}).items():
                if isinstance(parts, str) or not {digest for digest, _ in parts} & set(digests) - pieces.keys():
                    continue
                arrays, start = {name.partition("/")[0]: file.get_tensor(name) for name in names[vid]}, 0
                for digest, rows in parts:
                    if digest in digests:
                        pieces[digest] = {encoder: array[start : start + rows] for encoder, array in arrays.items()}
                    start += rows
    return pieces


def _shards(folder: Path, spec: Mapping[str, Any], decoder: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """The whole shards that such an extractor made of what such a decoder gave it, with what their sidecars tell."""
    for sidecar in sorted(folder.glob("*.json")):
        features, about = sidecar.with_suffix(".safetensors"), read_json(sidecar)
        if features.is_file() and about.get("spec") == spec and about.get("decoder") == decoder:
            yield features, about


def put_by(folder: Path, shard: str, made: Mapping[str, Any]) -> None:
    """Keep a shard that is about to be written anew, where it holds videos or pieces that are not in it any more.

    `made` is what it will hold.
    """
    old, sidecar = folder / f"{shard}.safetensors", folder / f"{shard}.json"
    if old.is_file() and sidecar.is_file() and not _content(read_json(sidecar).get("made", {})) <= _content(made):
        for path in (old, sidecar):  # the sidecar last: with it the shard is whole
            place = path.with_stem(f"{shard}{BEFORE}")
            place.unlink(missing_ok=True)
            os.link(path, place)


def _content(made: Mapping[str, Any]) -> set[str]:
    """Ids of videos, and digests of pieces."""
    return {*made, *(digest for parts in made.values() if not isinstance(parts, str) for digest, _ in parts)}
