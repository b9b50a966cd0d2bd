"""Dataset cards, `data/catalog/<name>/card.yaml`: what a dataset is, where it comes from and how it may be used."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pipeline.card_file import CardFile, Features, Part, Remote, Videos, mistakes_of
from pipeline.params import validated
from pipeline.strict_yaml import read_yaml
from read.encoders.base import joint_entry
from read.errors import InputError
from read.files import sha256_of
from read.plugins import none_of

CATALOG = Path("data/catalog")
CARD = "card.yaml"
SUBTITLE_SUFFIXES = (".srt", ".vtt")


@dataclass(frozen=True)
class Card:
    """A dataset card; paths in it are relative to its folder.

    Queries come from `annotations` or from `subtitles`; a dataset has queries, or `summaries`, or both. `layout` is the
    form of labels that are not in the project's; `metric` is a file's name in `read/metrics/protocols/`; `clip_len` is
    set where labels are bound to clips of that length; `synthetic` where videos or features are made up.
    `instructions` tell a person what only a person can do, `reference` what the literature did.
    """

    name: str
    folder: Path
    title: str
    licence: str
    citation: str
    homepage: str
    instructions: str
    annotations: str | Remote | list[Part] | None
    subtitles: str | Remote | None
    summaries: str | Remote | list[Part] | None
    transcripts: str | None
    layout: str | None
    metric: str
    clip_len: float | None
    synthetic: bool
    videos: Videos
    features: Features | None
    reference: dict[str, Any]

    @property
    def queries(self) -> str | Remote | list[Part] | None:
        """The file, or folder of subtitles, that the queries come from; None where they are made or there are none."""
        return self.annotations or self.subtitles

    def path(self, relative: str) -> Path:
        """A path of the card, seen from the working directory."""
        return self.folder / Path(relative).expanduser()

    def encoders(self, features: str, listed: Mapping[str, Mapping[str, Any]]) -> list[str]:
        """Of the encoders that params.yaml lists, those that extraction needs, in order: no package stands for them.

        Args:
            features: "videos" or "package", as params.yaml says.
            listed: its `encoders`.

        Raises:
            InputError: the card wants its queries read by an encoder that is not listed.
        """
        if features != "package" or self.features is None:
            return [*listed]
        if self.queries is None or self.features.text == "package":
            return []
        found = [entry for entry, options in listed.items() if options.get("kind", entry) == self.features.text]
        if not found:
            raise InputError(
                f"{self.folder / CARD}: features.text: {self.features.text} reads the queries, but encoders in "
                f"params.yaml are {', '.join(listed)}; add it"
            )
        return found[:1]

    def joint(self, features: str, listed: Mapping[str, Mapping[str, Any]], normalise: bool) -> str | None:
        """The encoder that has one space for the queries and for frames; None: there is none. Arguments likewise."""
        if features == "package" and self.features is not None:
            return self.features.joint
        return joint_entry(listed) if normalise else None

    @property
    def labels(self) -> dict[str, str | Remote | list[Part]]:
        """Where the queries and the summaries come from that the card names, by what the download makes of them."""
        given = {"annotations.jsonl": self.queries, "summaries.jsonl": self.summaries}
        return {name: origin for name, origin in given.items() if origin}

    @property
    def has_remote_annotations(self) -> bool:
        """Whether queries or summaries have to be downloaded, converted or stitched before the videos are known."""
        return self.videos.source == "stitched" or any(not isinstance(origin, str) for origin in self.labels.values())

    @property
    def files(self) -> list[Path]:
        """The card and the files that it names, for a workflow to depend on."""
        named = [origin for origin in self.labels.values() if isinstance(origin, str)]
        named += [path for path in (self.transcripts, self.videos.sha256, self.videos.captions) if path]
        parts = [
            file for origin in self.labels.values() if isinstance(origin, list) for file in self.part_files(origin)
        ]
        return [self.folder / CARD, *(file for path in named for file in _files_at(self.path(path))), *parts]

    def pinned(self, origin: Remote | list[Part]) -> Any:
        """What labels depend on that are downloaded or converted, as JSON-able data. Raises as `part_files`."""
        if isinstance(origin, Remote):
            return origin.sha256
        remote = [[part.sha256, part.split] for part in origin if part.url]
        return [self.layout, remote, [[file.name, sha256_of(file)] for file in self.part_files(origin)]]

    def part_files(self, parts: list[Part]) -> list[Path]:
        """The parts that lie on this machine; of one that is a folder, what is in it.

        Raises:
            InputError: one is absent; the message has the card's instructions.
        """
        places = [self.path(part.file) for part in parts if part.file]
        if absent := [os.path.normpath(place) for place in places if not place.exists()]:
            raise InputError(f"dataset {self.name}: {', '.join(absent)} must be there\n{self.instructions}".rstrip())
        return [
            file
            for place in places
            for file in (sorted(place.iterdir()) if place.is_dir() else [place])
            if not file.name.startswith(".")
        ]


def subtitle_files(folder: Path) -> list[Path]:
    """The files of subtitles in a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix.lower() in SUBTITLE_SUFFIXES)


def _files_at(path: Path) -> list[Path]:
    """A file, or the subtitles in a folder; the path itself where there is nothing, to be reported as missing."""
    return (subtitle_files(path) if path.is_dir() else []) or [path]


def known_datasets(catalog: str | Path = CATALOG) -> list[str]:
    """Names of the datasets that have a card."""
    return sorted(path.parent.name for path in Path(catalog).glob(f"*/{CARD}"))


def load_card(name: str, catalog: str | Path = CATALOG) -> Card:
    """Read and check the card of a dataset.

    Raises:
        InputError: there is no such card, and the message lists those there are; or it has mistakes, and the message
            lists all of them, each with its key.
    """
    folder = Path(catalog) / name
    path = folder / CARD
    if not path.is_file():
        raise InputError(f"dataset {none_of(name, known_datasets(catalog))} (there is no {path})")
    card = validated(CardFile, read_yaml(path), str(path))
    if mistakes := [f"{path}: {mistake}" for mistake in mistakes_of(card)]:
        raise InputError("\n".join(mistakes))
    return Card(name, folder, **{key: getattr(card, key) for key in CardFile.model_fields})
