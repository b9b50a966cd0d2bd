"""Features that others published, in the layouts they have: a file a video for each encoder, and a file a query.

A layout is a file in `layouts/packages/`; its `FORMS` are those that it has, and a package is of the first of which it
has a file for every encoder. Where a layout leaves it to the card which encoders there are, `{encoder}` stands for
each.

A package is kept as one zip, whose files go by the patterns of its layout. What it gives has the form of `write_shard`:
`<encoder>` -> (N, dim) for a video, (M, dim) and (e,) for a query; `FeatureStore` normalises them as those of our own
encoders.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import IO, Any

import numpy as np

from read.errors import InputError
from read.files import read_json
from read.plugins import PACKAGE_LAYOUTS, none_of

ZIP, RECORD = "package.zip", "package.json"
ENCODER = "{encoder}"  # in a form of any encoders, in the place of a name
MOST_APART = 0.05  # share of the clips by which encoders may differ in length, and at least 2 clips


@dataclass(frozen=True)
class Files:
    """Where one encoder's features lie: a path with `{vid}` or `{qid}`, and the array's key, if it is an .npz."""

    pattern: str
    key: str = ""

    def name(self, **ids: object) -> str:
        """The path of a video's or query's file."""
        return self.pattern.format(**ids)

    def of(self, encoder: str) -> "Files":
        """Those of one encoder, where `{encoder}` stands for any."""
        return Files(self.pattern.replace(ENCODER, encoder), self.key.replace(ENCODER, encoder))

    @property
    def expression(self) -> re.Pattern[str]:
        """What a path in somebody's archive looks like that is such a file, whatever folders are above it."""
        name = re.sub(r"\\{[vq]id\\}", "[^/]+", re.escape(self.pattern))
        return re.compile(rf"(?:.*/)?(?P<name>{name})")


@dataclass(frozen=True)
class Form:
    """The files of a package.

    Attributes:
        videos: those of each encoder, in the order in which models take them.
        text: of the queries' tokens.
        sentence: of each query as a whole in the space of an encoder, an array that a package may lack.
        sound: those of encoders that hear, which are taken where a card asks for them.
    """

    videos: Mapping[str, Files]
    text: Files | None = None
    sentence: Files | None = None
    sound: Mapping[str, Files] = field(default_factory=dict)

    @property
    def files(self) -> list[Files]:
        """All kinds of files."""
        return [*self.videos.values(), *([self.text] if self.text else [])]

    def of(self, encoders: Iterable[str], sound: Iterable[str]) -> "Form":
        """The form with these encoders, where `{encoder}` stands for any, and after its own with those that hear."""
        any_files = self.videos.get(ENCODER)
        videos = dict(self.videos) if any_files is None else {name: any_files.of(name) for name in encoders}
        heard = {name: self.sound[name] for name in sound if name in self.sound and name not in videos}
        return replace(self, videos=videos | heard)


def forms_of(layout: str, encoders: Iterable[str] | None = None, sound: Iterable[str] | None = None) -> list[Form]:
    """The forms of a layout that have what a card names.

    Args:
        layout: a name of `PACKAGE_LAYOUTS`.
        encoders: where the layout leaves these to the card.
        sound: encoders that hear.
    """
    forms = [form.of(encoders or (), sound or ()) for form in PACKAGE_LAYOUTS.load(layout)]
    return [form for form in forms if {*(sound or ())} <= form.videos.keys()]


def name_in_layout(forms: Iterable[Form], path: str) -> str | None:
    """What a path in somebody's archive or folder is called in a layout, without the folders above; None: nothing."""
    for form in forms:
        for files in form.files:
            if match := files.expression.fullmatch(path):
                return match["name"]
    return None


def form_of(forms: Iterable[Form], names: Iterable[str]) -> Form | None:
    """The form of a layout that some names, as `name_in_layout` gives them, are of; None where they are of none."""
    names = list(names)
    for form in forms:
        if all(any(map(files.expression.fullmatch, names)) for files in form.videos.values()):
            return form
    return None


def patterns_of(forms: Iterable[Form]) -> str:
    """What a package must hold, for a message."""
    return " or ".join(", ".join(dict.fromkeys(files.pattern for files in form.videos.values())) for form in forms)


class Package:
    """The package in a folder: ZIP, whose files have the names of `name_in_layout`, and RECORD, what it is.

    Attributes:
        path: the zip.
        layout: the name of a file in `layouts/packages/`.
        form: the form of the layout that it has.
        clip_len: seconds per clip.
        sound: the encoders that hear.
        normalise: whether features are L2-normalised before they are read.
        joint: the encoder in whose space the sentences lie; None: the card names none.
        has_text: whether the features of queries are taken from it.
        sha256: what tells this package from others.
        cut: video id -> clips that some encoder had more than the shortest, of the videos read so far.

    Raises:
        InputError: there is none, the zip cannot be read, is of another layout, or lacks the encoder `joint`.
    """

    def __init__(self, folder: Path) -> None:
        path = self.path = folder / ZIP
        if not (folder / RECORD).is_file():
            raise InputError(f"{folder}: holds no package of features; run the download stage again")
        record = read_json(folder / RECORD)
        self.layout, self.clip_len, self.sha256 = record["layout"], record["clip_len"], record["sha256"]
        self.joint, self.has_text = record["joint"], record["text"] == "package"
        self.sound, self.normalise = record["sound"] or [], record["normalise"]
        try:
            self._bundle = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: no package of features can be read here ({error})") from None
        self._names = set(self._bundle.namelist())
        form = form_of(forms_of(self.layout, record["encoders"], self.sound), self._names)
        if form is None:
            raise InputError(f"{path}: holds no features in the layout {self.layout}")
        self.form = form
        if self.joint is not None and self.joint not in form.videos:
            raise InputError(f"{path}: the card's features.joint {none_of(self.joint, form.videos)}")
        self.cut: dict[str, int] = {}
        self._widths: dict[Files, int] = {}

    @property
    def spec(self) -> dict[str, Any]:
        """What must be equal for features to be used together, as JSON takes it; encoders as models take them.

        Raises:
            InputError: the sentences are not of the width of the encoder `joint`.
        """
        encoders = {name: self._about(files) for name, files in self.form.videos.items()}
        made = {"layout": self.layout, "sha256": self.sha256}
        spec = {"clip_len": self.clip_len, "package": made, "joined": [*encoders], "encoders": encoders}
        if self.has_text and self.form.text:
            spec["text"] = self._about(self.form.text)
        spec |= {"sound": self.sound} if self.sound else {}
        spec |= {} if self.normalise else {"normalise": False}
        if self.joint is not None:
            spec["joint"] = self.joint
            if self.has_text and self.form.text:
                spec["sentence"] = self._about_sentence(encoders[self.joint]["width"], spec["text"]["width"])
        return spec

    def _about_sentence(self, clips: int, tokens: int) -> str:
        """How a query becomes one vector, which has to be as wide as the clips' are."""
        width, how = (self._pooled, "pooled") if self._pooled else (tokens, "mean of tokens")
        if clips and width and clips != width:
            said = f"{self.path}: in the space of {self.joint}, which the card calls joint, clips are {clips} wide, "
            if self._pooled:
                raise InputError(f"{said}but sentences are {width}; name another encoder, or none")
            remedy = "a package may hold each query's embedding beside its tokens, or the card names no joint encoder"
            raise InputError(f"{said}but tokens of queries, whose mean would be the sentence, are {width}; {remedy}")
        return how

    @cached_property
    def _pooled(self) -> int:
        """The width of the queries' own embeddings; 0 where the package has none."""
        return self._about(self.form.sentence)["width"] if self.form.sentence else 0

    def lacks(self, vid: str) -> str:
        """Why a video has no features; empty where it has."""
        needed = dict.fromkeys(files.name(vid=vid) for files in self.form.videos.values())
        absent = [name for name in needed if name not in self._names]
        return f"the package of features lacks {' and '.join(absent)}" if absent else ""

    def video(self, vid: str) -> dict[str, np.ndarray]:
        """The features of a video: encoder -> float32 (N, dim), cut to the shortest encoder's N.

        Raises:
            InputError: a file is absent or no such array, holds NaN or infinity, or encoders differ by more than 5 %
                of their clips and more than 2; the message names the files.
        """
        if reason := self.lacks(vid):
            raise InputError(f"{self.path}: {reason}")
        arrays = {name: self._array(files, files.name(vid=vid)) for name, files in self.form.videos.items()}
        lengths = {name: len(array) for name, array in arrays.items()}
        shortest, longest = min(lengths.values()), max(lengths.values())
        if longest - shortest > max(2, MOST_APART * longest):
            told = ", ".join(f"{length} of {name}" for name, length in lengths.items())
            raise InputError(f"{self.path}: video {vid}: clips differ in number: {told}; are they of the same length?")
        if longest > shortest:
            self.cut[vid] = longest - shortest
        return {name: array[:shortest] for name, array in arrays.items()}

    def text(self, qid: int | str, vid: str) -> np.ndarray:
        """The features of a query's tokens, float32 (M, dim). Raises InputError as `video`."""
        if self.form.text is None:
            raise InputError(f"{self.path}: the layout {self.layout} has no features of queries, or not in this form")
        return self._of_query(self.form.text, qid, vid)

    def sentence(self, qid: int | str, vid: str) -> np.ndarray:
        """A query in the space of `joint`, float32 (e,): its own embedding, or the mean of its tokens if no query has.

        Raises:
            InputError: as `video`; other queries have an embedding, and this one has none.
        """
        if self._pooled and self.form.sentence is not None:
            return self._of_query(self.form.sentence, qid, vid)
        return self.text(qid, vid).mean(0)

    def _of_query(self, files: Files, qid: int | str, vid: str) -> np.ndarray:
        name = files.name(qid=qid, vid=vid)
        if name not in self._names:
            raise InputError(f"{self.path}: lacks {name}")
        return self._array(files, name)

    def _about(self, files: Files) -> dict[str, Any]:
        """Where an encoder's features lie, and the width of the first that are sound; 0 where none are."""
        for name in sorted(filter(files.expression.fullmatch, self._names)):
            try:
                return {"files": files.pattern, "width": self._array(files, name).shape[-1]}
            except InputError:
                continue  # is told of where it is asked for
        return {"files": files.pattern, "width": 0}

    def _array(self, files: Files, name: str) -> np.ndarray:
        try:
            data = io.BytesIO(self._bundle.read(name))
        except zipfile.BadZipFile as error:
            raise InputError(f"{self.path}: {name}: damaged ({error})") from None
        array = read_array(data, f"{self.path}: {name}", files.key, flat=files == self.form.sentence)
        width = self._widths.setdefault(files, array.shape[-1])
        if array.shape[-1] != width:
            raise InputError(f"{self.path}: {name}: is {array.shape[-1]} wide, files before it {width}")
        return array


def read_array(file: IO[bytes], name: str, key: str = "", *, flat: bool = False) -> np.ndarray:
    """A matrix from an .npy file, or from an .npz file by its key, as float32, half precision included.

    With `flat` a vector, (dim,) or a matrix of one row.

    Raises:
        InputError: there is no such array without pickle, or it is not (rows, dim) of finite real numbers; the message
            starts with `name`.
    """
    try:
        content = np.load(file, allow_pickle=False)
        array = content[key] if isinstance(content, np.lib.npyio.NpzFile) else content
    except KeyError:
        raise InputError(f"{name}: has no {key!r}, only {', '.join(content.files) or 'nothing'}") from None
    except (ValueError, EOFError, OSError, zipfile.BadZipFile) as error:
        raise InputError(f"{name}: no array as numpy writes it ({error})") from None
    if array.dtype.kind not in "fiu":
        raise InputError(f"{name}: holds {array.dtype}, not real numbers")
    if flat:
        if array.shape not in ((array.size,), (1, array.size)) or not array.size:
            raise InputError(f"{name}: its shape is {array.shape}, not (dim,)")
        array = array.reshape(1, -1)
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name}: its shape is {array.shape}, not (rows, dim)")
    with np.errstate(over="ignore"):
        features = array.astype(np.float32)  # what does not fit becomes infinite
    if bad := int((~np.isfinite(features).all(axis=1)).sum()):
        raise InputError(f"{name}: {bad} of its {len(features)} rows are not finite numbers")
    return features[0] if flat else features
