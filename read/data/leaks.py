"""Leaks between the sides of a split: one video, one recording or one content under two names."""

import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from typing import Protocol

import numpy as np
import torch
from torch.nn import functional as F

from read.errors import InputError

SHOWN = 20  # leaks in a message
PARTS = 4  # of a video, pooled apart, by which pairs are found that may be copies
# Measured on real clips and on videos that share photographs, with the small trained encoders: re-encoded copies had
# .97 or more clip by clip, 75 of 78 trimmed ones .8 or more, other videos .75 or less; by parts, copies .64 or more.
COPIES = 0.8
MAY_BE_COPIES = 0.6
TRIMMED = 3  # clips that a copy may lack at its start or its end
STILL = 1e-3  # length below which a centred feature says nothing
BLOCK = 1024  # videos compared at once


class FeaturesByVideo(Protocol):
    """Features by video, as `FeatureStore` has them."""

    def video(self, vid: str) -> torch.Tensor:
        """(N, dim) features, one row a clip."""


@dataclass(frozen=True)
class Twins:
    """Two videos with near-identical features; `similarity` is their mean cosine clip by clip, at most 1."""

    one: str
    other: str
    similarity: float


def youtube_id(vid: str) -> str:
    """The YouTube video that a file is cut from: of QVHighlights' `<id>_<start>_<end>` the id, else the name itself."""
    cut = re.fullmatch(r"([\w-]{11})_\d+(?:\.\d+)?_\d+(?:\.\d+)?", vid)
    return cut[1] if cut else vid


def find_twins(features: FeaturesByVideo, vids: Collection[str], bar: float = COPIES) -> list[Twins]:
    """Pairs of videos of which one is a copy of the other: re-encoded, resized, or trimmed by up to `TRIMMED` clips.

    Features are centred by the mean over all videos, since what all of them share says nothing. Each video's
    quarters, pooled, find the pairs that are worth a second look (blocks of a matrix product); these are laid over each
    other clip by clip, at every shift by half a clip, and the best mean cosine counts. Videos that are the mean of
    all others, as where all are the same still, are no twins.

    Args:
        features: of all these videos.
        vids: all videos of the dataset, or of the sides that are compared.
        bar: mean cosine from which two videos are the same.

    Returns:
        The pairs, most similar first.
    """
    names = sorted(set(vids))
    if len(names) < 2:
        return []
    parts = torch.empty(len(names), PARTS, features.video(names[0]).shape[1])
    for row, vid in zip(parts, names, strict=True):
        row.copy_(_parts(features.video(vid)))
    center = parts.mean(dim=(0, 1))
    signatures = _unit(_unit(parts.sub_(center)).flatten(1))
    twins = []
    for left, right in _alike(signatures):
        one, other = names[left], names[right]
        similarity = overlap(features.video(one) - center, features.video(other) - center)
        if similarity >= bar:
            twins.append(Twins(one, other, round(similarity, 4)))
    return sorted(twins, key=lambda pair: (-pair.similarity, pair.one, pair.other))


def overlap(one: torch.Tensor, other: torch.Tensor) -> float:
    """The best mean cosine of two videos' clips over shifts by halves of a clip, up to `TRIMMED` clips.

    Args:
        one: (N, dim) centred features.
        other: (M, dim) centred features.

    Returns:
        -1 to 1; -1 where one is too short to be a trimmed copy of the other, which would be at least half as long.
    """
    longest = max(len(one), len(other))
    fewest = max(longest - TRIMMED - 1, (longest + 1) // 2)
    best = -1.0
    for late, early in ((one, other), (other, one)):
        halves = (late[:-1] + late[1:]) / 2  # about what a clip shifted by half its length would have
        early = _unit(early)
        for clips in (_unit(late), _unit(halves)):
            for shift in range(TRIMMED + 1):
                length = min(len(clips) - shift, len(early))
                if length >= fewest:
                    cosines = (clips[shift : shift + length] * early[:length]).sum(dim=1)
                    best = max(best, cosines.mean().item())
    return best


def check_leaks(
    sides: Mapping[str, Sequence[str]], twins: Sequence[Twins] = (), recording: Callable[[str], str] = youtube_id
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
    left: Sequence[str], right: Sequence[str], twins: Sequence[Twins], recording: Callable[[str], str]
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


def _alike(signatures: torch.Tensor) -> Iterator[tuple[int, int]]:
    """Pairs (i < j) of rows with a cosine of at least `MAY_BE_COPIES`."""
    starts = range(0, len(signatures), BLOCK)
    for top, left in product(starts, starts):
        if left >= top:
            cosines = signatures[top : top + BLOCK] @ signatures[left : left + BLOCK].T
            for row, column in (cosines >= MAY_BE_COPIES).nonzero().tolist():
                if top + row < left + column:
                    yield top + row, left + column


def _parts(clips: torch.Tensor) -> torch.Tensor:
    """(PARTS, dim): the means of a video's equal parts; a clip on a border counts for both, by its share."""
    edges = np.linspace(0, len(clips), PARTS + 1)
    starts = np.arange(len(clips))
    share = np.minimum(edges[1:, None], starts + 1) - np.maximum(edges[:-1, None], starts)
    weights = torch.from_numpy(share.clip(min=0)).to(clips.dtype)
    return weights @ clips / weights.sum(dim=1, keepdim=True)


def _unit(rows: torch.Tensor) -> torch.Tensor:
    """Rows of length 1, or shorter where they were hardly anything."""
    return F.normalize(rows, dim=-1, eps=STILL)
