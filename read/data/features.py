"""Feature shards: safetensors files that map a video to its clips and a query to its words.

A dataset's folder holds `000.safetensors`, `001.safetensors`, ... (`<encoder>/<vid>` -> (N, dim)) and
`text.safetensors` (`<qid>` -> (M, dim)). Beside each lies a sidecar, `000.json`, that records which extractor made it.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from weakref import WeakValueDictionary

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import save_file

from read.data.lengths import Length
from read.errors import InputError
from read.files import atomic_path, check_sha256, read_json, sha256_of, write_json
from read.rows import id_key

TEXT = "text"  # the name of the shard that holds the queries


def write_shard(
    root: str | Path,
    shard: str,
    arrays: Mapping[str, np.ndarray],
    spec: Mapping[str, Any],
    failed: Mapping[str, str] | None = None,
    seconds: Mapping[str, float] | None = None,
    decoder: str | None = None,
    made: Mapping[str, str] | None = None,
) -> None:
    """Write one shard; the sidecar comes last, so that a shard with a sidecar is whole.

    Args:
        root: folder of the dataset's features.
        shard: its name, as "003", or `TEXT`.
        arrays: `<encoder>/<vid>` -> (N, dim), or `<qid>` -> (M, dim), of the text shard.
        spec: what made the features (encoders, digests of weights, fps, clip_len).
        failed: video id -> the reason why it has no features.
        seconds: video id -> how long its pictures last; without it, as of features that others published, clips count.
        decoder: the program and version that decoded the videos; another one's pictures differ little, so it is told
            and not compared.
        made: video id -> a digest of what its features were made of, by which they may be taken over.

    Raises:
        InputError: a feature is not finite; the message names it.
    """
    for key, array in arrays.items():
        if not np.isfinite(array).all():
            raise InputError(f"{key}: its features are not finite numbers; are the encoder's weights sound?")
    Path(root, f"{shard}.json").unlink(missing_ok=True)  # it is of what is about to be replaced
    with atomic_path(Path(root, f"{shard}.safetensors")) as draft:
        save_file({key: np.ascontiguousarray(array, np.float32) for key, array in arrays.items()}, draft)
        digest = sha256_of(draft)
    about = {"spec": dict(spec), "failed": dict(failed or {}), "seconds": dict(seconds or {}), "decoder": decoder}
    about["made"] = dict(made or {})
    about["sha256"] = digest
    write_json(Path(root, f"{shard}.json"), about)


class FeatureStore:
    """Read access to the shards in a folder; tensors are loaded when asked for, once for all that hold them.

    Args:
        root: folder of the dataset's features.
        spec: what must have made them; by default the shards only have to agree among themselves.

    Raises:
        InputError: no shard, half a shard, a damaged one, or shards of different extractors, whose keys are named.
    """

    def __init__(self, root: str | Path, spec: Mapping[str, Any] | None = None) -> None:
        self.root = Path(root)
        sidecars = sorted(path for path in self.root.glob("*.json") if path.stem.isdigit() or path.stem == TEXT)
        if not sidecars:
            raise InputError(f"{self.root}: holds no feature shard; run the extract stage")
        self.failed: dict[str, str] = {}
        self._seconds: dict[str, float] = {}
        self.decoders: list[str] = []  # of the videos, each once
        self._videos: dict[str, tuple[Path, list[str]]] = {}
        self._texts: dict[str, Path] = {}
        self._files: dict[Path, Any] = {}  # open shards: to open one reads a header as long as it has videos
        self._cache: WeakValueDictionary[str, torch.Tensor] = WeakValueDictionary()  # one copy for all of its queries
        self.spec = spec or read_json(sidecars[0])["spec"]
        for sidecar in sidecars:
            content = read_json(sidecar)
            _check_spec(sidecar, content["spec"], self.spec)
            self.failed |= content["failed"]
            self._seconds |= content["seconds"]
            if (decoder := content["decoder"]) not in (None, *self.decoders):
                self.decoders.append(decoder)
            self._index(sidecar, content.get("sha256"))

    def _index(self, sidecar: Path, sha256: str | None) -> None:
        path = sidecar.with_suffix(".safetensors")
        if not path.is_file():
            raise InputError(f"{path}: is missing beside its sidecar; run the extract stage again")
        check_sha256(path, sha256)
        file = self._files[path] = safe_open(path, framework="pt")
        for key in file.keys():  # noqa: SIM118 - safe_open is no mapping
            if sidecar.stem == TEXT:
                self._texts[key] = path
            else:
                encoder, vid = key.split("/", 1)
                self._videos.setdefault(vid, (path, []))[1].append(encoder)

    @property
    def videos(self) -> set[str]:
        """Ids of the videos that have features."""
        return set(self._videos)

    @property
    def lengths(self) -> dict[str, Length]:
        """How long each video is, to compare with what its labels say."""
        return {vid: self._length(vid) for vid in self._videos}

    def _length(self, vid: str) -> Length:
        clip_len = self.spec["clip_len"]
        if vid in self._seconds:
            return Length(self._seconds[vid], clip_len)
        path, encoders = self._videos[vid]
        clips = self._files[path].get_slice(f"{encoders[0]}/{vid}").get_shape()[0]
        return Length(clips * clip_len, clip_len, decoded=False)

    def video(self, vid: str) -> torch.Tensor:
        """(N, dim) float32 features of a video: `join_features` of all encoders, in the order of the spec.

        Public checkpoints know SlowFast before CLIP, UMT's know colour before flow.

        Raises:
            InputError: it has none; the message says why.
        """
        if vid not in self._videos:
            raise InputError(f"{self.root}: no features of video {vid} ({self.failed.get(vid, 'never extracted')})")
        if (features := self._cache.get(vid)) is None:
            path, encoders = self._videos[vid]
            order = [*self.spec["encoders"], *sorted(encoders)]
            names = sorted(encoders, key=order.index)
            parts = [self._files[path].get_tensor(f"{name}/{vid}") for name in names]
            features = self._cache[vid] = join_features(parts)
        return features

    def text(self, qid: int | str) -> torch.Tensor:
        """(M, dim) float32 token features of a query, L2-normalised token by token. Raises InputError where none is."""
        key = id_key(qid)
        if key not in self._texts:
            raise InputError(f"{self.root}: no features of query {qid}; run the extract stage again")
        return torch.nn.functional.normalize(self._files[self._texts[key]].get_tensor(key), dim=-1)


def join_features(parts: list[torch.Tensor]) -> torch.Tensor:
    """L2-normalise each encoder's (N, dim) clip by clip and concatenate them along the width."""
    return torch.cat([torch.nn.functional.normalize(part, dim=-1) for part in parts], dim=-1)


def _check_spec(path: Path, found: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    here, there = _leaves(found), _leaves(wanted)
    different = [key for key in sorted({*here, *there}) if here.get(key) != there.get(key)]
    if different:
        detail = "; ".join(f"{key} is {here.get(key)!r}, not {there.get(key)!r}" for key in different)
        raise InputError(f"{path}: made by another extractor ({detail}); run the extract stage again")


def _leaves(spec: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested mapping with dotted keys."""
    flat: dict[str, Any] = {}
    for key, value in spec.items():
        flat |= _leaves(value, f"{prefix}{key}.") if isinstance(value, Mapping) else {f"{prefix}{key}": value}
    return flat
