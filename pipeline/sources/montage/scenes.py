"""What the montage's videos show and what is asked about them: all of it follows from the domain, the id and a seed.

A video shows three subjects in six to nine segments, each a camera move over the photograph of one subject. Ground
truth is exact. Queries are of two kinds:

* move: a subject and a move; the subject is also there under another move, so that neither word alone is enough.
* order: a subject right after, or right before, another; it is also there beside somebody else.

The speaker is silent about one of the subjects, and about all moves; a summary is of both, so takes the video.

Source and target show different moves of each subject. Draws use only `random.Random.random`, whose sequence Python
promises to keep, so that annotations are the same bytes everywhere.
"""

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, TypeVar

from pipeline.sources.montage.phrases import MOVES, PHRASEBOOKS, RELATIONS
from pipeline.sources.montage.subjects import PHOTOGRAPHS

FPS = 8
SEGMENT = (3.0, 6.0)  # seconds
DURATION = (26.0, 38.0)  # seconds
SEGMENTS = (6, 9)
SUBJECTS = 3
MOVE_QUERIES = (2, 6)  # least and most per video, besides one query for each relation
RELEVANT = 0.25  # share of a clip that the windows must cover, as where saliency is derived
PLACES = 10_000  # query ids per side of a dataset

T = TypeVar("T")


@dataclass(frozen=True)
class SceneSegment:
    """One camera move over one photograph; times in seconds, `framing` the view's width, x and y, each in [0, 1)."""

    start: float
    end: float
    subject: str
    move: str
    text: str
    framing: tuple[float, float, float]


@dataclass(frozen=True)
class Query:
    """A sentence, its kind, and the segments that it describes."""

    text: str
    kind: str
    segments: tuple[SceneSegment, ...]


@dataclass(frozen=True)
class Scene:
    """One video: its segments in order, without gaps, and the queries about it."""

    vid: str
    domain: str
    segments: tuple[SceneSegment, ...]
    queries: tuple[Query, ...]

    @property
    def duration(self) -> float:
        """Seconds."""
        return self.segments[-1].end

    def like(self, query: Query) -> list[SceneSegment]:
        """The segments of the subject that is asked for which are not meant."""
        (subject,) = {segment.subject for segment in query.segments}
        return [segment for segment in self.segments if segment.subject == subject and segment not in query.segments]


def video_ids(domain: str, train: int, test: int) -> list[str]:
    """Ids of a dataset's videos; more videos leave those there are as they were."""
    sides = (("train", train), ("test", test))
    return [f"{domain}_{side}_{index:04d}" for side, count in sides for index in range(count)]


def make_scene(vid: str, domain: str, seed: int) -> Scene:
    """Draw the video `vid`: until its length is in range and every kind of query can be asked about it."""
    rng = random.Random(f"{seed}/{vid}")
    while True:
        segments = _draw_segments(rng, domain)
        if segments and (queries := _draw_queries(rng, domain, segments)):
            return Scene(vid, domain, segments, queries)


def moves_of(subject: str, domain: str) -> tuple[str, ...]:
    """The four moves under which a domain shows a subject; the other domain has the other four.

    Subjects go in pairs with opposite halves, so that every move is as frequent in the source as in the target.
    """
    pair, second = divmod(list(PHOTOGRAPHS).index(subject), 2)
    half = set(_sample(random.Random(f"moves/{pair}"), MOVES, len(MOVES) // 2))
    return tuple(move for move in MOVES if (move in half) == (bool(second) == (domain == "target")))


def annotation_rows(scene: Scene, clip_len: float) -> list[dict[str, Any]]:
    """The scene's queries in QVHighlights' form, scored by three annotators: a generous, a fair and a strict one."""
    _, side, index = scene.vid.rsplit("_", 2)
    first = (PLACES if side == "test" else 0) * 10 + int(index) * 10
    rows = []
    for number, query in enumerate(scene.queries):
        windows = [[segment.start, segment.end] for segment in query.segments]
        shares = covered_shares(windows, scene.duration, clip_len)
        clips = [clip for clip, share in enumerate(shares) if share >= RELEVANT]
        rows.append(
            {
                "qid": first + number,
                "query": query.text,
                "vid": scene.vid,
                "duration": scene.duration,
                "relevant_windows": windows,
                "relevant_clip_ids": clips,
                "saliency_scores": [_scores(shares[clip]) for clip in clips],
                "kind": query.kind,
                "distractors": [[segment.start, segment.end] for segment in scene.like(query)],
            }
            | _side(scene)
        )
    return rows


def covered_shares(windows: Iterable[Sequence[float]], duration: float, clip_len: float) -> list[float]:
    """The share of each clip that the windows cover."""
    shares = []
    for clip in range(math.ceil(duration / clip_len)):
        start, end = clip * clip_len, min((clip + 1) * clip_len, duration)
        seconds = sum(max(0.0, min(end, stop) - max(start, begin)) for begin, stop in windows)
        shares.append(round(seconds / (end - start), 6))
    return shares


def segment_rows(scene: Scene) -> list[dict[str, Any]]:
    """The segments, as labelled examples of subjects and moves."""
    keys = ("start", "end", "subject", "move", "text")
    return [{"vid": scene.vid} | {key: getattr(segment, key) for key in keys} for segment in scene.segments]


def summary_row(scene: Scene) -> dict[str, str]:
    """The transcript, of a speaker who names two of the subjects and no move, and the summary, led by the third.

    What leads the summary, a subject and the move that it is under for the longest time, only the video tells.
    """
    book, subjects = PHRASEBOOKS[scene.domain], list(dict.fromkeys(segment.subject for segment in scene.segments))
    unsaid = _pick(random.Random(" ".join(segment.text for segment in scene.segments)), subjects)
    said = [subject for subject in subjects if subject != unsaid]
    shot = book.shots[longest_move(scene, unsaid)]
    return {
        "vid": scene.vid,
        "transcript": " ".join(f"{talk.format(subject)}." for talk, subject in zip(book.talk, said, strict=True)),
        "summary": book.summary.format(*said, unsaid=unsaid, shot=shot),
    } | _side(scene)


def longest_move(scene: Scene, subject: str) -> str:
    """The move that a subject is under for the longest time in all; of several the first."""
    seconds: dict[str, float] = {}
    for segment in scene.segments:
        if segment.subject == subject:
            seconds[segment.move] = seconds.get(segment.move, 0.0) + segment.end - segment.start
    return max(seconds, key=seconds.__getitem__)


def _side(scene: Scene) -> dict[str, str]:
    """The side of the split that a video of the target domain is on."""
    return {"split": scene.vid.rsplit("_", 2)[1]} if scene.domain == "target" else {}


def _draw_segments(rng: random.Random, domain: str) -> tuple[SceneSegment, ...] | None:
    subjects = _sample(rng, list(PHOTOGRAPHS), SUBJECTS)
    times = _draw_times(rng, SEGMENTS[0] + int(rng.random() * (SEGMENTS[1] - SEGMENTS[0] + 1)))
    if not DURATION[0] <= times[-1] <= DURATION[1]:
        return None
    segments: list[SceneSegment] = []
    for start, end in pairwise(times):
        subject = _pick(rng, [s for s in subjects if not segments or s != segments[-1].subject])
        move = _pick(rng, moves_of(subject, domain))
        framing = (rng.random(), rng.random(), rng.random())
        segments.append(SceneSegment(start, end, subject, move, _say_move(rng, domain, subject, move), framing))
    return tuple(segments) if len({segment.subject for segment in segments}) == SUBJECTS else None


def _draw_times(rng: random.Random, count: int) -> list[float]:
    """Bounds of `count` segments: whole frames, and a whole number of seconds, even, in total."""
    frames = [0]
    shortest, longest = (round(seconds * FPS) for seconds in SEGMENT)
    for _ in range(count - 1):
        frames.append(frames[-1] + shortest + int(rng.random() * (longest - shortest + 1)))
    ends = [end for end in range(frames[-1] + shortest, frames[-1] + longest + 1) if end % (2 * FPS) == 0]
    return [frame / FPS for frame in [*frames, _pick(rng, ends)]]


def _draw_queries(rng: random.Random, domain: str, segments: tuple[SceneSegment, ...]) -> tuple[Query, ...] | None:
    pairs = list(dict.fromkeys((segment.subject, segment.move) for segment in segments))
    pairs = [pair for pair in pairs if any(s.subject == pair[0] and s.move != pair[1] for s in segments)]
    orders = {relation: _orders(segments, relation) for relation in RELATIONS}
    if len(pairs) < MOVE_QUERIES[0] or not all(orders.values()):
        return None
    queries = []
    for subject, move in _sample(rng, pairs, min(len(pairs), MOVE_QUERIES[1])):
        found = tuple(segment for segment in segments if (segment.subject, segment.move) == (subject, move))
        queries.append(Query(_say_move(rng, domain, subject, move), "move", found))
    for relation in RELATIONS:
        (subject, neighbour), found = _pick(rng, orders[relation])
        queries.append(Query(_say_order(rng, domain, relation, subject, neighbour), "order", found))
    return tuple(queries)


def _orders(segments: Sequence[SceneSegment], relation: str) -> list[tuple[tuple[str, str], tuple[SceneSegment, ...]]]:
    """Pairs (subject, neighbour) that single out some of the subject's segments, not all, with these segments."""
    chain = list(segments) if relation == "after" else list(reversed(segments))
    found: dict[tuple[str, str], list[SceneSegment]] = {}
    for neighbour, segment in pairwise(chain):
        found.setdefault((segment.subject, neighbour.subject), []).append(segment)
    shown = [segment.subject for segment in segments]
    return [
        (pair, tuple(sorted(those, key=lambda segment: segment.start)))
        for pair, those in found.items()
        if len(those) < shown.count(pair[0])
    ]


def _say_move(rng: random.Random, domain: str, subject: str, move: str) -> str:
    return _pick(rng, PHRASEBOOKS[domain].moves[move]).format(subject)


def _say_order(rng: random.Random, domain: str, relation: str, subject: str, neighbour: str) -> str:
    return _pick(rng, PHRASEBOOKS[domain].relations[relation]).format(subject, neighbour)


def _scores(share: float) -> list[int]:
    """Grades 0 to 4 for the share of a clip that is covered."""
    return [math.ceil(4 * share), math.floor(4 * share + 0.5), math.floor(4 * share)]


def _pick(rng: random.Random, choices: Sequence[T]) -> T:
    return choices[int(rng.random() * len(choices))]


def _sample(rng: random.Random, choices: Sequence[T], count: int) -> list[T]:
    left = list(choices)
    return [left.pop(int(rng.random() * len(left))) for _ in range(count)]
