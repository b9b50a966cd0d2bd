"""What cuts give away: a video's shots, found from its features, ranked by the cosine of a sentence and the shot.

Nothing is trained. Where moments were made by cutting, as in stitched videos, this row tells how far the cuts alone
lead, with no idea of where a moment begins.

Symbols: N clips of a video, d width of their features, e width of the joint space.
"""

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from read.backbones.joint_space import JointSpace
from read.data import Sample
from read.grounding.windows import DIGITS, MAX_WINDOWS, falling

ABOVE = 0.75  # standard deviations above the mean that a difference of neighbours must have, to be a cut


def cuts(video: Tensor) -> list[int]:
    """The clips of (N, d) features that begin a shot, but for the first.

    A cut is where two neighbours' cosine distance stands out over the video and is not below that before and after it.
    """
    if len(video) < 3:
        return []
    rows = F.normalize(video.float(), dim=-1)
    distance = (1 - (rows[1:] * rows[:-1]).sum(-1)).numpy()
    around = np.pad(distance, 1, constant_values=-1)
    peak = (distance >= around[:-2]) & (distance >= around[2:])
    return (np.flatnonzero(peak & (distance > distance.mean() + ABOVE * distance.std())) + 1).tolist()


def shot_rows(space: JointSpace, samples: Sequence[Sample]) -> list[dict[str, Any]]:
    """Predictions whose windows are shots, best first, and whose saliency is that of a clip's shot.

    Args:
        space: that compares clips and sentences.
        samples: with a sentence.

    Returns:
        As `read.grounding.inference.predict`.
    """
    starts = {vid: cuts(sample.video) for vid, sample in {sample.vid: sample for sample in samples}.items()}
    return [_row(space, sample, starts[sample.vid]) for sample in samples]


def _row(space: JointSpace, sample: Sample, starts: Sequence[int]) -> dict[str, Any]:
    question, clips = sample.question, len(sample.clips)
    with torch.no_grad():
        curve = space.curve(sample.video[None], cast(Tensor, sample.sentence)[None])[0].numpy()
    shots = list(pairwise([0, *starts, clips]))
    means = np.array([curve[start:stop].mean() for start, stop in shots])
    best = np.argsort(-means, kind="stable")[:MAX_WINDOWS]
    end = min(question.duration, clips * sample.clip_len)
    times = [(shots[shot][0] * sample.clip_len, min(shots[shot][1] * sample.clip_len, end)) for shot in best]
    windows = np.column_stack((times, falling((1 + means[best]) / 2)))  # of cosines, by a scale of 0 to 1
    return {
        "qid": question.qid,
        "query": question.query,
        "vid": question.vid,
        "pred_relevant_windows": [window for window in windows.round(DIGITS).tolist() if window[0] < window[1]],
        "pred_saliency_scores": np.repeat(means, [stop - start for start, stop in shots]).round(DIGITS).tolist(),
    }
