"""A bundle: all that prediction needs in one folder, laid out as a model of the Hugging Face hub.

    README.md                                       the model card, for people
    config.json                                     what is in here, and the SHA-256 of every file that is read
    <task>/model.safetensors, config.json           the backbone; <task> is grounding or summarization
    <task>/adapters/<name>/adapter.safetensors, adapter.json
    summarization/tokenizer/*.json
    encoders/<name>/model.safetensors, config.json

Weights are safetensors, all else is JSON; a file of another kind or place is refused. Nothing here needs torch.
"""

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

from read.bundle import accepted
from read.bundle.accepted import FORMAT, NAME, TASKS, VERSION
from read.bundle.schema import plain, read_document, record
from read.errors import InputError
from read.files import sha256_of
from read.hub import brought

__all__ = ["FORMAT", "NAME", "TASKS", "VERSION", "Bundle", "differences", "origin_of"]
CONFIG, CARD = "config.json", "README.md"
MODEL = ("model.safetensors", "config.json")
ADAPTER = ("adapter.safetensors", "adapter.json")
PLACES = re.compile(
    rf"({'|'.join(TASKS)})/(model\.safetensors|config\.json|adapters/{NAME}/adapter\.(safetensors|json))"
    r"|summarization/tokenizer/[A-Za-z0-9_-]+\.json"
    rf"|encoders/{NAME}/(model\.safetensors|config\.json)"
)
# By git, the hub's client and Snakemake, at the top.
LEFT_BEHIND = (".git", ".gitattributes", ".gitignore", ".cache", ".snakemake_timestamp")
MOST_FILES = 10_000


@dataclass(frozen=True)
class Bundle:
    """A folder that was found to be whole, and what its config says."""

    folder: Path
    config: dict[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> Self:
        """Check a bundle, each file's digest included. No model is loaded.

        Args:
            folder: where it is; where there is none, a place on the Hugging Face hub, `owner/name` or
                `owner/name@revision`, of which only what a bundle may have is brought.

        Raises:
            InputError: there is no bundle, it is of a later version, or a file is missing, changed or not one of a
                bundle's.
        """
        folder = brought(folder, CONFIG, _listed)
        bundle = cls(folder, _read_config(folder / CONFIG))
        bundle._check_files()
        return bundle

    @property
    def features(self) -> dict[str, Any]:
        """The spec of the extractor whose features the models were trained on."""
        return self.config["features"]

    @property
    def encoders(self) -> list[str]:
        """Names of the encoders, in the order in which their features are joined."""
        return [*self.features["encoders"]]

    @property
    def tasks(self) -> list[str]:
        """What it can do."""
        return [task for task in TASKS if task in self.config["tasks"]]

    def adapters(self, task: str) -> dict[str, dict[str, Any]]:
        """Name -> `threshold` of a moment's score or None, `predict` settings; the default adapter first."""
        return self.config["tasks"].get(task, {}).get("adapters", {})

    @property
    def names(self) -> list[str]:
        """Names of the adapters of all tasks, the default first."""
        return list(dict.fromkeys(name for task in self.tasks for name in self.adapters(task)))

    def model(self, task: str) -> Path:
        """Folder of a task's backbone."""
        return self.folder / task

    def adapter(self, task: str, name: str) -> Path:
        """Folder of an adapter."""
        return self.folder / task / "adapters" / name

    def weights(self, encoders: str | Path | None = None) -> Path:
        """The folder that holds the encoders' weights.

        Args:
            encoders: one to take in the bundle's place.

        Raises:
            InputError: weights are missing; says which, and where they can be had.
        """
        folder = self.folder / "encoders" if encoders is None else Path(encoders)
        if missing := [name for name in self.encoders if not all((folder / name / file).is_file() for file in MODEL)]:
            where = "; ".join(f"{name}: {origin_of(self, name)}" for name in missing)
            raise InputError(
                f"{folder}: the weights of {' and '.join(missing)} are missing ({where}); "
                f"on a machine with internet, read-adapters fetch {self.folder} brings them"
            )
        return folder

    def _check_files(self) -> None:
        files, config = self.config["files"], self.folder / CONFIG
        _listed(self.folder)
        if missing := [name for name in self._needed() if name not in files]:
            raise InputError(f"{config}: files: lacks {', '.join(missing)}")
        if strange := sorted({*_present(self.folder)} - {*files} - {*self._own_weights()}):
            raise InputError(f"{self.folder}: {', '.join(strange[:5])} is not among the files that {CONFIG} lists")
        for name, digest in files.items():
            if not (self.folder / name).is_file():
                raise InputError(f"{self.folder / name}: is missing; copy the bundle again, whole")
            if sha256_of(self.folder / name) != digest:
                raise InputError(f"{self.folder / name}: is damaged or was changed; its digest is not {digest[:12]}...")

    def _needed(self) -> Iterator[str]:
        """The files that have to be listed."""
        for task in self.tasks:
            yield from (f"{task}/{file}" for file in MODEL)
            for name in self.adapters(task):
                yield from (f"{task}/adapters/{name}/{file}" for file in ADAPTER)
        if "summarization" in self.tasks:
            yield "summarization/tokenizer/tokenizer_config.json"
        if not self.config["encoders"]:
            yield from self._encoder_files()

    def _own_weights(self) -> list[str]:
        """Files that may stand there unlisted: public weights that were fetched, which the features' spec pins."""
        return self._encoder_files() if self.config["encoders"] else []

    def _encoder_files(self) -> list[str]:
        return [f"encoders/{name}/{file}" for name in self.encoders for file in MODEL]


def origin_of(bundle: Bundle, encoder: str) -> str:
    """Where an encoder's weights come from, in words."""
    source = bundle.config["encoders"].get(encoder)
    if source is None:
        return "trained by whoever made the bundle"
    name = bundle.features["encoders"][encoder]["name"]
    return f"{name}, {source}"


def differences(found: Mapping[str, Any], wanted: Mapping[str, Any], prefix: str = "") -> list[str]:
    """Where two nested mappings differ, as `key is this, not that`, with dotted keys."""
    lines: list[str] = []
    for key in sorted({*found, *wanted}):
        here, there = found.get(key), wanted.get(key)
        if isinstance(here, Mapping) and isinstance(there, Mapping):
            lines += differences(here, there, f"{prefix}{key}.")
        elif here != there:
            lines.append(f"{prefix}{key} is {here!r}, not {there!r}")
    return lines


def _present(folder: Path) -> Iterator[str]:
    """Files in a bundle, but for the card, the config, a licence, and what git and the hub's client leave.

    Raises:
        InputError: there is a link or something hidden, which could stand for a file of another place or purpose.
    """
    seen = 0
    for place, folders, files in os.walk(folder):
        within = Path(place).relative_to(folder)
        if not within.parts:
            folders[:] = [name for name in folders if name not in LEFT_BEHIND]
            files = [name for name in files if name not in (*LEFT_BEHIND, CARD, CONFIG, "LICENSE")]
        for name in sorted([*folders, *files]):
            path, seen = Path(place, name), seen + 1
            if seen > MOST_FILES:
                raise InputError(f"{folder}: holds more than {MOST_FILES} files")
            if path.is_symlink():
                raise InputError(f"{path}: is a link; a bundle holds its files itself")
            if name.startswith("."):
                raise InputError(f"{path}: is hidden; no file of a bundle is")
        yield from ((within / name).as_posix() for name in files)


def _listed(folder: Path) -> set[str]:
    """The files that the config in a folder lists, each of which is in a place of a bundle's."""
    files = _read_config(folder / CONFIG)["files"]
    if strange := [name for name in files if not PLACES.fullmatch(name)]:
        raise InputError(f"{folder / CONFIG}: files: {strange[0]!r} is no file of a bundle")
    return {*files}


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise InputError(f"{path}: no such file; a bundle is a folder that read-adapters export has made")
    if path.is_symlink():
        raise InputError(f"{path}: is a link; a bundle holds its files itself")
    config = read_document(path, record({}, rest=plain))
    if config.get("format") != FORMAT:
        raise InputError(f'{path}: not of a bundle, whose "format" is "{FORMAT}"')
    if config.get("version") != VERSION:
        raise InputError(f"{path}: version {config.get('version')} of the format; this program reads {VERSION}")
    return read_document(path, accepted.bundle)
