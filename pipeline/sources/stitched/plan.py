"""What stitched videos are made of and what is asked about them: all of it follows from the clips and a seed.

A group is the clips that must not be on two sides: copies, near twins, and those of which the same is asked. Groups are
dealt to sides, on a side to videos. Which part of a clip is shown follows from the clip alone, so that another
stitching shows the same pieces, and their features stay.

Draws use only `random.Random.random`, whose sequence Python promises to keep.
"""

import hashlib
import math
import random
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from pipeline.card_file import Videos
from pipeline.sources.stitched.captions import plain
from read.errors import InputError
from read.files import digest_of, sha256_of

FPS = 24  # of stitched videos
FADE = 1.0  # seconds of a crossfade
SIDES = ("test", "val", "train")  # in the order in which they are given clips

T = TypeVar("T")


@dataclass(frozen=True)
class CaptionedClip:
    """A captioned clip: its id, its file's digest, how many pictures it has at `FPS`, its captions, and what is asked.

    Asked are the captions that no other clip has, where there is one: the others do not tell it from its like.
    """

    vid: str
    sha256: str
    frames: int
    captions: tuple[str, ...]
    asked: tuple[str, ...]


@dataclass(frozen=True)
class Excerpt:
    """What is shown of a clip, in seconds: from `start` on, for `seconds`."""

    clip: str
    sha256: str
    start: float
    seconds: float

    @property
    def name(self) -> str:
        """Of its file; the same for the same part of the same file, cut out by the same code."""
        return f"{digest_of([self.sha256, self.start, self.seconds, FPS, _code()])}.mp4"


@cache
def _code() -> str:
    return sha256_of(Path(__file__).with_name("render.py"))


@dataclass(frozen=True)
class CaptionQuery:
    """A caption and the windows that it describes, in seconds."""

    text: str
    windows: list[list[float]]


@dataclass(frozen=True)
class StitchedVideo:
    """A video: its pieces in order, the time at which each begins, and the queries about it."""

    vid: str
    pieces: list[Excerpt]
    starts: list[float]
    queries: list[CaptionQuery]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.starts[-1] + self.pieces[-1].seconds

    def rows(self) -> list[dict[str, Any]]:
        """Its lines of annotations."""
        return [
            {
                "qid": f"{self.vid}_{number}",
                "query": query.text,
                "vid": self.vid,
                "duration": self.duration,
                "relevant_windows": query.windows,
                "split": self.vid.partition("_")[0],
            }
            for number, query in enumerate(self.queries)
        ]


def video_ids(videos: Videos) -> list[str]:
    """Ids of a card's videos; more videos leave those there are as they were where the clips allow for it."""
    return [f"{side}_{number:04d}" for side in SIDES for number in range(getattr(videos, side) or 0)]


def asked_of(captions: Mapping[str, Sequence[str]]) -> dict[str, tuple[str, ...]]:
    """What is asked of each clip; see `CaptionedClip`."""
    said = Counter(caption for texts in captions.values() for caption in {plain(text) for text in texts})
    alone = {vid: tuple(text for text in texts if said[plain(text)] == 1) for vid, texts in captions.items()}
    return {vid: own or tuple(captions[vid]) for vid, own in alone.items()}


def piece_of(clip: CaptionedClip, seconds: Sequence[float], clip_len: float) -> Excerpt | None:
    """The part of a clip that is shown: of a length within bounds, a multiple of `clip_len`; None for a shorter clip.

    Raises:
        InputError: no such multiple lies within the bounds.
    """
    least, most = math.ceil(seconds[0] / clip_len - 1e-6), math.floor(seconds[1] / clip_len + 1e-6)
    if least > most:
        raise InputError(
            f"videos.seconds: no length from {seconds[0]:g} to {seconds[1]:g} s is a whole number of clips of "
            f"clip_len, {clip_len:g} s; pieces are, so that features belong to them"
        )
    most = min(most, math.floor(clip.frames / FPS / clip_len + 1e-6))
    if least > most:
        return None
    rng = random.Random(f"piece/{clip.vid}")
    length = (least + int(rng.random() * (most - least + 1))) * clip_len
    start = int(rng.random() * (clip.frames - round(length * FPS) + 1)) / FPS
    return Excerpt(clip.vid, clip.sha256, start, length)


def sides_of(groups: Sequence[Sequence[str]], usable: Collection[str], videos: Videos) -> dict[str, list[list[str]]]:
    """Side -> its groups of usable clips. Test and val get as many clips as they show, train what is left.

    Clips that cannot be used hold groups together all the same: of which domain one is, no card's `seconds` decide.

    Raises:
        InputError: there are too few clips.
    """
    if videos.domain is not None:
        mine = videos.domain == "source"
        groups = [group for group in groups if _is_source(group, videos.source_share or 0.0) == mine]
    groups = [kept for group in groups if (kept := [name for name in group if name in usable])]
    left, sides = shuffled(groups, random.Random(f"{videos.seed}/sides")), {}
    size = videos.per + (videos.distractors or 0)
    for side in ("test", "val"):
        wanted, rest, chosen = (getattr(videos, side) or 0) * size, [], []
        for group in left:
            fits = len(group) <= wanted
            wanted -= len(group) * fits
            (chosen if fits else rest).append(group)
        if wanted:
            raise _too_few(side, groups, videos, size)
        left, sides[side] = rest, chosen
    sides["train"] = left
    free, shown = sum(map(len, left)), (videos.train or 0) * size
    if free < (size if videos.domain == "source" else shown):
        raise _too_few("train", groups, videos, size)
    return sides


def _is_source(group: Collection[str], share: float) -> bool:
    """By the group's own name, so that neither another seed nor another card moves it."""
    return int(hashlib.sha1(min(group).encode()).hexdigest(), 16) < share * 2**160


def _too_few(side: str, groups: Sequence[Sequence[str]], videos: Videos, size: int) -> InputError:
    whose = f" of the {videos.domain}'s share" if videos.domain else ""
    wanted = " and ".join(f"{getattr(videos, name)} of {name}" for name in SIDES if getattr(videos, name))
    once = ", of train each as often as needed" if videos.domain == "source" else ""
    return InputError(
        f"videos.{side}: {wanted} are wanted, of {size} clips each, every clip once{once}; but there are "
        f"{sum(map(len, groups))} clips{whose}, the largest group that may not be parted having "
        f"{max(map(len, groups), default=0)}; ask for fewer videos, or a smaller `per`"
    )


def deal(groups: Iterable[Sequence[str]], count: int, size: int, rng: random.Random) -> list[list[str]]:
    """The clips of `count` videos of `size` clips: a group in one video where it has room, in several otherwise."""
    hands: list[list[str]] = [[] for _ in range(count)]
    for group in sorted(shuffled(groups, rng), key=len, reverse=True):
        left = shuffled(group, rng)
        whole = next((hand for hand in hands if size - len(hand) >= len(left)), None)
        for hand in hands if whole is None else [whole]:
            room = size - len(hand)
            hand += left[:room]
            left = left[room:]
    return [shuffled(hand, rng) for hand in shuffled(hands, rng)]


def lay_out(
    clips: Mapping[str, CaptionedClip],
    pieces: Mapping[str, Excerpt],
    groups: Sequence[Sequence[str]],
    videos: Videos,
) -> list[StitchedVideo]:
    """All videos of a card.

    Args:
        clips: by id.
        pieces: clip's id -> what is shown of it, of those that are long enough.
        groups: ids of clips that stay together; each clip in one of them.
        videos: of the card.

    Raises:
        InputError: there are too few clips.
    """
    sides, size, laid = sides_of(groups, pieces, videos), videos.per + (videos.distractors or 0), {}
    for side, members in sides.items():
        wanted, hands, turn = getattr(videos, side) or 0, [], 0
        most = sum(map(len, members)) // size
        while len(hands) < wanted:  # once, but for the source's train side, whose clips are stitched anew
            rng = random.Random(f"{videos.seed}/{side}/{turn}")
            hands += deal(members, wanted if side != "train" else most, size, rng)
            turn += 1
        for number, hand in enumerate(hands[:wanted]):
            vid = f"{side}_{number:04d}"
            laid[vid] = _stitched(vid, [clips[name] for name in hand], pieces, videos)
    return [laid[vid] for vid in video_ids(videos)]


def _stitched(vid: str, hand: Sequence[CaptionedClip], pieces: Mapping[str, Excerpt], videos: Videos) -> StitchedVideo:
    rng = random.Random(f"{videos.seed}/{vid}")
    overlap = FADE if videos.cut == "crossfade" else 0.0
    shown = [pieces[clip.vid] for clip in hand]
    starts = [0.0]
    for piece in shown[:-1]:
        starts.append(starts[-1] + piece.seconds - overlap)
    # A moment ends in the middle of a fade.
    bounds = [0.0, *(start + overlap / 2 for start in starts[1:]), starts[-1] + shown[-1].seconds]
    asked = shuffled(hand, rng)[: videos.per]
    queries: dict[str, CaptionQuery] = {}
    for clip in (clip for clip in hand if clip in asked):
        text = clip.asked[int(rng.random() * len(clip.asked))]
        if plain(text) in queries:
            continue
        fits = [other.sha256 == clip.sha256 or plain(text) in map(plain, other.captions) for other in hand]
        queries[plain(text)] = CaptionQuery(text, _windows(bounds, fits))
    return StitchedVideo(vid, shown, starts, list(queries.values()))


def _windows(bounds: Sequence[float], fits: Sequence[bool]) -> list[list[float]]:
    """The pieces that fit; neighbours are one window."""
    windows: list[list[float]] = []
    for start, end, fit in zip(bounds, bounds[1:], fits, strict=False):
        if fit and windows and windows[-1][1] == start:
            windows[-1][1] = end
        elif fit:
            windows.append([start, end])
    return windows


def shuffled(items: Iterable[T], rng: random.Random) -> list[T]:
    """In an order by `random()` alone."""
    return sorted(items, key=lambda _: rng.random())
