"""In which order to label videos so that most is learned: what is unlike all that is labelled, and what is in doubt.

A farthest-first traversal, as in k-center (Gonzalez 1985) and its use for active learning (Sener and Savarese 2018),
weighted by doubt. The gain of a video is its novelty times one plus its doubt. Novelty: the mean over parts of the
video of one less the highest cosine with a part of a labelled video. Doubt: the share of the sentences that are
labelled so far of which the model's best two windows in this video score nearly alike. The video with the highest gain
is next; it then counts as labelled. Where nothing is labelled, the first is the one that is most like all others.

Symbols: V videos, n parts of each, d width of the features.
"""

from collections.abc import Collection, Mapping, Sequence

import numpy as np

PARTS = 4  # n
UNSURE = 0.25  # share of all answers that count as unsure: those with the smallest margins
NEW = 0.5  # novelty from which a video is called unlike the labelled ones


def order(
    vids: Sequence[str],
    labelled: Collection[str],
    looks: Mapping[str, np.ndarray],
    doubts: Mapping[str, tuple[int, int]],
    twins: Mapping[str, Collection[str]],
) -> list[tuple[str, str]]:
    """The videos without labels, with the reason for each place in words.

    Args:
        vids: all videos.
        labelled: those with labels.
        looks: (n, d) features of parts of a video; of those that were not looked at there are none, and they come last.
        doubts: of how many of how many sentences the model is unsure in a video.
        twins: copies of a video. Where one is labelled or comes earlier, the others come at the end.
    """
    seen = [vid for vid in sorted(vids) if vid in looks]
    done = [vid for vid in seen if vid in labelled]
    placed: list[tuple[str, str]] = []
    copies: list[tuple[str, str]] = []
    if seen:
        parts = _parts([looks[vid] for vid in seen])
        shares = np.array([doubts[vid][0] / max(1, doubts[vid][1]) if vid in doubts else 0.0 for vid in seen])
        for number, novelty in _traversal(parts, [seen.index(vid) for vid in done], shares):
            vid = seen[number]
            known = {*labelled, *(other for other, _ in placed)}
            if same := sorted(known & {*twins.get(vid, ())}):
                copies.append((vid, f"a copy of {same[0]}, by all looks"))
            else:
                placed.append((vid, _why(novelty, doubts.get(vid, (0, 0)), bool(done), not placed)))
    rest = [(vid, "not looked at yet") for vid in sorted(vids) if vid not in looks and vid not in labelled]
    return placed + rest + copies


def margin(windows: Sequence[Sequence[float]]) -> float:
    """How far the score of the best of some windows [start, end, score] is above that of the next beside it.

    The windows are best first; one that overlaps the best is no other place. Without another, the best's own score.
    """
    start, end, best = windows[0]
    beside = (score for low, high, score in windows[1:] if high <= start or low >= end)
    return best - next(beside, 0.0)


def doubts_of(margins: Mapping[str, Sequence[float]]) -> dict[str, tuple[int, int]]:
    """Of each video, of how many of how many sentences the model is unsure: their margins are in the lowest quarter."""
    every = [value for values in margins.values() for value in values]
    if not every:
        return {}
    bar = float(np.quantile(every, UNSURE))
    return {vid: (sum(value <= bar for value in values), len(values)) for vid, values in margins.items()}


def _parts(looks: Sequence[np.ndarray]) -> np.ndarray:
    """(V, n, d) of length 1, less what all videos have in common."""
    parts = np.stack(looks).astype(np.float32)
    parts = parts - parts.mean((0, 1))
    return parts / np.maximum(np.linalg.norm(parts, axis=-1, keepdims=True), 1e-6)


def _traversal(parts: np.ndarray, done: Sequence[int], shares: np.ndarray) -> list[tuple[int, float]]:
    """Numbers of the videos that are not done, the next first, with the novelty that each had when it came."""
    videos, count = parts.shape[:2]
    cosines = parts.reshape(videos * count, -1) @ parts.reshape(videos * count, -1).T
    nearest = cosines.reshape(videos, count, videos, count).max(3)  # (V, n, V)
    left = np.ones(videos, bool)
    left[[*done]] = False
    near = nearest[:, :, [*done]].max(2) if done else np.full((videos, count), -1.0, np.float32)
    found: list[tuple[int, float]] = []
    while left.any():
        novelty = 1 - near.mean(1)
        gains = novelty * (1 + shares) if done or found else nearest.mean((0, 1))
        best = int(np.where(left, gains, -np.inf).argmax())
        found.append((best, float(novelty[best])))
        left[best] = False
        near = np.maximum(near, nearest[:, :, best])
    return found


def _why(novelty: float, doubt: tuple[int, int], labelled: bool, first: bool) -> str:
    if first and not labelled:
        return "most like all others"
    reasons = ["unlike the labelled ones" if labelled else "unlike those above"] if novelty >= NEW else []
    if doubt[0]:
        reasons.append(f"the model is unsure of {doubt[0]} of {doubt[1]} sentences")
    return ", and ".join(reasons) or "much like the labelled ones"
