"""Feature shards: safetensors files that map a video to its clips and a query to its words.

A dataset's folder holds `000.safetensors`, `001.safetensors`, ... (`<encoder>/<vid>` -> (N, dim)) and
`text.safetensors` (`tokens/<qid>` -> (M, dim), and `sentence/<qid>` -> (e,) where pictures and sentences have a joint
space). Nothing is normalised before it is read, and nothing at all where the spec says `normalise: false`. Beside each
lies a sidecar, `000.json`, that records which extractor made it.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.numpy import save_file

from read.data.lazy import Cache, Lazy
from read.data.lengths import Length
from read.data.tensor_files import TensorFiles
from read.errors import InputError
from read.files import atomic_path, read_json, sha256_of, write_json
from read.rows import id_key

TEXT = "text"  # the name of the shard that holds the queries
TOKENS, SENTENCE = "tokens", "sentence"  # what it holds of each


def write_shard(  # noqa: PLR0913 - what a sidecar tells is of many kinds
    root: str | Path,
    shard: str,
    arrays: Mapping[str, np.ndarray],
    spec: Mapping[str, Any],
    failed: Mapping[str, str] | None = None,
    seconds: Mapping[str, float] | None = None,
    decoder: str | None = None,
    made: Mapping[str, str] | None = None,
    told: Mapping[str, str] | None = None,
) -> None:
    """Write one shard; the sidecar comes last, so that a shard with a sidecar is whole.

    Args:
        root: folder of the dataset's features.
        shard: its name, as "003", or `TEXT`.
        arrays: `<encoder>/<vid>` -> (N, dim); of the text shard, what `text_arrays` gives.
        spec: what made the features (encoders, digests of weights, fps, clip_len); `joint` names the encoder whose
            features lie in the space of the sentences, `sound` those that hear, `dtype` the type of the files where
            that is not float32.
        failed: video id -> the reason why it has no features.
        seconds: video id -> how long its pictures last; without it, as of features that others published, clips count.
        decoder: the program and version that decoded the videos; another one's pictures differ little, so it is told
            and not compared.
        made: video id -> a digest of what its features were made of, by which they may be taken over.
        told: video id -> what there is to say of its sound, as that it has none.

    Raises:
        InputError: a feature is not finite, or is not in the type of the files; the message names it.
    """
    dtype = np.dtype(spec.get("dtype", "float32"))
    arrays = {key: _stored(key, array, dtype) for key, array in arrays.items()}
    Path(root, f"{shard}.json").unlink(missing_ok=True)  # it is of what is about to be replaced
    with atomic_path(Path(root, f"{shard}.safetensors")) as draft:
        save_file(arrays, draft)
        digest = sha256_of(draft)
    about = {"spec": dict(spec), "failed": dict(failed or {}), "seconds": dict(seconds or {}), "decoder": decoder}
    about |= {"made": dict(made or {}), "told": dict(told or {})}
    about["sha256"] = digest
    write_json(Path(root, f"{shard}.json"), about)


def _stored(key: str, array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    if not np.isfinite(array).all():
        raise InputError(f"{key}: its features are not finite numbers; are the encoder's weights sound?")
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(array, dtype)
    if not np.isfinite(found).all():
        raise InputError(f"{key}: has features too large for {dtype}; extract float32 (extract.dtype in params.yaml)")
    return found


def text_arrays(
    qids: Iterable[int | str], tokens: Iterable[np.ndarray], sentences: Iterable[np.ndarray] | None = None
) -> dict[str, np.ndarray]:
    """What the text shard holds.

    Args:
        qids: of the queries.
        tokens: (M, dim) of each.
        sentences: (e,) of each, in the joint space; None where there is none.
    """
    keys = [id_key(qid) for qid in qids]
    arrays = {f"{TOKENS}/{key}": array for key, array in zip(keys, tokens, strict=True)}
    if sentences is not None:
        arrays |= {f"{SENTENCE}/{key}": array for key, array in zip(keys, sentences, strict=True)}
    return arrays


class FeatureStore:
    """Read access to the shards in a folder: a tensor is read when it is asked for, and the last ones are kept.

    So the memory is that of the names, however large the features are. `clips`, `words` and `embedding` are what
    `video`, `text` and `sentence` are, before it is read.

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
        self.told: dict[str, str] = {}  # of videos' sound
        self._seconds: dict[str, float] = {}
        self.decoders: list[str] = []  # of the videos, each once
        self._videos: dict[str, tuple[Path, list[str]]] = {}
        self._texts: dict[str, Path] = {}
        self._columns: dict[tuple[str, ...], slice] = {}
        self._files, self._cache = TensorFiles(), Cache()
        self.spec = spec or read_json(sidecars[0])["spec"]
        for sidecar in sidecars:
            content = read_json(sidecar)
            _check_spec(sidecar, content["spec"], self.spec)
            self.failed |= content["failed"]
            self.told |= content["told"]
            self._seconds |= content["seconds"]
            if (decoder := content["decoder"]) not in (None, *self.decoders):
                self.decoders.append(decoder)
            self._index(sidecar, content.get("sha256"))

    def _index(self, sidecar: Path, sha256: str | None) -> None:
        path = sidecar.with_suffix(".safetensors")
        if not path.is_file():
            raise InputError(f"{path}: is missing beside its sidecar; run the extract stage again")
        for key in self._files.add(path, sha256):
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
        clips = self._files.shape(path, f"{encoders[0]}/{vid}")[0]
        return Length(clips * clip_len, clip_len, decoded=False)

    def video(self, vid: str) -> torch.Tensor:
        """(N, dim) float32 features of a video: `join_features` of all encoders, in the order of the spec.

        Public checkpoints know SlowFast before CLIP, UMT's know colour before flow.

        Raises:
            InputError: it has none; the message says why.
        """
        return self._cache.get(vid, partial(self._features, self._known(vid)))

    def clips(self, vid: str) -> Lazy:
        """`video`, not read yet. Raises InputError as it."""
        path, names = self._videos[self._known(vid)][0], self._joined(vid)
        shapes = [self._files.shape(path, f"{name}/{vid}") for name in names]
        return Lazy((shapes[0][0], sum(shape[1] for shape in shapes)), partial(self.video, vid))

    def _known(self, vid: str) -> str:
        if vid not in self._videos:
            raise InputError(f"{self.root}: no features of video {vid} ({self.failed.get(vid, 'never extracted')})")
        return vid

    def _features(self, vid: str) -> torch.Tensor:
        path = self._videos[vid][0]
        parts = [self._files.tensor(path, f"{name}/{vid}") for name in self._joined(vid)]
        return join_features(parts, self._normalised)

    def text(self, qid: int | str) -> torch.Tensor:
        """(M, dim) float32 token features of a query, L2-normalised token by token. Raises InputError where none is."""
        return self.words(qid).read()

    def words(self, qid: int | str) -> Lazy:
        """`text`, not read yet. Raises InputError as it."""
        return self._query(TOKENS, qid)

    @property
    def joint(self) -> slice | None:
        """The columns of `video` that are the clips in the joint space of pictures and sentences; None: there is none.

        Raises:
            InputError: no video has features of the encoder that the spec names.
        """
        return self._columns_of([self.spec["joint"]]) if self.spec.get("joint") else None

    @property
    def sound(self) -> slice | None:
        """The columns of `video` that are made of what is heard; None: nothing is.

        Raises:
            InputError: no video has features of the encoders that the spec names, or they are not side by side.
        """
        return self._columns_of(self.spec["sound"]) if self.spec.get("sound") else None

    def _columns_of(self, names: list[str]) -> slice:
        if (columns := self._columns.get(key := tuple(names))) is None:
            vid = next((vid for vid, (_, encoders) in self._videos.items() if {*names} <= {*encoders}), None)
            if vid is None:
                raise InputError(f"{self.root}: no video has features of {' and '.join(names)}, which the spec names")
            path, joined = self._videos[vid][0], self._joined(vid)
            widths = [self._files.shape(path, f"{each}/{vid}")[1] for each in joined]
            first, last = (pick(map(joined.index, names)) for pick in (min, max))
            if last - first >= len(names):
                raise InputError(f"{self.root}: features of {' and '.join(names)} are not side by side: {joined}")
            start = sum(widths[:first])
            columns = self._columns[key] = slice(start, start + sum(widths[first : last + 1]))
        return columns

    def sentence(self, qid: int | str) -> torch.Tensor | None:
        """(e,) float32 of a query in the joint space, L2-normalised; None where there is no such space.

        Raises:
            InputError: there is one, but the query has no place in it, or one of another width than the clips.
        """
        found = self.embedding(qid)
        return None if found is None else found.read()

    def embedding(self, qid: int | str) -> Lazy | None:
        """`sentence`, not read yet. Raises InputError as it."""
        if (columns := self.joint) is None:
            return None
        found = self._query(SENTENCE, qid)
        if found.shape != (width := columns.stop - columns.start,):
            raise InputError(f"{self.root}: query {qid} is {len(found)} wide in the joint space, its clips are {width}")
        return found

    def _query(self, kind: str, qid: int | str) -> Lazy:
        key = f"{kind}/{id_key(qid)}"
        if key not in self._texts:
            what = "features" if kind == TOKENS else "sentence embedding"
            raise InputError(f"{self.root}: no {what} of query {qid}; run the extract stage again")
        return Lazy(self._files.shape(self._texts[key], key), partial(self._cache.get, key, partial(self._text, key)))

    def _text(self, key: str) -> torch.Tensor:
        rows = self._files.tensor(self._texts[key], key)
        return torch.nn.functional.normalize(rows, dim=-1) if self._normalised else rows

    @property
    def _normalised(self) -> bool:
        return self.spec.get("normalise", True)

    def _joined(self, vid: str) -> list[str]:
        """The encoders of a video, in the order in which their features are joined."""
        encoders = self._videos[vid][1]
        order = [*self.spec["encoders"], *sorted(encoders)]
        return sorted(encoders, key=order.index)


def join_features(parts: list[torch.Tensor], normalise: bool = True) -> torch.Tensor:
    """Concatenate the encoders' (N, dim) along the width, each L2-normalised clip by clip where that is wanted."""
    if normalise:
        parts = [torch.nn.functional.normalize(part, dim=-1) for part in parts]
    return torch.cat(parts, dim=-1)


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
