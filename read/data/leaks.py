"""Leaks between the sides of a split: one video, one recording or one content under two names."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import TYPE_CHECKING

from read.errors import InputError

if TYPE_CHECKING:
    from read.data.copies import Twins

SHOWN = 20  # leaks in a message


def youtube_id(vid: str) -> str:
    """The YouTube video that a file is cut from: of QVHighlights' `<id>_<start>_<end>` the id, else the name itself."""
    cut = re.fullmatch(r"([\w-]{11})_\d+(?:\.\d+)?_\d+(?:\.\d+)?", vid)
    return cut[1] if cut else vid


def one_for_copies(twins: "Iterable[Twins]", recording: Callable[[str], str] = youtube_id) -> Callable[[str], str]:
    """A `recording` by which copies of a video, and copies of these, are cut from one: no draw puts them on two sides.

    Args:
        twins: pairs of copies, of `find_twins`.
        recording: id of a video -> of the recording that it was cut from, where it is no copy.
    """
    same: dict[str, str] = {}  # recording -> another of the same content; roots are absent

    def root(vid: str) -> str:
        name = recording(vid)
        while name in same:
            name = same[name]
        return name

    for pair in twins:
        one, other = sorted((root(pair.one), root(pair.other)))
        if one != other:
            same[other] = one
    return root


def check_leaks(
    sides: Mapping[str, Sequence[str]], twins: "Sequence[Twins]" = (), recording: Callable[[str], str] = youtube_id
) -> None:
    """Refuse sides that share a video, a recording, or a copy.

    Args:
        sides: name -> ids of its videos; a side that may be looked at anyway is left out (`Split.sides`).
        twins: pairs of copies, of `find_twins`.
        recording: id of a video -> of the recording that it was cut from.

    Raises:
        InputError: there are leaks. The message lists them, each with the sides and the reason, and says what to do.
    """
    leaks = []
    for (one, left), (other, right) in combinations(sides.items(), 2):
        leaks += [f"{a} ({one}) and {b} ({other}): {why}" for a, b, why in _leaks(left, right, twins, recording)]
    if leaks:
        shown = leaks[:SHOWN] + [f"... and {len(leaks) - SHOWN} more"] * (len(leaks) > SHOWN)
        raise InputError(
            f"{len(leaks)} leaks between the sides of the split; of each pair, remove one from the annotations, or "
            "name the same side (split) for both:\n" + "\n".join(f"  {leak}" for leak in shown)
        )


def _leaks(
    left: Sequence[str], right: Sequence[str], twins: "Sequence[Twins]", recording: Callable[[str], str]
) -> Iterator[tuple[str, str, str]]:
    """Pairs across two sides with the reason, each pair once."""
    seen = set()
    by_recording: dict[str, list[str]] = {}
    for vid in sorted(set(right)):
        by_recording.setdefault(recording(vid), []).append(vid)
    for vid in sorted(set(left)):
        for other in by_recording.get(recording(vid), []):
            seen.add((vid, other))
            yield vid, other, "the same video" if vid == other else f"both are cut from {recording(vid)}"
    sides = set(left), set(right)
    for pair in twins:
        for one, other in ((pair.one, pair.other), (pair.other, pair.one)):
            if one in sides[0] and other in sides[1] and (one, other) not in seen:
                yield one, other, f"their features are near-identical (cosine {pair.similarity:.3f})"
