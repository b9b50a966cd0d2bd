"""Dataset cards, `data/catalog/<name>/card.yaml`: what a dataset is, where it comes from and how it may be used."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import yaml
from pydantic import Field

from pipeline.params import Section, validated
from read.errors import InputError

CATALOG = Path("data/catalog")
CARD = "card.yaml"
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".m4a", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".vob", ".ts"),
    *(".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogg", ".mxf", ".rm", ".rmvb", ".y4m", ".gif"),
)
SUBTITLE_SUFFIXES = (".srt", ".vtt")

Suffix = Annotated[str, Field(pattern=r"^\.[A-Za-z0-9]+$")]
VideoUrl = Annotated[str, Field(pattern=r"^https?://.*\{vid\}")]
Count = Annotated[int, Field(ge=0, le=9999)]


class Remote(Section):
    """A file to download, pinned by its digest."""

    url: Annotated[str, Field(pattern=r"^https?://")]
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]


class Videos(Section):
    """Where the videos come from. `KEYS` says which keys go with which source."""

    source: Literal["local", "url", "youtube", "montage"]
    folder: str | None = None
    url: VideoUrl | None = None
    sha256: str | None = None
    mirror: str | None = None
    extensions: list[Suffix] | None = None
    domain: Literal["source", "target"] | None = None
    train: Count | None = None
    test: Count | None = None
    seed: int | None = None


# source -> (keys it needs, keys it may have)
KEYS = {
    "local": ({"folder"}, {"sha256", "extensions"}),
    "url": ({"url"}, {"sha256", "mirror", "extensions"}),
    "youtube": (set(), {"url", "sha256", "mirror", "extensions"}),
    "montage": ({"domain", "train", "test", "seed"}, set()),
}


class CardFile(Section):
    """What stands in a card."""

    title: str
    licence: str
    citation: str = ""
    homepage: str = ""
    annotations: str | Remote | None = None
    subtitles: str | Remote | None = None
    summaries: str | Remote | None = None
    transcripts: str | None = None
    videos: Videos


@dataclass(frozen=True)
class Card:
    """A dataset card; paths in it are relative to its folder.

    Queries come from `annotations` or from `subtitles`; a dataset has queries, or `summaries`, or both.
    """

    name: str
    folder: Path
    title: str
    licence: str
    citation: str
    homepage: str
    annotations: str | Remote | None
    subtitles: str | Remote | None
    summaries: str | Remote | None
    transcripts: str | None
    videos: Videos

    @property
    def queries(self) -> str | Remote | None:
        """The file, or folder of subtitles, that the queries come from; None where they are made or there are none."""
        return self.annotations or self.subtitles

    def path(self, relative: str) -> Path:
        """A path of the card, seen from the working directory."""
        return self.folder / Path(relative).expanduser()

    @property
    def annotation_file(self) -> Path | None:
        """The file of queries on this machine; None where they are downloaded or made or there are none."""
        return self.path(self.queries) if isinstance(self.queries, str) else None

    @property
    def labels(self) -> dict[str, str | Remote]:
        """Where the queries and the summaries come from that the card names, by what the download makes of them."""
        given = {"annotations.jsonl": self.queries, "summaries.jsonl": self.summaries}
        return {name: origin for name, origin in given.items() if origin is not None}

    @property
    def has_remote_annotations(self) -> bool:
        """Whether queries or summaries have to be downloaded before the videos' ids are known."""
        return any(isinstance(origin, Remote) for origin in self.labels.values())

    @property
    def files(self) -> list[Path]:
        """The card and the files that it names, for a workflow to depend on."""
        named = [origin for origin in self.labels.values() if isinstance(origin, str)]
        named += [path for path in (self.transcripts, self.videos.sha256) if path]
        return [self.folder / CARD, *(file for path in named for file in _files_at(self.path(path)))]


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
        names = known_datasets(catalog)
        near = difflib.get_close_matches(name, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise InputError(f"dataset {name!r} has no card {path}; known are {', '.join(names) or 'none'}{hint}")
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path}: not valid YAML: {error}") from None
    card = validated(CardFile, values, str(path))
    if mistakes := [f"{path}: {mistake}" for mistake in _mistakes(card)]:
        raise InputError("\n".join(mistakes))
    return Card(name, folder, **{key: getattr(card, key) for key in CardFile.model_fields})


def _mistakes(card: CardFile) -> Iterator[str]:
    source = card.videos.source
    needed, allowed = KEYS[source]
    given = card.videos.model_fields_set - {"source"}
    for key in sorted(needed - given):
        yield f"videos.{key}: is missing; source {source} needs it"
    for key in sorted(given - needed - allowed):
        yield f"videos.{key}: does not go with source {source}, which takes {', '.join(sorted(needed | allowed))}"
    for key in sorted(needed & given):
        if getattr(card.videos, key) is None:
            yield f"videos.{key}: is empty; source {source} needs it"
    given = [key for key in ("annotations", "subtitles", "summaries", "transcripts") if getattr(card, key) is not None]
    if source == "montage" and given:
        yield f"{given[0]}: does not go with source montage, which makes its annotations and summaries"
    if source != "montage" and not given:
        yield "annotations: is missing, like summaries; a file beside the card, or url and sha256"
    if {"annotations", "subtitles"} <= {*given}:
        yield "subtitles: stands beside annotations; queries come from one of the two"
    if "transcripts" in given and "summaries" not in given:
        yield "transcripts: goes with summaries, which is missing"
    if source == "montage" and card.videos.train == card.videos.test == 0:
        yield "videos.train: is 0 like videos.test; at least one video is needed"
