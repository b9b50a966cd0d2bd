"""The linear map into a joint space, by ridge regression on labelled clips; it takes a second.

Every clip of a moment is to be where the moment's sentence is. With x the clip's features, centred, and y the sentence,
centred, R minimises sum |R x - y|^2 + lambda mean|x|^2 |R|^2. What it is fitted to is kept as sums, so that labels are
added to those of the source, and those of a fold are left out, without looking at the others again.

Symbols: dv width of the clip features, e width of the joint space, n clips of moments.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import reduce
from pathlib import Path
from typing import NamedTuple, Self, cast

import torch
import torch.nn.functional as F
from torch import Tensor

from read.backbones.joint_space import JointSpace, joined_clips
from read.data import Sample
from read.weights import load_tensors, save_tensors

LAMBDA = 10.0
FOLDS = 5
AT_ONCE = 256  # samples whose clips are multiplied together
STRESSES = (2.0, 1.0, 4.0)  # how much more than a clip of the source one of the target may count, the usual first
SCALE = 20.0  # of cosines in a softmax, the inverse of a temperature of .05


class MapSums(NamedTuple):
    """Sums over clips of moments, float64: what R is fitted to.

    Attributes:
        count: (3,) clips of moments n, all clips of the videos, sentences.
        x: (dv,) of the clips of moments.
        y: (e,) their sentences.
        xx: (dv, dv) outer products of the clips with themselves.
        xy: (dv, e) with their sentences.
        joint: (e,) of all clips' columns of the joint embedding.
        sentence: (e,) of the sentences.
    """

    count: Tensor
    x: Tensor
    y: Tensor
    xx: Tensor
    xy: Tensor
    joint: Tensor
    sentence: Tensor

    @classmethod
    def nothing(cls, dv: int, e: int) -> Self:
        """Sums over no sample."""
        shapes = ((3,), (dv,), (e,), (dv, dv), (dv, e), (e,), (e,))
        return cls(*(torch.zeros(shape, dtype=torch.float64) for shape in shapes))

    @classmethod
    def of(cls, samples: Iterable[Sample], start: int, e: int) -> Self:
        """Sums over labelled samples that have a sentence; their videos have features of one width."""
        samples = list(samples)
        sums = cls.nothing(samples[0].clips.shape[-1], e)
        for sample in {sample.vid: sample for sample in samples}.values():
            sums.count[1] += len(sample.clips)
            sums.joint.add_(sample.video[:, start : start + e].double().sum(0))
        for first in range(0, len(samples), AT_ONCE):
            part = samples[first : first + AT_ONCE]
            inside = [sample.video[sample.targets["foreground"] > 0].double() for sample in part]
            clips, lengths = torch.cat(inside), torch.tensor([len(rows) for rows in inside])
            sentences = torch.stack([cast(Tensor, sample.sentence).double() for sample in part])
            y = sentences.repeat_interleave(lengths, 0)
            sums.count.add_(torch.tensor([len(clips), 0, len(part)]))
            sums.sentence.add_(sentences.sum(0))
            sums.x.add_(clips.sum(0))
            sums.y.add_(y.sum(0))
            sums.xx.addmm_(clips.T, clips)
            sums.xy.addmm_(clips.T, y)
        return sums

    def plus(self, other: Self, weight: float = 1.0) -> Self:
        """Sums over the samples of both, those of the other by a weight; -1 leaves them out."""
        return type(self)(*(mine + weight * theirs for mine, theirs in zip(self, other, strict=True)))

    def means_only(self) -> Self:
        """The same without anything to fit a map to."""
        count = self.count * torch.tensor([0, 1, 1])
        return type(self)(count, *(value * 0 for value in self[1:5]), self.joint, self.sentence)

    def save(self, path: str | Path) -> None:
        """Write a file of safetensors."""
        save_tensors(self._asdict(), Path(path))

    @classmethod
    def load(cls, path: str | Path) -> Self:
        """What `save` wrote. Raises InputError where it cannot be read."""
        return cls(**load_tensors(Path(path)))


class Fitted(NamedTuple):
    """R (e, dv), its bias (e,), and the means (e,) of the joint embeddings and of the sentences."""

    weight: Tensor
    bias: Tensor
    video_mean: Tensor
    sentence_mean: Tensor


def solve(sums: MapSums) -> Fitted:
    """The map of some sums; zero where there is no clip.

    R is scaled so that R x has a length of 1 in the root mean square.
    """
    n, clips, sentences = sums.count.clamp(min=1)
    means = sums.joint / clips, sums.sentence / sentences
    if not sums.count[0]:
        return Fitted(sums.xy.T.clone(), torch.zeros_like(sums.y), *means)
    centre = sums.x / n
    xx = sums.xx - n * torch.outer(centre, centre)
    xy = sums.xy - torch.outer(sums.x, sums.y / n)
    ridge = LAMBDA * xx.diagonal().sum() / n
    r = torch.cholesky_solve(xy, torch.linalg.cholesky(xx + ridge * torch.eye(len(xx), dtype=xx.dtype)))
    r = r / ((r * (xx @ r)).sum() / n).sqrt().clamp(min=1e-12)
    return Fitted(r.T, -(centre @ r), *means)


def fit_map(space: JointSpace, source: MapSums, labelled: Sequence[Sample] = ()) -> None:
    """Put the map of the source's sums and of labelled samples into a joint space, in place.

    A clip of the target counts twice as much as one of the source; or as much, or four times, where that predicts
    held-out videos of the target better by more than the standard error of the difference. The maps of the folds, each
    of which leaves some of the videos out, are kept as `JointSpace.folds`.

    Args:
        space: it gets R and the means.
        source: may be of nothing.
        labelled: samples with a label and a sentence.
    """
    folds = _folds(space, labelled)
    total = reduce(MapSums.plus, (sums for _, sums in folds), MapSums.nothing(*reversed(space.map.weight.shape)))
    left_out = {
        stress: [solve(source.plus(total.plus(sums, -1), stress)) for _, sums in folds if len(folds) > 1]
        for stress in STRESSES
    }
    stress = best_stress({key: _losses(space, folds, maps) for key, maps in left_out.items()} if len(folds) > 1 else {})
    whole = solve(source.plus(total, stress))
    with torch.no_grad():
        for name, value in zip(space.fitted, whole, strict=True):
            space.get_parameter(name).copy_(value)
    space.folds = {}
    for (part, _), fitted in zip(folds, left_out[stress], strict=len(folds) > 1):
        gained = (fitted.weight - whole.weight).float(), (fitted.bias - whole.bias).float()
        space.folds |= {sample.vid: gained for sample in part}


def best_stress(losses: Mapping[float, Tensor]) -> float:
    """Which of STRESSES to take, by the losses (videos,) on held-out videos with each; none are known of one video."""
    usual, *others = STRESSES
    gains = {stress: losses[usual] - losses[stress] for stress in others if losses}
    real = [stress for stress, gain in gains.items() if gain.mean() > gain.std() / len(gain) ** 0.5]
    return max(real, key=lambda stress: gains[stress].mean(), default=usual)


def _folds(space: JointSpace, labelled: Sequence[Sample]) -> list[tuple[list[Sample], MapSums]]:
    vids = sorted({sample.vid for sample in labelled})
    groups = [set(vids[number::FOLDS]) for number in range(min(FOLDS, len(vids)))]
    parts = [[sample for sample in labelled if sample.vid in group] for group in groups]
    return [(part, MapSums.of(part, space.columns.start, len(space.video_mean))) for part in parts]


def _losses(space: JointSpace, folds: Sequence[tuple[list[Sample], MapSums]], maps: Sequence[Fitted]) -> Tensor:
    """(videos,) how little of the softmax over a video's clips its moments get, by the map that leaves it out."""
    found: list[Tensor] = []
    for (part, _), fitted in zip(folds, maps, strict=True):
        videos: dict[str, list[Sample]] = {}
        for sample in part:
            videos.setdefault(sample.vid, []).append(sample)
        for samples in videos.values():
            video = samples[0].video.double()
            gained = video @ fitted.weight.T + fitted.bias
            clips, losses = joined_clips(video[:, space.columns] - fitted.video_mean, gained), []
            for sample in samples:
                sentence = cast(Tensor, sample.sentence).double()
                logits = SCALE * clips @ F.normalize(sentence - fitted.sentence_mean, dim=-1)
                inside = logits[sample.targets["foreground"] > 0]
                losses.append(logits.logsumexp(0) - inside.logsumexp(0))
            found.append(torch.stack(losses).mean())
    return torch.stack(found)
