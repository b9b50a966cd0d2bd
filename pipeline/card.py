"""Dataset cards, `data/catalog/<name>/card.yaml`: what a dataset is, where it comes from and how it may be used."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from pipeline.params import Positive, Section, Share, plugin, validated
from pipeline.strict_yaml import read_yaml
from read.encoders.base import joint_entry
from read.errors import InputError
from read.files import sha256_of
from read.plugins import ENCODERS, PACKAGE_LAYOUTS, PROTOCOLS, QUERY_LAYOUTS, SUMMARY_LAYOUTS, none_of

CATALOG = Path("data/catalog")
CARD = "card.yaml"
VIDEO_SUFFIXES = (
    *(".mp4", ".m4v", ".m4a", ".mov", ".3gp", ".3g2", ".mkv", ".webm", ".avi", ".divx", ".mpg", ".mpeg", ".vob", ".ts"),
    *(".mts", ".m2ts", ".wmv", ".asf", ".flv", ".f4v", ".ogv", ".ogg", ".mxf", ".rm", ".rmvb", ".y4m", ".gif"),
)
SUBTITLE_SUFFIXES = (".srt", ".vtt")

Suffix = Annotated[str, Field(pattern=r"^\.[A-Za-z0-9]+$")]
Address = Annotated[str, Field(pattern=r"^https?://")]
VideoUrl = Annotated[str, Field(pattern=r"^https?://.*\{vid\}")]
Digest = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Count = Annotated[int, Field(ge=0, le=9999)]


class Remote(Section):
    """A file to download, pinned by its digest."""

    url: Address
    sha256: Digest


class Part(Section):
    """One of the files that hold a dataset's labels: its address and digest, or its place; and its side."""

    url: Address | None = None
    sha256: Digest | None = None
    file: str | None = None
    split: Literal["train", "val", "test"] | None = None


# A file beside the card, one to download, or several of either kind; mistakes are told for the form that was meant.
Forms = Annotated[
    Annotated[str, Tag("file")] | Annotated[Remote, Tag("address")] | Annotated[list[Part], Tag("parts")],
    Discriminator(lambda value: {dict: "address", list: "parts"}.get(type(value), "file")),
]
FileOrAddress = Annotated[
    Annotated[str, Tag("file")] | Annotated[Remote, Tag("address")],
    Discriminator(lambda value: "address" if isinstance(value, dict) else "file"),
]


class ArchiveOrigin(Section):
    """A zip or tar of videos named by their ids, in any of its folders; without a digest what arrives is taken."""

    url: Address
    sha256: Digest | None = None


def _reader(name: str) -> str:
    """What reads the queries: the package, or an encoder that reads text."""
    readers = ["package", *(kind for kind in ENCODERS.names() if "text" in ENCODERS.constant(kind, "READS"))]
    if name not in readers:
        raise InputError(none_of(name, readers))
    return name


Encoders = Annotated[list[Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")]], Field(min_length=1)]


class Features(Section):
    """A package of features that others extracted: its address or its place, and how it is laid out.

    `encoders` are the names of its arrays, in the order of joining, where the layout leaves them to the card. `joint`
    is the one in whose space the queries lie as well, if there is such a space. `text` says where the features of the
    queries are from: from the package, or from CLIP where it has none.
    """

    url: Address | None = None
    path: str | None = None
    sha256: Digest | None = None
    layout: Annotated[str, plugin(PACKAGE_LAYOUTS)]
    encoders: Encoders | None = None
    joint: str | None = None
    clip_len: Positive
    text: Annotated[str, AfterValidator(_reader)] = "package"


class Videos(Section):
    """Where the videos come from. `KEYS` says which keys go with which source.

    With `ranges` a video's id is that of a page and a part of it in seconds, `<id>_<start>_<end>`.
    """

    source: Literal["local", "url", "youtube", "archive", "manual", "montage", "stitched"]
    folder: str | None = None
    url: VideoUrl | None = None
    archive: ArchiveOrigin | None = None
    ranges: bool | None = None
    sha256: str | None = None
    mirror: str | None = None
    extensions: list[Suffix] | None = None
    domain: Literal["source", "target"] | None = None
    train: Count | None = None
    val: Count | None = None
    test: Count | None = None
    seed: int | None = None
    captions: str | None = None
    per: Annotated[int, Field(ge=1, le=1000)] | None = None
    seconds: Annotated[list[Positive], Field(min_length=2, max_length=2)] | None = None
    cut: Literal["hard", "crossfade"] | None = None
    distractors: Annotated[int, Field(ge=0, le=1000)] | None = None
    source_share: Share | None = None


# source -> (keys it needs, keys it may have)
KEYS = {
    "local": ({"folder"}, {"sha256", "extensions"}),
    "url": ({"url"}, {"sha256", "mirror", "extensions"}),
    "youtube": (set(), {"url", "ranges", "sha256", "mirror", "extensions"}),
    "archive": ({"archive"}, {"sha256", "mirror", "extensions"}),
    "manual": ({"folder"}, {"sha256", "mirror", "extensions"}),
    "montage": ({"domain", "train", "test", "seed"}, set()),
    "stitched": (
        {"captions", "per", "seconds", "cut", "train", "seed"},
        {"folder", "url", "extensions", "val", "test", "distractors", "domain", "source_share"},
    ),
}
MADE = {"montage": "annotations and summaries", "stitched": "annotations, of videos.captions"}  # by the source itself


class CardFile(Section):
    """What stands in a card."""

    title: str
    licence: str
    citation: str = ""
    homepage: str = ""
    instructions: str = ""
    annotations: Forms | None = None
    subtitles: FileOrAddress | None = None
    summaries: Forms | None = None
    transcripts: str | None = None
    layout: Annotated[str, plugin(QUERY_LAYOUTS, SUMMARY_LAYOUTS)] | None = None
    metric: Annotated[str, plugin(PROTOCOLS)] = "qvhighlights"
    clip_len: Positive | None = None
    synthetic: bool = False
    videos: Videos
    features: Features | None = None
    reference: dict[str, Any] = Field(default_factory=dict)


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

    def joint(self, features: str, listed: Mapping[str, Mapping[str, Any]]) -> str | None:
        """The encoder that has one space for the queries and for frames; None: there is none. Arguments likewise."""
        if features == "package" and self.features is not None:
            return self.features.joint
        return joint_entry(listed)

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
    if mistakes := [f"{path}: {mistake}" for mistake in _mistakes(card)]:
        raise InputError("\n".join(mistakes))
    return Card(name, folder, **{key: getattr(card, key) for key in CardFile.model_fields})


def _mistakes(card: CardFile) -> Iterator[str]:
    yield from _source_mistakes(card.videos)
    yield from _label_mistakes(card)
    if card.videos.source == "manual" and not card.instructions.strip():
        yield "instructions: is missing; source manual needs it, to tell a person where the videos are to be had"
    if card.features is not None:
        yield from _feature_mistakes(card.features)


def _feature_mistakes(features: Features) -> Iterator[str]:
    if (features.url is None) == (features.path is None):
        yield "features: takes url or path, one of the two"
    fixed = PACKAGE_LAYOUTS.constant(features.layout, "ENCODERS")
    names = fixed or features.encoders or []
    if fixed and features.encoders is not None:
        yield f"features.encoders: does not go with the layout {features.layout}, which has {', '.join(fixed)}"
    if not names:
        yield f"features.encoders: is missing; the layout {features.layout} has arrays by the names that stand there"
    if twice := sorted({name for name in names if names.count(name) > 1}):
        yield f"features.encoders: holds {', '.join(twice)} twice"
    if features.joint is not None and names and features.joint not in names:
        yield f"features.joint: {none_of(features.joint, names)}"


def _source_mistakes(videos: Videos) -> Iterator[str]:
    source = videos.source
    needed, allowed = KEYS[source]
    given = videos.model_fields_set - {"source"}
    for key in sorted(needed - given):
        yield f"videos.{key}: is missing; source {source} needs it"
    for key in sorted(given - needed - allowed):
        yield f"videos.{key}: does not go with source {source}, which takes {', '.join(sorted(needed | allowed))}"
    for key in sorted(needed & given):
        if getattr(videos, key) is None:
            yield f"videos.{key}: is empty; source {source} needs it"
    if source == "montage" and videos.train == videos.test == 0:
        yield "videos.train: is 0 like videos.test; at least one video is needed"
    if source == "stitched":
        yield from _stitched_mistakes(videos)


def _stitched_mistakes(videos: Videos) -> Iterator[str]:
    if (videos.folder is None) == (videos.url is None):
        yield "videos: takes folder or url, one of the two, for the clips"
    if videos.url is not None and videos.extensions is not None:
        yield "videos.extensions: goes with folder"
    if (videos.domain is None) != (videos.source_share is None):
        yield "videos.source_share: goes with domain, each card naming the share of the clips that are the source's"
    for key in ("train", "val") if videos.domain == "source" else ("train", "test"):
        if not getattr(videos, key):
            yield f"videos.{key}: is missing or 0; of these videos a stitched {videos.domain or 'target'} needs some"
    if videos.domain == "source" and videos.test:
        yield "videos.test: does not go with domain source, on which nothing is reported"
    if videos.seconds is not None and videos.seconds[0] > videos.seconds[1]:
        yield f"videos.seconds: {videos.seconds[0]:g} is more than {videos.seconds[1]:g}; the least comes first"
    if videos.cut == "crossfade" and videos.seconds is not None and videos.seconds[0] < 2:
        yield "videos.seconds: a piece has to last 2 s at least where it fades at both ends, for a second each"


def _label_mistakes(card: CardFile) -> Iterator[str]:
    source = card.videos.source
    given = [key for key in ("annotations", "subtitles", "summaries", "transcripts") if getattr(card, key) is not None]
    if source in MADE and given:
        yield f"{given[0]}: does not go with source {source}, which makes its {MADE[source]}"
    if source not in MADE and not given:
        yield "annotations: is missing, like summaries; a file beside the card, or url and sha256"
    if {"annotations", "subtitles"} <= {*given}:
        yield "subtitles: stands beside annotations; queries come from one of the two"
    if "transcripts" in given and "summaries" not in given:
        yield "transcripts: goes with summaries, which is missing"
    for key in ("annotations", "summaries"):
        parts = getattr(card, key)
        if not isinstance(parts, list):
            continue
        if not parts:
            yield f"{key}: is an empty list"
        for number, part in enumerate(parts):
            if (part.url is None) == (part.file is None):
                yield f"{key}.{number}: takes url or file, one of the two"
            if part.url and not part.sha256:
                yield f"{key}.{number}.sha256: is missing; what is downloaded is pinned by it"
        needed = "summaries" if card.layout in SUMMARY_LAYOUTS.names() else "annotations"
        if card.layout is not None and key != needed:
            yield f"layout: {card.layout} is one of {needed}, which {key} are not"
    if card.layout is not None and not any(
        isinstance(getattr(card, key), list) for key in ("annotations", "summaries")
    ):
        yield f"layout: {card.layout} goes with a list of files, each with its split, under annotations or summaries"
