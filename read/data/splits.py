"""Low-resource splits: k labelled videos to train on, nested in k and drawn anew for every seed."""

import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Protocol

from read.errors import InputError


class Labelled(Protocol):
    """What a split is drawn from: a query or a summary that knows its video and, where it is told, its side."""

    @property
    def vid(self) -> str:
        """Id of the video."""

    @property
    def split(self) -> str:
        """`test` for the test side, another name for the rest; empty where nothing is said."""


@dataclass(frozen=True)
class Split:
    """Video ids of the three sides, and the rule that made them."""

    rule: str
    seed: int
    shots: int
    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...]

    def __post_init__(self) -> None:
        sides = {"train": set(self.train), "val": set(self.val), "test": set(self.test)}
        for one, other in (("train", "val"), ("train", "test"), ("val", "test")):
            both = sorted(sides[one] & sides[other])
            if both:
                raise InputError(f"video {both[0]} stands on two sides, {one} and {other} ({len(both)} do)")

    def row(self) -> dict:
        """The split as JSON."""
        return asdict(self)


def make_split(
    labels: Sequence[Labelled], shots: int, seed: int, val_share: float, test_share: float, split_seed: int = 0
) -> Split:
    """Draw a split by video.

    The test side is what the labels say (`split: test`), or, where they say nothing, a `test_share` drawn once
    with `split_seed`, the same for every seed. The rest is shuffled by `seed`: the first k videos train, the last
    `val_share` times k validate, so that a larger k holds a smaller one.

    Args:
        labels: all annotations or all summaries of the dataset, of videos that have features.
        shots: k, the number of labelled videos to train on.
        seed: of the draw.
        val_share: validation videos per training video; at least one.
        test_share: used only where no label names its side.
        split_seed: of the test side.

    Raises:
        InputError: fewer videos than asked for, or a video that its labels put on two sides.
    """
    sides: dict[str, set[str]] = {}
    for label in labels:
        sides.setdefault(label.vid, set()).add(label.split)
    torn = sorted(vid for vid, names in sides.items() if len(names) > 1)
    if torn:
        raise InputError(f"video {torn[0]} is on two sides: its labels say {', '.join(sorted(sides[torn[0]]))}")
    pool, test, source = _divide(sides, test_share, split_seed)
    validation = max(1, round(val_share * shots))
    if shots < 1:
        raise InputError(f"shots is {shots}: at least one labelled video is needed")
    if shots + validation > len(pool):
        raise InputError(
            f"{shots} shots and {validation} videos for validation were asked for, but the train side holds "
            f"{len(pool)} videos; ask for at most {_largest_shots(len(pool), val_share)} shots"
        )
    random.Random(seed).shuffle(pool)
    rule = (
        f"test side: {source}; the other {len(pool)} videos shuffled by seed {seed}: "
        f"the first {shots} train, the last {validation} validate"
    )
    return Split(rule, seed, shots, tuple(pool[:shots]), tuple(pool[-validation:]), tuple(test))


def _divide(sides: dict[str, set[str]], test_share: float, split_seed: int) -> tuple[list[str], list[str], str]:
    """The pool to draw from, the test side, and words for how they were told apart."""
    videos = sorted(sides)
    named = {vid: next(iter(names)) for vid, names in sides.items()}
    if any(named.values()):
        return (
            [vid for vid in videos if named[vid] != "test"],
            [vid for vid in videos if named[vid] == "test"],
            "as the annotations say",
        )
    random.Random(split_seed).shuffle(videos)
    count = max(1, round(test_share * len(videos)))
    return sorted(videos[count:]), sorted(videos[:count]), f"a share of {test_share:g}, drawn once by seed {split_seed}"


def _largest_shots(pool: int, val_share: float) -> int:
    return max((k for k in range(1, pool) if k + max(1, round(val_share * k)) <= pool), default=0)
