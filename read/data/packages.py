"""Features that others published, in the layouts they have: a file a video for each encoder, and a file a query.

A layout is a file in `layouts/packages/`; its `FORMS` are those that it has, and a package is of the first of which it
has a file for every encoder.

A package is kept as one zip, whose files go by the patterns of its layout. What it gives has the form of `write_shard`:
`<encoder>` -> (N, dim) for a video, (M, dim) for a query; `FeatureStore` normalises them as those of our own encoders.
"""

import io
import re
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np

from read.errors import InputError
from read.files import read_json
from read.plugins import PACKAGE_LAYOUTS

ZIP, RECORD = "package.zip", "package.json"
MOST_APART = 0.05  # share of the clips by which encoders may differ in length, and at least 2 clips


@dataclass(frozen=True)
class Files:
    """Where one encoder's features lie: a path with `{vid}` or `{qid}`, and the array's key, if it is an .npz."""

    pattern: str
    key: str = ""

    def name(self, **ids: object) -> str:
        """The path of a video's or query's file."""
        return self.pattern.format(**ids)

    @property
    def expression(self) -> re.Pattern[str]:
        """What a path in somebody's archive looks like that is such a file, whatever folders are above it."""
        name = re.sub(r"\\{[vq]id\\}", "[^/]+", re.escape(self.pattern))
        return re.compile(rf"(?:.*/)?(?P<name>{name})")


@dataclass(frozen=True)
class Form:
    """The files of a package: those of each encoder, in the order in which models take them, and of the queries."""

    videos: Mapping[str, Files]
    text: Files | None = None

    @property
    def files(self) -> list[Files]:
        """All kinds of files."""
        return [*self.videos.values(), *([self.text] if self.text else [])]


def name_in_layout(layout: str, path: str) -> str | None:
    """What a path in somebody's archive or folder is called in a layout, without the folders above; None: nothing."""
    for form in PACKAGE_LAYOUTS.load(layout):
        for files in form.files:
            if match := files.expression.fullmatch(path):
                return match["name"]
    return None


def form_of(layout: str, names: Iterable[str]) -> Form | None:
    """The form of a layout that some names, as `name_in_layout` gives them, are of; None where they are of none."""
    names = list(names)
    for form in PACKAGE_LAYOUTS.load(layout):
        if all(any(map(files.expression.fullmatch, names)) for files in form.videos.values()):
            return form
    return None


def patterns_of(layout: str) -> str:
    """What a package in a layout must hold, for a message."""
    return " or ".join(
        ", ".join(files.pattern for files in form.videos.values()) for form in PACKAGE_LAYOUTS.load(layout)
    )


class Package:
    """The package in a folder: ZIP, whose files have the names of `name_in_layout`, and RECORD, what it is.

    Attributes:
        path: the zip.
        layout: the name of a file in `layouts/packages/`.
        form: the form of the layout that it has.
        clip_len: seconds per clip.
        has_text: whether the features of queries are taken from it.
        sha256: what tells this package from others.
        cut: video id -> clips that some encoder had more than the shortest, of the videos read so far.

    Raises:
        InputError: there is none, the zip cannot be read, or is of another layout.
    """

    def __init__(self, folder: Path) -> None:
        path = self.path = folder / ZIP
        if not (folder / RECORD).is_file():
            raise InputError(f"{folder}: holds no package of features; run the download stage again")
        record = read_json(folder / RECORD)
        self.layout, self.clip_len, self.sha256 = record["layout"], record["clip_len"], record["sha256"]
        self.has_text = record["text"] == "package"
        try:
            self._bundle = zipfile.ZipFile(path)
        except (OSError, zipfile.BadZipFile) as error:
            raise InputError(f"{path}: no package of features can be read here ({error})") from None
        self._names = set(self._bundle.namelist())
        form = form_of(self.layout, self._names)
        if form is None:
            raise InputError(f"{path}: holds no features in the layout {self.layout}")
        self.form = form
        self.cut: dict[str, int] = {}
        self._widths: dict[Files, int] = {}

    @property
    def spec(self) -> dict[str, Any]:
        """What must be equal for features to be used together, as JSON takes it; encoders as models take them."""
        encoders = {name: self._about(files) for name, files in self.form.videos.items()}
        made = {"layout": self.layout, "sha256": self.sha256}
        text = {"text": self._about(self.form.text)} if self.has_text and self.form.text else {}
        return {"clip_len": self.clip_len, "package": made, "encoders": encoders} | text

    def lacks(self, vid: str) -> str:
        """Why a video has no features; empty where it has."""
        absent = [files.name(vid=vid) for files in self.form.videos.values() if files.name(vid=vid) not in self._names]
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
        name = self.form.text.name(qid=qid, vid=vid)
        if name not in self._names:
            raise InputError(f"{self.path}: lacks {name}")
        return self._array(self.form.text, name)

    def _about(self, files: Files) -> dict[str, Any]:
        """Where an encoder's features lie, and the width of the first that are sound; 0 where none are."""
        for name in sorted(filter(files.expression.fullmatch, self._names)):
            try:
                return {"files": files.pattern, "width": self._array(files, name).shape[1]}
            except InputError:
                continue  # is told of where it is asked for
        return {"files": files.pattern, "width": 0}

    def _array(self, files: Files, name: str) -> np.ndarray:
        try:
            data = io.BytesIO(self._bundle.read(name))
        except zipfile.BadZipFile as error:
            raise InputError(f"{self.path}: {name}: damaged ({error})") from None
        array = read_array(data, f"{self.path}: {name}", files.key)
        width = self._widths.setdefault(files, array.shape[1])
        if array.shape[1] != width:
            raise InputError(f"{self.path}: {name}: is {array.shape[1]} wide, files before it {width}")
        return array


def read_array(file: IO[bytes], name: str, key: str = "") -> np.ndarray:
    """A matrix from an .npy file, or from an .npz file by its key, as float32, half precision included.

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
    if array.ndim != 2 or 0 in array.shape:
        raise InputError(f"{name}: its shape is {array.shape}, not (rows, dim)")
    with np.errstate(over="ignore"):
        features = array.astype(np.float32)  # what does not fit becomes infinite
    if bad := int((~np.isfinite(features).all(axis=1)).sum()):
        raise InputError(f"{name}: {bad} of its {len(features)} rows are not finite numbers")
    return features
