"""Features that were extracted before. They belong to videos: another number of shards, or a new video, regroups them.

A sidecar tells for each video what its features were made of, `made`: a digest of the video's content and of
extraction's code.
"""

import os
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open

from read.files import read_json

BEFORE = "-before"  # of a shard's name: what it held of videos that are now another's, until all shards are written


def kept_features(
    folder: Path, made: Mapping[str, str], spec: Mapping[str, Any], decoder: str
) -> tuple[dict[str, np.ndarray], dict[str, float]]:
    """What the shards in a folder hold of some videos.

    Args:
        folder: of the dataset's features.
        made: video id -> what its features have to be made of.
        spec: of the extractor that they have to be of.
        decoder: of their videos.

    Returns:
        arrays by `<encoder>/<vid>`, and the videos' seconds.
    """
    arrays: dict[str, np.ndarray] = {}
    seconds: dict[str, float] = {}
    for sidecar in sorted(folder.glob("*.json")):
        features = sidecar.with_suffix(".safetensors")
        about = read_json(sidecar)
        if not features.is_file() or about.get("spec") != spec or about.get("decoder") != decoder:
            continue
        same = {vid for vid, digest in about.get("made", {}).items() if made.get(vid) == digest} - seconds.keys()
        with safe_open(features, framework="numpy") as file:
            names = [name for name in file.keys() if name.partition("/")[2] in same]  # noqa: SIM118 - no mapping
            arrays |= {name: file.get_tensor(name) for name in names}
        found = {name.partition("/")[2] for name in names}
        seconds |= {vid: about["seconds"][vid] for vid in found}
    return arrays, seconds


def put_by(folder: Path, shard: str, vids: Collection[str]) -> None:
    """Keep a shard that is about to be written anew, where it holds videos that are not in it any more."""
    old, sidecar = folder / f"{shard}.safetensors", folder / f"{shard}.json"
    if old.is_file() and sidecar.is_file() and not read_json(sidecar).get("made", {}).keys() <= set(vids):
        for path in (old, sidecar):  # the sidecar last: with it the shard is whole
            place = path.with_stem(f"{shard}{BEFORE}")
            place.unlink(missing_ok=True)
            os.link(path, place)
