"""What stands in a dataset's card: its keys with their types, and what of them goes together."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Discriminator, Field, Tag

from pipeline.params import Positive, Section, Share, plugin
from read.errors import InputError
from read.plugins import ENCODERS, PACKAGE_LAYOUTS, PROTOCOLS, QUERY_LAYOUTS, SUMMARY_LAYOUTS, none_of

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
    is the one in whose space the queries lie as well, if there is such a space; `sound` are those that hear. `text`
    says where the features of the queries are from: from the package, or from CLIP where it has none. With
    `normalise: false` models read all features as they are, as some that were published expect.
    """

    url: Address | None = None
    path: str | None = None
    sha256: Digest | None = None
    layout: Annotated[str, plugin(PACKAGE_LAYOUTS)]
    encoders: Encoders | None = None
    joint: str | None = None
    sound: Encoders | None = None
    normalise: bool = True
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


def mistakes_of(card: CardFile) -> Iterator[str]:
    """What does not go together in a card, each with its key."""
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
    sound, known = features.sound or [], PACKAGE_LAYOUTS.constant(features.layout, "SOUND", ()) if fixed else names
    yield from (f"features.sound: {none_of(name, known)}" for name in sound if name not in known)
    if features.joint is not None and not features.normalise:
        yield "features.normalise: is false, but what a joint space compares is normalised; leave out joint"
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
