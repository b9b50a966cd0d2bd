"""Samples and batches.

Symbols: B samples, N clips of the longest video, M words of the longest query, W windows of the query that has most,
dv and dt the features' widths, e that of the joint space of pictures and sentences.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import torch
from torch.nn.utils.rnn import pad_sequence

from read.data.annotations import MAX_SALIENCY, Annotation, Question
from read.data.features import FeatureStore
from read.data.lazy import Held, read
from read.errors import InputError

TARGETS = 8192  # labels whose targets are held; of more, those that were not asked for longest are made anew


@dataclass(frozen=True)
class Sample:
    """One query on one video. Its features may be read only when they are asked for; how many they are is known.

    Attributes:
        clips: (N, dv) features of the clips; `video` reads them.
        words: (M, dt) of the query's tokens; `text` reads them.
        question: what is asked.
        clip_len: seconds per clip.
        label: the answer, if it is known.
        embedding: (e,) the query in the joint space, L2-normalised; None where the features have none; `sentence` reads
            it.
        correction: (N, e) what a map that was not fitted to this label gives beside the model's own; of training.
    """

    clips: Held
    words: Held
    question: Question
    clip_len: float
    label: Annotation | None = None
    embedding: Held | None = None
    correction: Held | None = None

    @classmethod
    def labelled(
        cls,
        clips: Held,
        words: Held,
        label: Annotation,
        clip_len: float,
        embedding: Held | None = None,
    ) -> Self:
        """A sample of the question that a label answers."""
        return cls(clips, words, label.question, clip_len, label, embedding)

    @property
    def video(self) -> torch.Tensor:
        """(N, dv) features of the clips, read now."""
        return read(self.clips)

    @property
    def text(self) -> torch.Tensor:
        """(M, dt) features of the query's tokens, read now."""
        return read(self.words)

    @property
    def sentence(self) -> torch.Tensor | None:
        """(e,) the query in the joint space, read now."""
        return None if self.embedding is None else read(self.embedding)

    @property
    def vid(self) -> str:
        """Id of the video."""
        return self.question.vid

    @property
    def annotation(self) -> Annotation:
        """The label. Raises InputError where there is none."""
        if self.label is None:
            raise InputError(f"query {self.question.qid} of video {self.vid}: has no label to train on or to score by")
        return self.label

    @property
    def targets(self) -> dict[str, torch.Tensor]:
        """What a model is trained towards.

        Returns:
            `windows` (W, 2) start and end of each window as shares of N * clip_len; `foreground` (N,) 1 where the
            clip's centre lies in a window, or where it is the clip nearest to a window that covers no centre; `spans`
            (N, 2) that window; `saliency` (N,) the annotators' mean, scaled to 0..1; `relevant` (N,) whether they
            scored the clip.
        """
        label = self.annotation
        return _targets(label.windows, label.clip_ids, label.saliency, len(self.clips), self.clip_len)


@lru_cache(maxsize=TARGETS)
def _targets(
    windows: tuple[tuple[float, float], ...],
    clip_ids: tuple[int, ...],
    saliency: tuple[tuple[int, ...], ...],
    clips: int,
    clip_len: float,
) -> dict[str, torch.Tensor]:
    """See `Sample.targets`: made once for each label of a set that is trained on again and again."""
    length = clips * clip_len
    centres = (torch.arange(clips) + 0.5) * clip_len
    foreground, spans = torch.zeros(clips), torch.zeros(clips, 2)
    scores, relevant = torch.zeros(clips), torch.zeros(clips, dtype=torch.bool)
    ends = torch.tensor(windows, dtype=torch.float32).reshape(-1, 2).clamp(max=length)
    for start, end in ends.tolist():
        inside = (centres >= start) & (centres <= end)
        if not inside.any():
            inside[(centres - (start + end) / 2).abs().argmin()] = True
        foreground[inside] = 1.0
        spans[inside] = torch.tensor([start, end]) / length
    scored = {clip: given for clip, given in zip(clip_ids, saliency, strict=True) if clip < clips}  # headers may lie
    scores[[*scored]] = torch.tensor([sum(given) / len(given) / MAX_SALIENCY for given in scored.values()])
    relevant[[*scored]] = True
    return {
        "windows": ends / length,
        "foreground": foreground,
        "spans": spans,
        "saliency": scores,
        "relevant": relevant,
    }


def make_samples(annotations: Iterable[Annotation], features: FeatureStore, clip_len: float) -> list[Sample]:
    """Join annotations with their features, which are not read. Raises InputError for a video or query without any."""
    return [
        Sample.labelled(features.clips(a.vid), features.words(a.qid), a, clip_len, features.embedding(a.qid))
        for a in annotations
    ]


def collate(samples: Sequence[Sample], targets: bool = True) -> dict[str, torch.Tensor | list]:
    """Read samples, and pad them to one batch; without `targets`, as if no sample had a label.

    Returns:
        `video` (B, N, dv) and `text` (B, M, dt), each with its mask, `video_mask` (B, N), `text_mask` (B, M). Of
        samples that all have labels, the targets too: `windows` (B, W, 2) with `windows_mask` (B, W), `foreground`
        (B, N), `spans` (B, N, 2), `saliency` (B, N) and `relevant` (B, N); and the list `annotations`. Masks are True
        at real tokens. `sentence` (B, e) and `correction` (B, N, e), where all samples have one.
    """
    labels = [sample.label for sample in samples if sample.label is not None]
    labelled = targets and len(labels) == len(samples)
    each = [{"video": sample.video, "text": sample.text} | (sample.targets if labelled else {}) for sample in samples]
    batch: dict[str, torch.Tensor | list] = {
        name: pad_sequence([parts[name] for parts in each], batch_first=True) for name in each[0]
    }
    for name in ("video", "text", *(["windows"] if labelled else [])):
        lengths = torch.tensor([len(parts[name]) for parts in each])
        batch[f"{name}_mask"] = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    sentences = [read(sample.embedding) for sample in samples if sample.embedding is not None]
    if len(sentences) == len(samples):
        batch["sentence"] = torch.stack(sentences)
    corrections = [read(sample.correction) for sample in samples if sample.correction is not None]
    if len(corrections) == len(samples):
        batch["correction"] = pad_sequence(corrections, batch_first=True)
    return batch | ({"annotations": labels} if labelled else {})
