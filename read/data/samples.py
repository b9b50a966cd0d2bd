"""Samples and batches.

Symbols: B samples, N clips of the longest video, M words of the longest query, W windows of the query that has most,
dv and dt the features' widths, e that of the joint space of pictures and sentences.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Self

import torch
from torch.nn.utils.rnn import pad_sequence

from read.data.annotations import MAX_SALIENCY, Annotation, Question
from read.data.features import FeatureStore
from read.errors import InputError


@dataclass(frozen=True)
class Sample:
    """One query on one video.

    Attributes:
        video: (N, dv) features of the clips.
        text: (M, dt) of the query's tokens.
        question: what is asked.
        clip_len: seconds per clip.
        label: the answer, if it is known.
        sentence: (e,) the query in the joint space, L2-normalised; None where the features have none.
        correction: (N, e) what a map that was not fitted to this label gives beside the model's own; of training.
    """

    video: torch.Tensor
    text: torch.Tensor
    question: Question
    clip_len: float
    label: Annotation | None = None
    sentence: torch.Tensor | None = None
    correction: torch.Tensor | None = None

    @classmethod
    def labelled(
        cls,
        video: torch.Tensor,
        text: torch.Tensor,
        label: Annotation,
        clip_len: float,
        sentence: torch.Tensor | None = None,
    ) -> Self:
        """A sample of the question that a label answers."""
        return cls(video, text, label.question, clip_len, label, sentence)

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

    @cached_property
    def targets(self) -> dict[str, torch.Tensor]:
        """What a model is trained towards; made once, as an epoch follows the other.

        Returns:
            `windows` (W, 2) start and end of each window as shares of N * clip_len; `foreground` (N,) 1 where the
            clip's centre lies in a window, or where it is the clip nearest to a window that covers no centre; `spans`
            (N, 2) that window; `saliency` (N,) the annotators' mean, scaled to 0..1; `relevant` (N,) whether they
            scored the clip.
        """
        clips = len(self.video)
        length = clips * self.clip_len
        centres = (torch.arange(clips) + 0.5) * self.clip_len
        foreground, spans = torch.zeros(clips), torch.zeros(clips, 2)
        saliency, relevant = torch.zeros(clips), torch.zeros(clips, dtype=torch.bool)
        windows = torch.tensor(self.annotation.windows, dtype=torch.float32).reshape(-1, 2).clamp(max=length)
        for start, end in windows.tolist():
            inside = (centres >= start) & (centres <= end)
            if not inside.any():
                inside[(centres - (start + end) / 2).abs().argmin()] = True
            foreground[inside] = 1.0
            spans[inside] = torch.tensor([start, end]) / length
        for clip, scores in zip(self.annotation.clip_ids, self.annotation.saliency, strict=True):
            if clip < clips:  # a header may promise more than the file holds
                saliency[clip] = sum(scores) / len(scores) / MAX_SALIENCY
                relevant[clip] = True
        return {
            "windows": windows / length, "foreground": foreground, "spans": spans,
            "saliency": saliency, "relevant": relevant,
        }  # fmt: skip


def make_samples(annotations: Iterable[Annotation], features: FeatureStore, clip_len: float) -> list[Sample]:
    """Join annotations with their features. Raises InputError for a video or query without features."""
    return [
        Sample.labelled(features.video(a.vid), features.text(a.qid), a, clip_len, features.sentence(a.qid))
        for a in annotations
    ]


def collate(samples: Sequence[Sample]) -> dict[str, torch.Tensor | list]:
    """Pad samples to one batch.

    Returns:
        `video` (B, N, dv) and `text` (B, M, dt), each with its mask, `video_mask` (B, N), `text_mask` (B, M). Of
        samples that all have labels, the targets too: `windows` (B, W, 2) with `windows_mask` (B, W), `foreground`
        (B, N), `spans` (B, N, 2), `saliency` (B, N) and `relevant` (B, N); and the list `annotations`. Masks are True
        at real tokens. `sentence` (B, e) and `correction` (B, N, e), where all samples have one.
    """
    labels = [sample.label for sample in samples if sample.label is not None]
    labelled = len(labels) == len(samples)
    each = [{"video": sample.video, "text": sample.text} | (sample.targets if labelled else {}) for sample in samples]
    batch: dict[str, torch.Tensor | list] = {
        name: pad_sequence([parts[name] for parts in each], batch_first=True) for name in each[0]
    }
    for name in ("video", "text", *(["windows"] if labelled else [])):
        lengths = torch.tensor([len(parts[name]) for parts in each])
        batch[f"{name}_mask"] = torch.arange(int(lengths.max()))[None] < lengths[:, None]
    sentences = [sample.sentence for sample in samples if sample.sentence is not None]
    if len(sentences) == len(samples):
        batch["sentence"] = torch.stack(sentences)
    corrections = [sample.correction for sample in samples if sample.correction is not None]
    if len(corrections) == len(samples):
        batch["correction"] = pad_sequence(corrections, batch_first=True)
    return batch | ({"annotations": labels} if labelled else {})
